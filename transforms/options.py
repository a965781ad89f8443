"""What the options of a step say about themselves: the one place of a default, its bounds, and what it is for.

The options of each step are a frozen dataclass whose fields that users set are made by ``option``. The class checks
itself with ``check``; the settings of a run, their flags and their help take all else from ``about``
(``beam_pipeline.settings``).

Example:
  >>> @dataclasses.dataclass(frozen=True)
  ... class Options:
  ...     window: int = option(1000, "characters that are looked at", ge=1)
  ...     def __post_init__(self) -> None:
  ...         check(self)
  >>> Options(window=0)
  Traceback (most recent call last):
  ValueError: window: must be at least 1, not 0
"""

from __future__ import annotations

import dataclasses
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

Decides = Literal["fingerprints", "tokens", "files", "nothing"]
"""What an option decides: objects of a run (``schemas.run_layout.Deciding``), or the files of an export.

Nothing: how the work is carried out, or where results go.
"""

_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ge": (operator.ge, "at least"),
    "gt": (operator.gt, "more than"),
    "le": (operator.le, "at most"),
    "lt": (operator.lt, "less than"),
}
_KINDS: dict[type, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "a text"),
}


@dataclasses.dataclass(frozen=True)
class About:
    """What an option says about itself.

    Attributes:
      help: one line, as in ``--help``.
      decides: what it decides.
      metavar: what stands for its value in ``--help``.
      choices: all values that it can have; empty: any of its type.
      bounds: ``ge``, ``gt``, ``le`` and ``lt`` for numbers, ``min_length`` for texts.
    """

    help: str
    decides: Decides = "fingerprints"
    metavar: str = ""
    choices: Sequence[str] = ()
    bounds: Mapping[str, float] = dataclasses.field(default_factory=dict)


def option(
    default: Any,
    help: str,
    *,
    decides: Decides = "fingerprints",
    metavar: str = "",
    choices: Sequence[str] = (),
    **bounds: float,
) -> Any:
    """A field of an options class; a dict as default is made anew for each.

    Args:
      default: its value if none is given.
      help, decides, metavar, choices, bounds: as in ``About``.
    """
    said = {"about": About(help, decides, metavar or "|".join(choices), choices, bounds)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=said)
    return dataclasses.field(default=default, metadata=said)


def about(options: type[Any]) -> dict[str, tuple[Any, About]]:
    """Default and description of each option that users set, by name, in the order of the class."""
    return {
        field.name: (_default(field), field.metadata["about"])
        for field in dataclasses.fields(options)
        if "about" in field.metadata
    }


def names(options: type[Any], decides: Decides | None = None) -> tuple[str, ...]:
    """The options that users set, or those that decide this."""
    return tuple(name for name, (_, said) in about(options).items() if decides in (None, said.decides))


def check(options: Any) -> None:
    """Compares every option with its type, its choices and its bounds.

    Raises:
      ValueError: a value can't be used; the message names the option.
    """
    for name, (default, said) in about(type(options)).items():
        value = getattr(options, name)
        wanted = _fault(value, default, said)
        if wanted:
            raise ValueError(f"{name}: must be {wanted}, not {value!r}")


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _fault(value: Any, default: Any, said: About) -> str:
    """What the value should be and isn't."""
    kind, words = _KINDS.get(type(default), (None, ""))
    if kind and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        return words
    if said.choices:
        strange = [each for each in ([value] if isinstance(value, str) else value) if each not in said.choices]
        return f"one of {', '.join(said.choices)}" if strange else ""
    for name, bound in said.bounds.items():
        if name == "min_length":
            if len(value) < bound:
                return "given" if bound == 1 else f"at least {bound} long"
        elif not _BOUNDS[name][0](value, bound):
            return f"{_BOUNDS[name][1]} {bound}"
    return ""
