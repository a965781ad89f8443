"""How a setting is declared: in a group of ``--help``, saying what it decides.

Most settings are options of a step. The step's class says their default, bounds, help and what they decide
(``transforms.options``): ``of`` takes all that from there, and ``options_of`` makes the class of settings again. What
belongs to no step is a ``setting``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import pydantic
from pydantic import Field

from transforms.io import storage
from transforms.options import Decides, about, names

Options = TypeVar("Options")


class Part(pydantic.BaseModel):
    """Some settings; nothing else may be given, and none changes."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    def deciding(self, what: Decides) -> dict[str, Any]:
        """The settings that decide this, without the places that are read from and written to."""
        values = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if decides(name, type(self)) == what}


def setting(
    group: str, default: Any = ..., *, decides: Decides = "fingerprints", metavar: str = "", **constraints: Any
) -> Any:
    """A setting.

    Args:
      group: of ``--help``.
      default: if none is given, the setting is required. A list or dict is copied, a class is called.
      decides: what it decides.
      metavar: what stands for its value in ``--help``.
      constraints: of ``pydantic.Field``.
    """
    extra: dict[str, Any] = {"group": group, "decides": decides, "metavar": metavar}
    if isinstance(default, list | dict | type):
        made = default if isinstance(default, type) else default.copy
        return Field(default_factory=made, json_schema_extra=extra, **constraints)
    return Field(default, json_schema_extra=extra, **constraints)


def of(group: str, options: type[Any], name: str, **changes: Any) -> Any:
    """A setting that is an option of a step.

    Args:
      group: of ``--help``.
      options: the step's options class.
      name: of the option there.
      changes: what is different for the setting, as ``setting`` takes it.
    """
    default, said = about(options)[name]
    values: dict[str, Any] = {
        "default": list(default) if isinstance(default, tuple) else default,
        "decides": said.decides,
        "metavar": said.metavar,
        "description": said.help,
        **said.bounds,
    }
    return setting(group, **values | changes)


def options_of(settings: Part, options: type[Options], prefix: str = "", **others: Any) -> Options:
    """A step's options with the values of the settings of the same names, which may have a prefix.

    Args:
      others: options that aren't settings, or whose value isn't the setting's.

    Raises:
      ValueError: options can't be used, or don't go together.
    """
    values = {name: getattr(settings, prefix + name) for name in names(options) if name not in others}
    made = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return options(**made, **others)
    except ValueError as error:  # it names the option: the setting has the prefix, too
        raise ValueError(f"{prefix}{error}") from error


def _extra(name: str, settings: type[pydantic.BaseModel]) -> dict[str, Any]:
    extra = settings.model_fields[name].json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError(f"{name} is declared without setting()")
    return extra


def group_of(name: str, settings: type[pydantic.BaseModel]) -> str:
    """The group of a setting in ``--help``."""
    return str(_extra(name, settings)["group"])


def metavar_of(name: str, settings: type[pydantic.BaseModel]) -> str:
    """What stands for a setting's value in ``--help``."""
    return str(_extra(name, settings)["metavar"])


def decides(name: str, settings: type[pydantic.BaseModel]) -> str:
    """What a setting decides (``transforms.options.Decides``)."""
    return str(_extra(name, settings)["decides"])


def split_commas(value: Any) -> Any:
    """``a, b`` of a flag as a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def place(uri: str) -> str:
    """The place itself, wherever the command is run; empty if none is given."""
    return uri and storage.absolute(uri)


def places(uris: Iterable[str]) -> list[str]:
    """As ``place``, of several."""
    return [storage.absolute(uri) for uri in uris]
