"""The recipes that ship with the package, by name; ``docs/rules.md`` says what each can't reproduce."""

from __future__ import annotations

from importlib import resources

NAMES = ("dclm", "fineweb", "fineweb2", "gopher", "multilingual")


def text_of(name: str) -> str | None:
    """The YAML of a recipe; None if none has this name."""
    if name not in NAMES:
        return None
    return resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
