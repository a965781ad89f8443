"""The shingles of whole texts in plain Python: what the audit holds the deduplication's similarities against.

Nothing here is shared with the kernels that make fingerprints but the definition of what one character folds to
(``transforms.kernels.deduplication.folding``): words come from a regular expression, a shingle is hashed by BLAKE2b
over its words. Some 10 MB/s, and memory for the shingles' hashes and 1 MB of text at a time.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import sys
import unicodedata
from array import array
from collections.abc import Iterator

import numpy as np

from transforms.kernels.deduplication import folding
from transforms.kernels.deduplication.fingerprinting import MinHash

_PIECE = 1 << 20  # characters
_BETWEEN_WORDS = re.compile(r"\s|[\u4e00-\u9fff]")  # before any of these a word ends, whatever stands around it


class _Folds(dict[int, str]):
    """What code points fold to, separators to a blank; filled as they are met."""

    def __init__(self, options: MinHash) -> None:
        super().__init__()
        self._options = options

    def __missing__(self, code_point: int) -> str:
        folded = folding.fold_character(chr(code_point), self._options.fold_digits, self._options.fold_accents)
        self[code_point] = "".join(c if folding.is_word_character(c) else " " for c in folded)
        return self[code_point]


@functools.lru_cache(maxsize=4)
def _folds(options: MinHash) -> _Folds:
    return _Folds(options)


@functools.cache
def _word() -> re.Pattern[str]:
    """A character of a script without spaces and its marks, or a run of other letters, marks and digits."""
    marks = {chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] == "M"}
    unspaced = {chr(c) for first, last in folding.UNSPACED_RANGES for c in range(first, last + 1)} - marks
    return re.compile(f"[{_ranges(unspaced)}][{_ranges(marks)}]*|[^ {_ranges(unspaced)}]+")


def _ranges(characters: set[str]) -> str:
    """The characters as what stands in a class of a regular expression."""
    runs = itertools.groupby(enumerate(sorted(map(ord, characters))), lambda numbered: numbered[1] - numbered[0])
    bounds = ([code for _, code in run] for _, run in runs)
    return "".join(f"\\U{run[0]:08x}-\\U{run[-1]:08x}" for run in bounds)


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that end between words."""
    start = 0
    while start < len(text):
        found = _BETWEEN_WORDS.search(text, start + _PIECE)
        stop = found.start() if found else len(text)
        yield text[start:stop]
        start = stop


def words(text: str, options: MinHash) -> Iterator[list[str]]:
    """The folded words of a text, some hundred thousand at a time."""
    for piece in _pieces(text):
        found: list[str] = _word().findall(piece.translate(_folds(options)))
        yield [word if word.isascii() else _with_sorted_marks(word) for word in found]


def _with_sorted_marks(word: str) -> str:
    """Each run of combining marks in one order: on one character their order doesn't count."""
    if not any(map(unicodedata.combining, word)):
        return word
    runs = itertools.groupby(word, lambda c: unicodedata.combining(c) != 0)
    return "".join("".join(sorted(run)) if combining else "".join(run) for combining, run in runs)


def shingle_hashes(text: str, options: MinHash) -> np.ndarray:
    """All shingles of a text: sorted distinct 64-bit hashes, so that similarities of these sets are exact."""
    size = options.shingle_size
    parts = [np.empty(0, np.uint64)]
    before: list[str] = []
    for found in words(text, options):
        found = before + found
        before = found[max(0, len(found) - size + 1) :] if size > 1 else []
        shingles = {" ".join(found[i : i + size]) for i in range(len(found) - size + 1)}
        parts.append(np.array(array("Q", map(_hash, shingles)), np.uint64))
    hashes = np.concatenate(parts)
    hashes.sort()
    return hashes[np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]]


def _hash(shingle: str) -> int:
    return int.from_bytes(hashlib.blake2b(shingle.encode(), digest_size=8).digest(), "little")
