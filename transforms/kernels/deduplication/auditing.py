"""The audit's arithmetic: which pairs are looked at again, and what they say about all others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from transforms.kernels.deduplication.blocks import AUDITED, DECISIONS, mix
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.deduplication.plain_shingles import shingle_hashes

SAMPLE = 200
"""Pairs of each kind. If all 200 are right, at least 98.1 % of all are, with 95 % confidence."""
RANGES = 16
"""Ranges of hashes, a power of two, in which two texts are compared one by one: a 100 MB text has 9 MB in each."""
HASHES_AT_ONCE = 1 << 16
"""Hashes in one element of a shuffle: 512 KiB."""
MARGIN = 0.1
"""Four standard errors of the default signature at 0.8. How far under ``min_similarity`` a candidate's estimate is a
near miss, and how far under it the true similarity of a removed pair may be."""


def removed(decisions: np.ndarray) -> np.ndarray:
    """The near-duplicates among ``DECISIONS`` as ``AUDITED``."""
    near = decisions[decisions["exact"] == 0]
    pairs = AUDITED.empty(len(near))
    for name in ("document", "witness", "similarity"):
        pairs[name] = near[name]
    pairs["removed"] = 1
    return pairs


def near_misses(
    document: np.ndarray, other: np.ndarray, similarity: np.ndarray, min_similarity: float, verified: np.ndarray
) -> np.ndarray:
    """Of n candidate pairs those that were not verified, but nearly: ``AUDITED``.

    Args:
      verified: positions of those that were.
    """
    near = similarity >= min_similarity - MARGIN
    near[verified] = False
    pairs = AUDITED.empty(int(near.sum()))
    pairs["document"], pairs["witness"], pairs["similarity"] = document[near], other[near], similarity[near]
    pairs["removed"] = 0
    return pairs


def sample(pairs: np.ndarray, size: int = SAMPLE) -> np.ndarray:
    """At most ``size`` of the removed and ``size`` of the near misses, drawn by a hash of their ids.

    A function of the set of pairs, so samples of parts can be sampled again. In the order of the draw.
    """
    order = np.lexsort((pairs["witness"], pairs["document"], mix(pairs["document"] ^ mix(pairs["witness"]))))
    is_removed = pairs["removed"][order] != 0
    return pairs[np.concatenate([order[is_removed][:size], order[~is_removed][:size]])]


def audited(blocks: Iterable[bytes]) -> np.ndarray:
    """``AUDITED`` of all blocks of pairs and decisions; blocks of other kinds are passed over."""
    blocks = list(blocks)
    return np.concatenate([AUDITED.unpack(blocks)[0], removed(DECISIONS.unpack(blocks)[0])])


def hashed_shingles(text: pa.Array, options: MinHash) -> Iterator[np.ndarray]:
    """All shingles of normalized texts, whole ones: sorted distinct 64-bit hashes, whose similarities are exact."""
    for normalized in text:
        yield shingle_hashes(normalized.as_py() or "", options)


def in_ranges(hashes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Sorted hashes as (range, at most ``HASHES_AT_ONCE`` of them); the first range is always there."""
    bounds = np.searchsorted(hashes, np.arange(1, RANGES, dtype=np.uint64) << np.uint64(64 - RANGES.bit_length() + 1))
    for number, part in enumerate(np.split(hashes, bounds)):
        for start in range(0, max(len(part), number == 0), HASHES_AT_ONCE):
            yield number, part[start : start + HASHES_AT_ONCE]


def common_and_sizes(a: np.ndarray, b: np.ndarray) -> tuple[int, int, int]:
    """Sizes of the intersection of two sets given as distinct values, and of each of them."""
    together = np.concatenate([a, b])
    together.sort()
    return int(np.count_nonzero(together[1:] == together[:-1])), len(a), len(b)


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, "Probable inference", JASA 22, 1927); 0 to 1 without trials."""
    if not trials:
        return 0.0, 1.0
    share, square = successes / trials, z * z / trials
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / trials + square / trials / 4) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)
