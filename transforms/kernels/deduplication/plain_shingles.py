"""The shingles of whole texts in plain Python: what the audit holds the deduplication's similarities against.

Nothing here is shared with the kernels that make fingerprints but the definition of what one character folds to
(``transforms.kernels.deduplication.folding``): words come from a regular expression and are hashed by BLAKE2b, a
shingle's hash is a polynomial over those of its words, all of 64 bits. Some 20 MB/s, and memory for the shingles'
hashes and 1 MB of text at a time.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import unicodedata
from array import array
from collections.abc import Iterator

import numpy as np

from transforms.kernels.deduplication import folding
from transforms.kernels.deduplication.options import MinHash

FACTOR = 0xD1342543DE82EF95  # odd: that of Steele and Vigna's LXM generators
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
def _unspaced() -> re.Pattern[str]:
    return re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in folding.UNSPACED_RANGES) + "]")


@functools.cache
def _word() -> re.Pattern[str]:
    """A character of a script without spaces and its marks, or a run of other letters, marks and digits."""
    marks = {chr(c) for part in folding.ASSIGNED for c in part if unicodedata.category(chr(c))[0] == "M"}
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
        folded = piece.translate(_folds(options))
        found = _word().findall(folded) if _unspaced().search(folded) else folded.split()
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
    before = parts[0]
    for found in words(text, options):
        hashed = np.concatenate([before, np.array(array("Q", map(_Hashes().__getitem__, found)), np.uint64)])
        count = max(0, len(hashed) - size + 1)
        before = hashed[count:]
        shingles = np.zeros(count, np.uint64)
        for i in range(size):
            shingles = shingles * np.uint64(FACTOR) + hashed[i : i + count]
        parts.append(shingles)
    hashes = np.concatenate(parts)
    hashes.sort()
    return hashes[np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]]


class _Hashes(dict[str, int]):
    """The hashes of words, made as they are met."""

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
        self[word] = int.from_bytes(digest, "little")
        return self[word]
