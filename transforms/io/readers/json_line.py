"""One line of JSON Lines: its id, its text and the fields that are kept, whatever else is in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from schemas import outcomes
from transforms.io.kept_columns import MISSING, lookup
from transforms.io.readers.streams import BOM

# orjson gives up at 1,024 levels. Deeper values are cut out at every so many levels and parsed on their own.
_CUT_LEVELS = 500
# A string without its end runs to the end of the line, and possessively: else such a line costs quadratic time.
_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE_ESCAPES = re.compile(
    rb"\\\\"  # an escaped backslash: what follows isn't an escape
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"  # one without the other
)
_NO_BYTES = re.compile("[\udc80-\udcff]")  # what isn't UTF-8, as surrogateescape decodes it
_64_BITS = 2.0**63


class _Digits(str):
    """An integer as it is written."""

    __slots__ = ()


Line = tuple[str | None, str | None, int, Sequence[Any]]
"""Id, text, outcome and kept values; the outcome is 0 while the text is usable, else a code, and the text is None."""


def parse_line(line: bytes, text_field: str, id_field: str, kept: Sequence[str] = ()) -> Line:
    """One line -> id, text, outcome, and the values of the fields ``kept``, ``MISSING`` for those that it hasn't.

    Fields are named by paths (``transforms.io.kept_columns``).

    Follows RFC 8259, and takes what Python's json writes beyond it: NaN and Infinity, which are null. What is wrong
    with one field costs that field only: a lone surrogate escape, bytes that aren't UTF-8. Of a field given twice the
    last counts. Nesting has no limit. Integers as ids keep their digits, other numbers are written as Python does.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _parse_odd_line(line.removeprefix(BOM), text_field, id_field, kept)
    return _fields(value, line, text_field, id_field, kept)


def object_of(line: bytes) -> dict[str, Any]:
    """A line's fields, none if it isn't a JSON object."""
    value = _parse_deep(line.removeprefix(BOM), _tolerant)
    return value if type(value) is dict else {}


def _fields(value: Any, line: bytes, text_field: str, id_field: str, kept: Sequence[str]) -> Line:
    if type(value) is not dict:
        return None, None, outcomes.INVALID_JSON, [None] * len(kept)
    identifier = value.get(id_field)
    if type(identifier) is not str:
        identifier = _written(lookup(value, id_field), line, id_field)
    values = [lookup(value, path) for path in kept] if kept else ()
    text = value.get(text_field, MISSING)
    if text is MISSING:
        text = lookup(value, text_field)
    if type(text) is str:
        return (identifier, text, 0, values) if text else (identifier, None, outcomes.EMPTY_TEXT, values)
    if text is None:
        return identifier, None, outcomes.NULL_TEXT, values
    return identifier, None, outcomes.MISSING_TEXT if text is MISSING else outcomes.TEXT_NOT_A_STRING, values


def _written(identifier: Any, line: bytes, id_field: str) -> str | None:
    """An id as a string; None for what isn't a string, number or truth value."""
    if type(identifier) is str:
        return identifier
    if type(identifier) is bool:
        return "true" if identifier else "false"
    if type(identifier) is float and abs(identifier) >= _64_BITS:  # orjson makes floats of longer integers
        value = _parse_deep(line, _exact)
        found = lookup(value, id_field) if type(value) is dict else None
        identifier = found if type(found) is _Digits else identifier
    return str(identifier) if type(identifier) in (int, float, _Digits) else None


def _exact(data: bytes) -> Any:
    """The value as Python's json reads it: integers keep their digits; NaN and Infinity are null."""
    try:
        return json.loads(data, parse_int=_Digits, parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _tolerant(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _exact(data)


def _parse_odd_line(line: bytes, text_field: str, id_field: str, kept: Sequence[str]) -> Line:
    """What orjson refuses: not UTF-8, lone surrogate escapes, deep nesting, NaN, or no JSON."""
    # What can't be text is replaced in two ways: a field that comes out in two ways had some of it.
    one = other = line
    try:
        line.decode()
    except UnicodeDecodeError:
        decoded = line.decode(errors="surrogateescape")
        one, other = (_NO_BYTES.sub(digit, decoded).encode() for digit in "01")
    one = _SURROGATE_ESCAPES.sub(lambda found: b"0" if found[1] else found[0], one)
    other = _SURROGATE_ESCAPES.sub(lambda found: b"1" if found[1] else found[0], other)
    first = _fields(_parse_deep(one, _tolerant), one, text_field, id_field, kept)
    if one == other:
        return first
    second = _fields(_parse_deep(other, _tolerant), other, text_field, id_field, kept)
    identifier = first[0] if first[0] == second[0] else None
    values = [value if value == again else None for value, again in zip(first[3], second[3], strict=True)]
    if first[1:3] == second[1:3] and first[2] != outcomes.INVALID_JSON:
        return identifier, first[1], first[2], values
    # A broken line is no JSON first; bytes that aren't UTF-8 say more of it than that.
    broken = first[2] == outcomes.INVALID_JSON and line.isascii()
    return identifier, None, outcomes.INVALID_JSON if broken else outcomes.INVALID_UTF8, values


def _parse_deep(line: bytes, loads: Callable[[bytes], Any]) -> Any:
    """The value of a line of any nesting, null for what is nested too deep to be of interest; None if it isn't JSON.

    Every ``_CUT_LEVELS`` levels the array or object is cut out, parsed alone to check it, and null put in its place.
    """
    fragments: list[bytearray] = [bytearray()]
    depth = start = 0
    try:
        for token in _STRINGS_AND_BRACKETS.finditer(line):
            bracket = token[0]
            if bracket in (b"[", b"{"):
                if depth and depth % _CUT_LEVELS == 0:
                    fragments[-1] += line[start : token.start()]
                    fragments.append(bytearray())
                    start = token.start()
                depth += 1
            elif bracket in (b"]", b"}"):
                depth -= 1
                if depth < 0:
                    return None
                if depth and depth % _CUT_LEVELS == 0:
                    inner = fragments.pop() + line[start : token.end()]
                    loads(bytes(inner))
                    fragments[-1] += b"null"
                    start = token.end()
        return loads(bytes(fragments[-1] + line[start:])) if len(fragments) == 1 else None
    except ValueError:
        return None
