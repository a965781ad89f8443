"""Columns of the sources that are kept beside the text: how they are named, which type they have, where they are.

A path names a column or field, with dots a field in a Parquet struct or JSON object. A name that has dots itself is
found, too: at each level the longest name that there is counts.
"""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

MISSING: Any = object()
"""Of a field that an object doesn't have."""

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_SPELLED = re.compile(r"(?P<path>.+?)(?:=(?P<type>[^=\s]+))?(?:\s+as\s+(?P<name>\S+))?", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class KeptColumn:
    """A source column that is kept.

    Attributes:
      path: where it is in a source.
      name: of the column in steps, fingerprints and tokens.
      type: None before the sources were looked at.
      declared: whether the user says the type: then values are parsed or printed to have it.
    """

    path: str
    name: str
    type: pa.DataType | None = None
    declared: bool = False

    @classmethod
    def parse(cls, spelled: str) -> KeptColumn:
        """The column of a setting: ``PATH``, ``PATH=TYPE``, ``PATH as NAME``, ``PATH=TYPE as NAME``.

        Raises:
          ValueError: it is empty, or there is no such type.
        """
        found = _SPELLED.fullmatch(spelled.strip())
        if found is None:
            raise ValueError("keep_columns: names a column that is empty")
        kind = None
        if found["type"] is not None:
            try:
                kind = pa.type_for_alias(found["type"])
            except ValueError:
                raise ValueError(
                    f"keep_columns: {spelled!r}: there is no type {found['type']!r}; there are string, int32, int64, "
                    f"float32, float64, bool, date32, timestamp[us], binary and other names of Arrow's types"
                ) from None
        return cls(found["path"], found["name"] or found["path"], kind, kind is not None)

    @property
    def kind(self) -> pa.DataType:
        """The type, once the sources were looked at; strings in a column of which nothing was seen."""
        return pa.string() if self.type is None else self.type

    @property
    def field(self) -> pa.Field:
        """The column as it is stored."""
        return pa.field(self.name, self.kind)


def splits(path: str) -> Iterator[tuple[str, str]]:
    """A path as a name and the rest of the path, the longest name first."""
    end = path.rfind(".")
    while end > 0:
        yield path[:end], path[end + 1 :]
        end = path.rfind(".", 0, end)


def lookup(value: Mapping[str, Any], path: str) -> Any:
    """The value of a path in a JSON object, ``MISSING`` if there is none."""
    found = value.get(path, MISSING)
    if found is not MISSING or "." not in path:
        return found
    for name, rest in splits(path):
        inner = value.get(name)
        if type(inner) is dict and (found := lookup(inner, rest)) is not MISSING:
            return found
    return MISSING


def folder_value(uri: str, path: str) -> str | None:
    """The value of a column in the names of the folders of a source, such as ``lang=de/``; None if it isn't there."""
    if "=" not in uri:
        return None
    for folder in reversed(uri.split("/")[:-1]):
        name, equals, value = folder.partition("=")
        if equals and urllib.parse.unquote(name) == path:
            return None if value == _HIVE_NULL else urllib.parse.unquote(value)
    return None


def folder_names(uri: str) -> list[str]:
    """The columns in the names of a source's folders."""
    return [urllib.parse.unquote(folder.partition("=")[0]) for folder in uri.split("/")[:-1] if "=" in folder]
