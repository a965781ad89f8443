"""The annotators that families of rules need, put in front of them: statistics are computed once, whatever is on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from transforms.recipe.families import Family
from transforms.recipe.steps import SHOWN, Step

PLAIN = ("text_statistics", "repetition")
"""Annotators whose columns mean the same whatever their arguments are."""


def with_statistics(specs: Sequence[Any], steps: Sequence[Step], make: Callable[..., Any]) -> list[Any]:
    """The steps of a recipe, with the annotators that its families need, each once.

    Behind an editor the text is another: what is needed there is computed again, as ``text_statistics_2`` and so on.

    Args:
      specs, steps: the recipe by name (``transforms.recipe.spec.StepSpec``), and loaded.
      make: makes a step by name of ``use``, ``name`` and ``arguments``.
    """
    found: list[Any] = []
    part = 1  # parts of a recipe end with an editor
    stored: dict[str, str] = {}  # the columns that are there in this part, by their own names
    for place, (spec, step) in enumerate(zip(specs, steps, strict=True)):
        family: Any = step.function
        if step.kind == "editor":
            part, stored = part + 1, {}
        elif step.kind == "annotator" and (spec.use in PLAIN or _is_needed(spec, steps)):
            if spec.use in PLAIN and not spec.name and stored.keys() >= {*family.columns}:
                continue  # a family before it has brought them
            stored |= zip(family.columns, step.columns, strict=True)
        if not isinstance(family, Family):
            found.append(spec)
            continue
        for use, arguments in family.needs():
            annotator = make(use=use, arguments={**arguments, **_wanted_later(use, specs[place:], steps[place:])})
            if part > 1:
                annotator = annotator.model_copy(update={"name": f"{use}_{part}"})
            made = annotator.load()
            if not {*made.function.columns} & ({*family.reads} - {*stored} - {field.name for field in SHOWN}):
                continue
            found.append(annotator)
            stored |= zip(made.function.columns, made.columns, strict=True)
        names = {name: stored[name] for name in family.reads if stored.get(name, name) != name}
        found.append(spec.model_copy(update={"arguments": spec.arguments | {"columns_as": names}}) if names else spec)
    return found


def _is_needed(spec: Any, steps: Sequence[Step]) -> bool:
    """Whether an annotator of the recipe is just what one of its families needs."""
    needs = [need for step in steps if isinstance(step.function, Family) for need in step.function.needs()]
    return (spec.use, dict(spec.arguments)) in needs


def _wanted_later(use: str, specs: Sequence[Any], steps: Sequence[Step]) -> dict[str, Any]:
    """What is wanted of plain statistics up to the next editor: they are computed in one walk over the text."""
    wanted: dict[str, Any] = {}
    for spec, step in zip(specs, steps, strict=True):
        if step.kind == "editor" or use not in PLAIN:
            break
        if isinstance(step.function, Family):
            wanted |= dict(step.function.needs()).get(use, {})
        elif spec.use == use and not spec.name:
            wanted |= spec.arguments
    return wanted
