"""The sketches of an index of fingerprints: one object a shard, of which single ones are read by their addresses.

An entry is 12 bytes (the document's id in the corpus, and how many shingles it lists) and the sketch
(``transforms.kernels.deduplication.sketches``). An address is ``(object's number << 32) | offset`` in words of 4 bytes.
"""

from __future__ import annotations

import numba
import numpy as np

from schemas.fingerprint_index import FingerprintIndex
from transforms.io import storage
from transforms.io.random_access import RandomAccess
from transforms.kernels.deduplication.sketches import WORD, Sketches

_HEAD = 3
"""Words of an entry before its sketch."""


def write_sketches(uri: str, documents: np.ndarray, sketches: Sketches) -> np.ndarray:
    """Writes the object of a shard's kept documents that have a sketch; returns their offsets, uint64 (n,), in words.

    Args:
      documents: uint64 (n,), ascending.
      sketches: theirs, one after the other.

    Raises:
      ValueError: they take more than 16 GiB, which an address can't say.
    """
    lengths = sketches.lengths(np.arange(len(documents)))
    ends = np.cumsum(lengths + _HEAD)
    if len(ends) and ends[-1] > 2**32:
        raise ValueError(f"{uri}: the sketches of one shard take more than 16 GiB: make shards smaller (shard_bytes)")
    offsets = ends - lengths - _HEAD
    entries = np.empty(int(ends[-1]) if len(ends) else 0, WORD)
    _fill(entries, offsets, documents, sketches.counts, sketches.starts, lengths, sketches.words)
    storage.write(uri, entries.tobytes())
    return offsets.astype(np.uint64)


def read_sketches(index: FingerprintIndex, addresses: np.ndarray) -> tuple[np.ndarray, Sketches]:
    """The documents and sketches at some addresses: uint64 (n,), and theirs in order.

    Args:
      addresses: uint64 (n,), ascending.
    """
    signature_size = int(index.comparable["signature_size"])
    documents, counts, words = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)], [np.empty(0, WORD)]
    objects = (addresses >> np.uint64(32)).astype(np.int64)
    for number in np.unique(objects).tolist():
        offsets = (addresses[objects == number] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        longest = np.full(len(offsets), _HEAD + index.words)
        with RandomAccess(index.sketches_uri(number)) as file:
            read = file.gather(4 * offsets, 4 * longest).view(WORD)
            lengths = np.minimum(longest, file.size // 4 - offsets)
        starts = np.cumsum(lengths) - lengths
        documents.append(read[starts].astype(np.uint64) | read[starts + 1].astype(np.uint64) << np.uint64(32))
        counts.append(read[starts + 2])
        listed = Sketches(counts[-1], starts + _HEAD, read, signature_size)
        words.append(listed.take(np.arange(len(offsets))).words)
    return np.concatenate(documents), Sketches.in_order(np.concatenate(counts), np.concatenate(words), signature_size)


@numba.njit(cache=True, nogil=True)
def _fill(
    entries: np.ndarray,
    offsets: np.ndarray,
    documents: np.ndarray,
    counts: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    words: np.ndarray,
) -> None:
    for i in range(len(offsets)):
        at = offsets[i]
        entries[at] = documents[i] & np.uint64(0xFFFFFFFF)
        entries[at + 1] = documents[i] >> np.uint64(32)
        entries[at + 2] = counts[i]
        for j in range(lengths[i]):
            entries[at + 3 + j] = words[starts[i] + j]
