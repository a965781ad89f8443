"""Repetition within a text, as Gopher measures it: the characters of its commonest and of its repeated n-grams.

Rae et al. 2021 (arXiv 2112.11446), table A1. An n-gram is a run of n tokens (``transforms.kernels.statistics.words``);
symbols are tokens, too, as with spaCy's words, on which the published thresholds were tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numba
import numpy as np

from transforms.kernels.deduplication.folding import MULTIPLIER
from transforms.kernels.statistics.sets import seen_before, table_for
from transforms.kernels.statistics.words import Token, collect_tokens, tokens_reference

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
REPETITION = {
    **{f"top_{n}gram_characters": f"characters of the commonest {n}-gram, with its blanks, in all places" for n in TOP},
    **{f"duplicate_{n}gram_characters": f"characters of the {n}-grams that have occurred before" for n in DUPLICATE},
}
"""The figures of a text and what they count: whole numbers. Divided by ``characters`` they are Gopher's shares."""


def repetition_reference(text: str, tokens: Sequence[Token] | None = None) -> dict[str, int]:
    """The figures of a text: slow and obvious. ``tokens`` are those of somebody else, to be compared with."""
    words = [token.text for token in (tokens_reference(text) if tokens is None else tokens)]
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
def measure_tokens(hashes: np.ndarray, lengths: np.ndarray, count: int, table: np.ndarray, out: np.ndarray) -> None:
    """Fills uint32[figures] with the figures of a text.

    An n-gram can only occur twice where its first n - 1 tokens do: each pass looks at the places that the one before
    has left, so that all of them together cost about two.

    Args:
      hashes, lengths: of its tokens, ``count`` of each (``collect_tokens``).
      table: a set to be used again.
    """
    factor = np.uint64(MULTIPLIER)
    mixed, places = np.empty(count, np.uint64), np.empty(count, np.uint32)
    for i in range(count):
        hashed = hashes[i]
        hashed = (hashed ^ (hashed >> np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed[i] = hashed ^ (hashed >> np.uint64(29))
        places[i] = i
    grams, slots = mixed.copy(), np.empty(count, np.uint32)
    left = count
    counts, firsts = np.empty(0, np.uint32), np.empty(0, np.uint32)
    for n in range(2, 5):
        these = count - n + 1
        if these <= 0:
            return
        while left > 0 and places[left - 1] >= these:
            left -= 1
        table, mask = table_for(left, table)
        if len(counts) <= mask:
            counts, firsts = np.empty(mask + np.uint64(1), np.uint32), np.empty(mask + np.uint64(1), np.uint32)
        most, first = 1, 0
        for j in range(left):
            i = places[j]
            grams[i] = grams[i] * factor + mixed[i + n - 1]
            key = grams[i] | np.uint64(1)
            slot = (key >> np.uint64(20)) & mask
            while table[slot] != 0 and table[slot] != key:
                slot = (slot + np.uint64(1)) & mask
            if table[slot] == 0:
                table[slot] = key
                counts[slot] = 0
                firsts[slot] = i
            counts[slot] += 1
            slots[j] = slot
            # Of several that are as common, the one that occurs first.
            if counts[slot] > most or (counts[slot] == most and most > 1 and firsts[slot] < first):
                most, first = counts[slot], firsts[slot]
        characters = n - 1
        for i in range(first, first + n):
            characters += lengths[i]
        out[n - 2] = characters * most
        repeated = 0
        for j in range(left):
            if counts[slots[j]] > 1:
                places[repeated] = places[j]
                repeated += 1
        left = repeated
    for n in range(5, 11):
        these = count - n + 1
        while left > 0 and places[left - 1] >= these:
            left -= 1
        if left <= 0:
            return
        table, mask = table_for(left, table)
        characters, behind = 0, 0
        for j in range(left):
            i = places[j]
            grams[i] = grams[i] * factor + mixed[i + n - 1]
            if i >= behind and seen_before(table, mask, grams[i]):
                for k in range(i, i + n):
                    characters += lengths[k]
                behind = i + n
        out[n - 2] = characters


@numba.njit(cache=True)
def measure_texts(data: np.ndarray, offsets: np.ndarray, kinds: np.ndarray, out: np.ndarray) -> None:
    """Fills uint32[texts, figures] with the figures of each text; ``out`` must be 0.

    Needs 40 to 90 bytes for each token of the longest text.
    """
    hashes, lengths, flags = np.empty(1024, np.uint64), np.empty(1024, np.uint32), np.empty(1024, np.uint8)
    table = np.empty(1024, np.uint64)
    for text in range(len(offsets) - 1):
        hashes, lengths, flags, count = collect_tokens(
            data, offsets[text], offsets[text + 1], kinds, hashes, lengths, flags
        )
        measure_tokens(hashes, lengths, count, table, out[text])
