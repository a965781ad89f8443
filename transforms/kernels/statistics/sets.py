"""Sets of 64-bit hashes in arrays: which lines, paragraphs and n-grams have occurred before."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, inline="always")
def mixed(hashed: np.uint64) -> np.uint64:
    """A hash in which every bit depends on every bit, never 0."""
    hashed = (hashed ^ (hashed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashed = (hashed ^ (hashed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (hashed ^ (hashed >> np.uint64(31))) | np.uint64(1)


@numba.njit(cache=True, inline="always")
def seen_before(table: np.ndarray, mask: np.uint64, hashed: np.uint64) -> bool:
    """Whether a hash is in an open-addressed set already; it is afterwards."""
    key = mixed(hashed)
    slot = (key >> np.uint64(20)) & mask
    while table[slot] != 0:
        if table[slot] == key:
            return True
        slot = (slot + np.uint64(1)) & mask
    table[slot] = key
    return False


@numba.njit(cache=True)
def table_for(entries: int, table: np.ndarray) -> tuple[np.ndarray, np.uint64]:
    """An empty set for so many hashes, in the array given if it is large enough; and its mask."""
    size = 16
    while size < 2 * entries:
        size *= 2
    if size > len(table):
        table = np.empty(size, np.uint64)
    table[:size] = 0
    return table, np.uint64(size - 1)
