"""A recipe's own code: it is called before work starts, its errors have the user's line, and a change of it is seen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline.plan import make_plan
from beam_pipeline.planned_sources import PlanError
from beam_pipeline.sample import tokenizer_path
from beam_pipeline.settings import Settings
from transforms.recipe.spec import StepSpec
from transforms.recipe.user_code import code_of

TEXTS = [f'{{"text": "Document {number} is one of a few that are long enough."}}\n' for number in range(50)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the import path; what was imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "in.jsonl").write_text("".join(["\n", '{"text": null}\n', *TEXTS]))
    yield tmp_path
    forget(tmp_path)


def forget(folder: Path) -> None:
    """Has what was imported from a folder imported again."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


def plan(folder: Path, *steps: object, **settings: object) -> None:
    """Plans a run over the folder's documents as a command of its own would."""
    forget(folder)
    values = {"input": [str(folder / "in.jsonl")], "output": str(folder / "out"), "tokenizer": str(tokenizer_path())}
    make_plan(Settings.model_validate(values | {"recipe": list(steps)} | settings), "")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("def keep(text: str) -> bool:\n    return len(txt) > 3\n", "line 2, in keep: return len(txt) > 3"),
        ("def keep(text: str, url: str) -> bool:\n    return True\n", "line 1: def keep(text: str, url: str) -> bool:"),
        ("def keep(text):\n    return len(text) > 3\n", "line 1: def keep(text):"),
        ("class keep:\n    def __call__(self, documents, more):\n        pass\n", "line 1: class keep:"),
        (
            "class keep:\n    def setup(self):\n        open('/no/such/list')\n    def __call__(self, documents):\n"
            "        pass\n",
            "line 3, in setup: open('/no/such/list')",
        ),
        (
            "from beam_pipeline_helper import words\ndef keep(text: str) -> bool:\n    return words(text) > 3\n",
            "line 2, in words: return text.count(1)",
        ),
    ],
    ids=["name", "argument", "annotation", "signature", "setup", "helper"],
)
def test_a_step_that_cannot_work_is_refused_with_the_users_line(folder: Path, source: str, line: str) -> None:
    (folder / "beam_pipeline_helper.py").write_text("def words(text):\n    return text.count(1)\n")
    (folder / "wrong_step.py").write_text(source)
    with pytest.raises(PlanError, match="recipe: wrong_step:keep fails on the first documents") as refused:
        plan(folder, "text_statistics", "wrong_step:keep")
    assert line in str(refused.value)
    assert not (folder / "out").exists()


def test_steps_that_work_are_called_on_usable_documents_only(folder: Path) -> None:
    (folder / "good_step.py").write_text(
        "def drop_all(text: str) -> bool:\n    return len(text) < 0\n"
        "def shout(text: str, language: str) -> str:\n    return text.upper() + language\n"
        "def score(text: str, shout_removed: int) -> float:\n    return len(text) / (1 + shout_removed)\n"
    )
    plan(folder, "good_step:drop_all", "good_step:shout", "good_step:score")
    assert (folder / "out" / "plan.json").exists()


def test_the_call_can_be_left_out(folder: Path) -> None:
    (folder / "wrong_later.py").write_text("def keep(text: str) -> bool:\n    return len(txt) > 3\n")
    plan(folder, "wrong_later:keep", check_steps=False)


def test_a_changed_step_is_named_and_can_be_gone_on_with(folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "__init__.py").write_text("")
    (folder / "lists" / "words.py").write_text("LIMIT = 3\n")
    (folder / "first_step.py").write_text(
        "from lists.words import LIMIT\ndef keep(text: str) -> bool:\n    return len(text) > LIMIT\n"
    )
    plan(folder, "first_step:keep")
    plan(folder, "first_step:keep")  # the same command goes on
    (folder / "unused.py").write_text("")
    plan(folder, "first_step:keep")
    (folder / "lists" / "words.py").write_text("LIMIT = 4\n")
    with pytest.raises(PlanError, match=r"module lists\.words was changed .*--ignore_code_changes") as refused:
        plan(folder, "first_step:keep")
    assert "first_step was changed" not in str(refused.value)
    plan(folder, "first_step:keep", ignore_code_changes=True)
    with pytest.raises(PlanError, match=r"lists\.words was changed"):
        plan(folder, "first_step:keep")


class TestCodeOf:
    def test_what_a_module_imports_from_beside_it_counts(self, folder: Path) -> None:
        package = folder / "steps_of_ours"
        (package / "deep").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "deep" / "__init__.py").write_text("from ..other import value\n")
        (package / "deep" / "step.py").write_text("import json, numpy\nfrom . import tools\ndef keep(text): ...\n")
        (package / "deep" / "tools.py").write_text("def lazily():\n    import beside\n")
        (package / "other.py").write_text("value = 1\n")
        (package / "stranger.py").write_text("")
        (folder / "beside.py").write_text("def broken(:\n")
        found = code_of([StepSpec(use="steps_of_ours.deep.step:keep")])
        names = ["deep", "deep.step", "deep.tools", "other"]
        assert list(found) == ["beside", "steps_of_ours", *(f"steps_of_ours.{name}" for name in names)]

    def test_steps_that_come_with_the_package_have_none(self) -> None:
        assert code_of([StepSpec(use="text_statistics"), StepSpec(use="length")]) == {}

    def test_a_step_named_by_its_import_path_has_code_wherever_it_is(self) -> None:
        assert list(code_of([StepSpec(use="transforms.recipe.built_in:Length")])) == ["transforms.recipe.built_in"]

    def test_of_an_installed_package_only_its_own_files(self) -> None:
        assert {name.partition(".")[0] for name in code_of([StepSpec(use="rich.text:Text")])} == {"rich"}
