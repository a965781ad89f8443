"""Patterns over paths and keys, and which names count as data: the same for local files and S3."""

from __future__ import annotations

import re

_WILDCARDS = re.compile(r"[*?\[]")
_VISIBLE = "(?![_.])"


def is_glob(path: str) -> bool:
    """Whether the path has a wildcard: ``*``, ``?`` or ``[``."""
    return _WILDCARDS.search(path) is not None


def is_hidden(relative: str) -> bool:
    """Whether a part of the path starts with ``_`` or ``.``: markers, checksums and unfinished files, never data."""
    return any(part.startswith(("_", ".")) for part in relative.split("/"))


def hidden_part(relative: str) -> str:
    """The path up to its first part that starts with ``_`` or ``.``."""
    parts = relative.split("/")
    return "/".join(parts[: 1 + next(i for i, part in enumerate(parts) if is_hidden(part))])


def split_glob(path: str) -> tuple[str, str]:
    """Cuts a pattern in two: the folder above the first wildcard (with its slash, or empty), and the rest."""
    first = _WILDCARDS.search(path)
    if first is None:
        raise ValueError(f"{path!r} has no wildcard")
    cut = path.rfind("/", 0, first.start()) + 1
    return path[:cut], path[cut:]


def is_from(place: str, uri: str) -> bool:
    """Whether an object is the one that a place names, lies below that folder or prefix, or matches that pattern."""
    if uri == place:
        return True
    if is_glob(place):
        base, rest = split_glob(place)
        return uri.startswith(base) and translate(rest).fullmatch(uri[len(base) :]) is not None
    return uri.startswith(place.rstrip("/") + "/")


def translate(pattern: str) -> re.Pattern[str]:
    """A regular expression for whole relative paths.

    ``*``, ``?`` and ``[...]`` match within one part of the path, ``**`` as a whole part matches any number of parts.
    A wildcard at the start of a part doesn't match ``_`` or ``.``, as in a shell: hidden names have to be spelled out.
    """
    parts = pattern.split("/")
    expression = ""
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if part == "**":
            expression += f"(?:{_VISIBLE}[^/]+/)*" + (f"{_VISIBLE}[^/]+" if last else "")
        else:
            expression += (_VISIBLE if _WILDCARDS.match(part) else "") + _translate_part(part) + ("" if last else "/")
    return re.compile(expression, re.DOTALL)


def _translate_part(part: str) -> str:
    expression, i = "", 0
    while i < len(part):
        character = part[i]
        closing = part.find("]", i + 2) if character == "[" else -1
        if closing > 0:
            body = part[i + 1 : closing].replace("\\", "\\\\").replace("[", "\\[")
            body = "^/" + body[1:] if body.startswith(("!", "^")) else body
            expression += f"[{body}]"
            i = closing
        else:
            expression += {"*": "[^/]*", "?": "[^/]"}.get(character) or re.escape(character)
        i += 1
    return expression
