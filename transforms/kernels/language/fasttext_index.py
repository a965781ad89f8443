"""How fastText finds the row of a word (by hash and spelling) and of an n-gram (by bucket, in pruned models)."""

from __future__ import annotations

import numpy as np
from numba import njit

MASK_32 = 0xFFFFFFFF
FNV_OFFSET, FNV_PRIME = 2166136261, 16777619


@njit(cache=True)
def fnv1a(data: np.ndarray, start: int, stop: int) -> np.int64:
    """FastText's 32-bit FNV-1a of ``data[start:stop]``: each byte is sign-extended before it is mixed in."""
    value = np.int64(FNV_OFFSET)
    for position in range(start, stop):
        value = ((value ^ ((np.int64(data[position]) ^ 0x80) - 0x80)) * FNV_PRIME) & MASK_32
    return value


@njit(cache=True)
def find_entry(
    data: np.ndarray,
    start: int,
    stop: int,
    value: int,
    spellings: np.ndarray,
    spelling_ends: np.ndarray,
    entry_slots: np.ndarray,
) -> tuple[int, int]:
    """The entry spelled ``data[start:stop]``, which hashes to ``value``, or -1; and the slot where the search ended."""
    slot = value & (entry_slots.size - 1)
    while True:
        entry = entry_slots[slot]
        if entry < 0:
            return -1, slot
        first = spelling_ends[entry]
        if spelling_ends[entry + 1] - first == stop - start:
            same = True
            for i in range(stop - start):
                if spellings[first + i] != data[start + i]:
                    same = False
                    break
            if same:
                return entry, slot
        slot = (slot + 1) & (entry_slots.size - 1)


@njit(cache=True)
def kept_row(bucket: int, kept_bits: np.ndarray, kept_before: np.ndarray, kept_rows: np.ndarray) -> np.int64:
    """The row of a pruned model's n-gram bucket, less V; -1 if it was pruned.

    A bitmap with ranks: most n-grams aren't there, and its 250 kB (2 million buckets) stay in the processor's cache.
    """
    bit, word = np.uint64(bucket) & np.uint64(63), np.uint64(bucket) >> np.uint64(6)
    bits = kept_bits[word]
    if (bits >> bit) & np.uint64(1) == 0:
        return np.int64(-1)
    below = bits & ((np.uint64(1) << bit) - np.uint64(1))
    below -= (below >> np.uint64(1)) & np.uint64(0x5555555555555555)
    below = (below & np.uint64(0x3333333333333333)) + ((below >> np.uint64(2)) & np.uint64(0x3333333333333333))
    below = (below + (below >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    ones = (below * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return np.int64(kept_rows[np.uint64(kept_before[word]) + ones])


def empty_slots(entries: int) -> np.ndarray:
    """A hash table for ``index_entries`` to fill: int32, a power of two at least twice the entries, all -1."""
    return np.full(1 << max(4, (2 * entries).bit_length()), -1, np.int32)


@njit(cache=True)
def index_entries(spellings: np.ndarray, ends: np.ndarray, entry_slots: np.ndarray, wanted: np.ndarray) -> int:
    """Fills ``entry_slots``; returns the entry spelled like ``wanted``, -1 if there is none."""
    for entry in range(ends.size - 1):
        start, stop = ends[entry], ends[entry + 1]
        value = fnv1a(spellings, start, stop)
        _, slot = find_entry(spellings, start, stop, value, spellings, ends, entry_slots)
        entry_slots[slot] = entry  # of two entries spelled alike the later counts, as in the library
    found, _ = find_entry(wanted, 0, wanted.size, fnv1a(wanted, 0, wanted.size), spellings, ends, entry_slots)
    return found


def index_ngrams(kept: np.ndarray, buckets: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``kept_bits``, ``kept_before`` and ``kept_rows`` of (bucket, row) pairs whose buckets differ."""
    kept = kept[np.argsort(kept[:, 0])]
    bits = np.zeros(buckets // 64 + 1, np.uint64)
    np.bitwise_or.at(bits, kept[:, 0] >> 6, np.uint64(1) << (kept[:, 0] & 63).astype(np.uint64))
    before = np.zeros(len(bits), np.int32)
    np.cumsum(np.bitwise_count(bits[:-1]), out=before[1:])
    return bits, before, kept[:, 1].copy()
