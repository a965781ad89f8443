"""Repetition within a text, as Gopher measures it: the characters of its commonest and of its repeated n-grams.

Rae et al. 2021 (arXiv 2112.11446), table A1. An n-gram is a run of n tokens (``transforms.kernels.statistics.words``);
symbols are tokens, too, as with spaCy's words, on which the published thresholds were tried.
"""

from __future__ import annotations

from collections import Counter

import numba
import numpy as np

from transforms.kernels.deduplication.folding import MULTIPLIER
from transforms.kernels.statistics.text_statistics import seen_before, table_for
from transforms.kernels.statistics.words import ENDS_IN_WORD_CHARACTER, next_token, tokens_reference

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
REPETITION = {
    **{f"top_{n}gram_characters": f"characters of the commonest {n}-gram, with its blanks, in all places" for n in TOP},
    **{f"duplicate_{n}gram_characters": f"characters of the {n}-grams that have occurred before" for n in DUPLICATE},
}
"""The figures of a text and what they count: whole numbers. Divided by ``characters`` they are Gopher's shares."""


def repetition_reference(text: str) -> dict[str, int]:
    """The figures of a text: slow and obvious."""
    words = [token.text for token in tokens_reference(text)]
    figures = {}
    for n in TOP:
        grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        # Of several that are as common, the one that occurs first.
        gram, count = max(grams.items(), key=lambda item: item[1], default=((), 0))
        figures[f"top_{n}gram_characters"] = len(" ".join(gram)) * count
    for n in DUPLICATE:
        seen, repeated, place = set(), 0, 0
        while place < len(words) - n + 1:
            gram = tuple(words[place : place + n])
            if gram in seen:
                repeated += len("".join(gram))
                place += n
            else:
                seen.add(gram)
                place += 1
        figures[f"duplicate_{n}gram_characters"] = repeated
    return figures


@numba.njit(cache=True)
def _top(
    grams: np.ndarray, lengths: np.ndarray, count: int, n: int, keys: np.ndarray, counts: np.ndarray,
    firsts: np.ndarray, mask: np.uint64,
) -> int:  # fmt: skip
    """Characters of the commonest n-gram in all its places; of several as common, the first."""
    most, first = 0, 0
    for i in range(count):
        key = grams[i] | np.uint64(1)
        slot = (key >> np.uint64(20)) & mask
        while keys[slot] != 0 and keys[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        if keys[slot] == 0:
            keys[slot] = key
            counts[slot] = 0
            firsts[slot] = i
        counts[slot] += 1
        if counts[slot] > most or (counts[slot] == most and firsts[slot] < first):
            most, first = counts[slot], firsts[slot]
    characters = n - 1
    for i in range(first, first + n):
        characters += lengths[i]
    return characters * most


@numba.njit(cache=True)
def measure_texts(data: np.ndarray, offsets: np.ndarray, valid: np.ndarray, kinds: np.ndarray, out: np.ndarray) -> None:
    """Fills uint32[texts, figures] with the figures of each valid text; ``out`` must be 0.

    Needs 60 to 90 bytes for each token of the longest text.
    """
    factor = np.uint64(MULTIPLIER)
    size = 1024
    hashes, grams = np.empty(size, np.uint64), np.empty(size, np.uint64)
    lengths = np.empty(size, np.uint32)
    table = np.empty(1024, np.uint64)
    counts, firsts = np.empty(1024, np.uint32), np.empty(1024, np.uint32)
    for text in range(len(offsets) - 1):
        if not valid[text]:
            continue
        place, end, count, word_before = offsets[text], offsets[text + 1], 0, False
        while True:
            start, stop, flags, characters, hashed = next_token(data, place, end, kinds, word_before)
            if start >= end:
                break
            if count == size:
                size *= 2
                hashes = np.concatenate((hashes, np.empty(count, np.uint64)))
                lengths = np.concatenate((lengths, np.empty(count, np.uint32)))
                grams = np.empty(size, np.uint64)
            hashed = (hashed ^ (hashed >> np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)
            hashes[count], lengths[count] = hashed ^ (hashed >> np.uint64(29)), characters
            count += 1
            place, word_before = stop, flags & ENDS_IN_WORD_CHARACTER != 0
        grams[:count] = hashes[:count]
        for n in range(2, 11):
            these = count - n + 1
            if these <= 0:
                break
            for i in range(these):
                grams[i] = grams[i] * factor + hashes[i + n - 1]
            table, mask = table_for(these, table)
            if n <= 4:
                if len(counts) < len(table):
                    counts, firsts = np.empty(len(table), np.uint32), np.empty(len(table), np.uint32)
                out[text, n - 2] = _top(grams, lengths, these, n, table, counts, firsts, mask)
            else:
                repeated, i = 0, 0
                while i < these:
                    if seen_before(table, mask, grams[i]):
                        for k in range(i, i + n):
                            repeated += lengths[k]
                        i += n
                    else:
                        i += 1
                out[text, n - 2] = repeated
