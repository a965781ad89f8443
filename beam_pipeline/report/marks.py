"""Texts of the report cut into pieces: what is marked, what an edit has removed and added, what differs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af"
_PIECES = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+\s*|\s+")
MOST_PIECES = 1200
"""Of two texts with more pieces, lines are compared: words would take seconds."""
MOST_EQUAL = 120
"""Characters of what is the same on each side of a change; the middle is left out."""


class Piece(NamedTuple):
    """A part of a text, and what it is: empty for plain text, or ``mark``, ``removed``, ``added`` or ``gap``."""

    text: str
    kind: str = ""


def marked(text: str, spans: Sequence[tuple[int, int]]) -> list[Piece]:
    """A text with some parts of it marked.

    Args:
      spans: (start, end) in characters, in order, none overlapping.
    """
    pieces, place = [], 0
    for start, end in spans:
        pieces += [Piece(text[place:start]), Piece(text[start:end], "mark")]
        place = end
    return [piece for piece in (*pieces, Piece(text[place:])) if piece.text]


def differing(before: str, after: str) -> list[Piece]:
    """What was removed and added, word by word, with a little of what stayed around it."""
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    first = _alike(old, new)
    last = _alike(old[first:][::-1], new[first:][::-1])
    head, tail = "".join(old[:first]), "".join(old[len(old) - last :])
    old, new = old[first : len(old) - last], new[first : len(new) - last]
    if max(len(old), len(new)) > MOST_PIECES:
        old, new = "".join(old).splitlines(keepends=True), "".join(new).splitlines(keepends=True)
    pieces = (Piece(head), *_compared(old, new), Piece(tail))
    return list(_shortened([piece for piece in pieces if piece.text]))


def _alike(old: Sequence[str], new: Sequence[str]) -> int:
    """How many pieces are the same at the beginning."""
    pairs = enumerate(zip(old, new, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(old), len(new)))


def _compared(old: Sequence[str], new: Sequence[str]) -> Iterator[Piece]:
    for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new).get_opcodes():
        if kind == "equal":
            yield Piece("".join(old[i1:i2]))
            continue
        if i2 > i1:
            yield Piece("".join(old[i1:i2]), "removed")
        if j2 > j1:
            yield Piece("".join(new[j1:j2]), "added")


def _shortened(whole: Sequence[Piece]) -> Iterator[Piece]:
    """With a gap in the middle of long parts that are the same."""
    for place, piece in enumerate(whole):
        head = MOST_EQUAL if place else 0
        tail = MOST_EQUAL if place + 1 < len(whole) else 0
        left_out = len(piece.text) - head - tail
        if piece.kind or left_out <= MOST_EQUAL:
            yield piece
            continue
        if head:
            yield Piece(piece.text[:head])
        yield Piece(f" [{left_out:,} characters that are the same] ", "gap")
        if tail:
            yield Piece(piece.text[-tail:])
