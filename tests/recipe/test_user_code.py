"""The code of a recipe's steps: what is hashed, and what comes with the package and its version."""

from __future__ import annotations

from transforms.recipe.spec import StepSpec
from transforms.recipe.user_code import code_of


def test_a_step_that_is_named_by_import_path_is_code_even_within_the_package() -> None:
    by_path = StepSpec(use="transforms.recipe.built_in:Length", arguments={"minimum": 3})
    by_name = StepSpec(use="length", arguments={"minimum": 3})
    assert list(code_of([by_path, by_name])) == ["transforms.recipe.built_in"]
    assert code_of([by_name]) == {}
