"""Which documents are exported, how often, and in which order: all by hashes of the seed and the document's id.

Nothing depends on the order in which documents come, on batches or on the number of workers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.kernels.deduplication.blocks import mix

TAKEN, HELD_OUT, PART, ORDER = 1, 2, 3, 4
"""What a hash is for: each gets bits of its own."""
TRAIN, HOLDOUT = 0, 1
"""Splits."""

Ids = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


def hashes(ids: Ids, seed: int, run: int, purpose: int, copy: int = 0) -> Ids:
    """64 bits for each document id, other ones for another seed, run, purpose or copy. 150 M ids/s."""
    key = mix(np.array([seed % 2**64], np.uint64))
    for part in (run, purpose, copy):
        key = mix(key ^ np.uint64(part + 1))
    return mix(ids ^ key[0])


def uniform(ids: Ids, seed: int, run: int) -> Floats:
    """A number in [0, 1) for each document: what decides whether a fraction of a copy is a copy."""
    return (hashes(ids, seed, run, TAKEN) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def copies(numbers: Floats, epochs: Floats, times: Floats) -> npt.NDArray[np.int64]:
    """How often each document is taken: ``floor(epochs * times + number)``.

    That is ``epochs * times`` on average; more epochs never take a document less often.

    Args:
      numbers: of ``uniform``.
      epochs: of each document's group.
      times: how often a document counts in an epoch, for its ``cluster_size``.
    """
    return np.floor(epochs * times + numbers).astype(np.int64)


def held_out(ids: Ids, seed: int, run: int, share: float) -> npt.NDArray[np.bool_]:
    """Whether each document is in the hold-out set of this share of the documents; a larger share has the smaller."""
    if share <= 0:
        return np.zeros(len(ids), np.bool_)
    return hashes(ids, seed, run, HELD_OUT) < np.uint64(min(share * 2.0**64, 2.0**64 - 2.0**11))


def parts(ids: Ids, seed: int, run: int, copy: int, count: int) -> npt.NDArray[np.int64]:
    """In which of ``count`` parts of its row group each document is, in its n-th copy."""
    if count == 1:
        return np.zeros(len(ids), np.int64)
    high = hashes(ids, seed, run, PART, copy) >> np.uint64(32)
    return (high * np.uint64(count) >> np.uint64(32)).astype(np.int64)


def times_of(cluster_sizes: npt.NDArray[np.integer], table: tuple[tuple[int, float], ...]) -> Floats:
    """How often documents count by their ``cluster_size``: the entry with the largest size that isn't larger.

    Args:
      table: (from this size on, times), sorted; empty: each once. The first entry is for smaller sizes, too.
    """
    if not table:
        return np.ones(len(cluster_sizes))
    sizes = np.array([size for size, _ in table])
    values = np.array([times for _, times in table], np.float64)
    return values[np.maximum(np.searchsorted(sizes, cluster_sizes, "right") - 1, 0)]


def events(numbers: Floats, times: Floats, low: float, high: float) -> tuple[npt.NDArray[np.int64], Floats]:
    """Where a growing number of epochs takes a document once more: index of the document, and that number.

    Args:
      low, high: only numbers of epochs above ``low`` and up to ``high``.
    """
    first, last = (copies(numbers, np.full(len(numbers), bound), times) for bound in (low, high))
    more = last - first
    index = np.repeat(np.arange(len(numbers)), more)
    nth = np.arange(len(index)) - np.repeat(np.cumsum(more) - more, more) + first[index] + 1
    return index, (nth - numbers[index]) / times[index]
