"""A blocked Bloom filter over 64-bit keys: which keys of many are certainly not in a set, from ten bits a key.

A key has its bits in one block of 64 bytes (Putze, Sanders, Singler, "Cache-, hash- and space-efficient Bloom filters",
WEA 2007), so one look at 64 bytes answers for it. Blocks are in the order of the keys, so sorted keys find theirs one
after the other. Of keys that aren't in the set 1.2 % are said to be.

Keys have to be evenly spread (``transforms.kernels.deduplication.blocks.mix``).
"""

from __future__ import annotations

import numba
import numpy as np

BLOCK_BYTES = 64
_WORDS = BLOCK_BYTES // 8
_BITS_A_KEY = 10
_PROBES = 6
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def block_count(keys: int) -> int:
    """How many blocks suit so many keys."""
    return max(1, -(-keys * _BITS_A_KEY // (8 * BLOCK_BYTES)))


def blocks_of(keys: np.ndarray, prefix_bits: int, blocks: int) -> np.ndarray:
    """int64 (n,): the block of each key, ascending as the keys do.

    Args:
      keys: uint64 (n,), which all have the same first ``prefix_bits`` bits.
      blocks: of the filter.
    """
    spread = (keys << np.uint64(prefix_bits)) >> np.uint64(32)
    return (spread * np.uint64(blocks) >> np.uint64(32)).astype(np.int64)


def filter_of(keys: np.ndarray, prefix_bits: int) -> np.ndarray:
    """The filter of some keys: uint64 (blocks, 8)."""
    made = np.zeros((block_count(len(keys)), _WORDS), np.uint64)
    _add(keys, blocks_of(keys, prefix_bits, len(made)), made)
    return made


@numba.njit(cache=True, nogil=True)
def may_have(keys: np.ndarray, blocks: np.ndarray, at: np.ndarray) -> np.ndarray:
    """bool (n,): False of a key that certainly isn't in the set.

    Args:
      keys: uint64 (n,).
      blocks: uint64 (m, 8), some of the filter's.
      at: int64 (n,), which of these is each key's.
    """
    found = np.empty(len(keys), np.bool_)
    for i in range(len(keys)):
        bits = keys[i] * _SPREAD
        there = True
        for probe in range(_PROBES):
            bit = (bits >> np.uint64(10 + 9 * probe)) & np.uint64(511)
            there &= (blocks[at[i], bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1) == np.uint64(1)
        found[i] = there
    return found


@numba.njit(cache=True, nogil=True)
def _add(keys: np.ndarray, at: np.ndarray, blocks: np.ndarray) -> None:
    for i in range(len(keys)):
        bits = keys[i] * _SPREAD
        for probe in range(_PROBES):
            bit = (bits >> np.uint64(10 + 9 * probe)) & np.uint64(511)
            blocks[at[i], bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
