"""What is compared of documents, and how: all shingles of short ones, the signatures of long ones.

Two documents whose shingles are all known have their exact Jaccard similarity, a merge of two sorted lists. Where one
has only a signature, the similarity is estimated; the other's signature is then made of its shingles, as it would have
been made of its text (``transforms.kernels.deduplication.sketching``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.kernels.deduplication.sketching import signature_of

WORD = np.dtype("<u4")


@dataclasses.dataclass(frozen=True)
class Sketches:
    """What is compared of n documents.

    Attributes:
      counts: uint32 (n,), number of distinct shingles, all of which are known; 0: the document has a signature or, with
        ``sizes`` 0, nothing.
      starts: int64 (n,), where each document's sketch begins in ``words``.
      words: uint32, one document after the other: its sorted shingles, or its signature, filled up with zeros to whole
        words.
      signature_size: bytes of a signature.
    """

    counts: np.ndarray
    starts: np.ndarray
    words: np.ndarray
    signature_size: int

    def __len__(self) -> int:
        return len(self.counts)

    @classmethod
    def of_columns(cls, signature: pa.Array, shingles: pa.Array) -> Sketches:
        """Those of a shard's documents, by row, from its fingerprints (``schemas.columns.fingerprints``).

        Args:
          signature: fixed-size binary (n,).
          shingles: large binary (n,), null where there is a signature.
        """
        size = signature.type.byte_width
        has_signature = signature.is_valid().to_numpy(zero_copy_only=False)
        listed = shingles.is_valid().to_numpy(zero_copy_only=False)
        lengths = pc.binary_length(shingles).fill_null(0).to_numpy(zero_copy_only=False)
        counts = np.where(listed, lengths // WORD.itemsize, 0).astype(np.uint32)
        present = signature if signature.null_count == 0 else signature.drop_null()
        signatures = np.zeros((len(present), _words_of(size) * WORD.itemsize), np.uint8)
        if len(present):
            values = np.frombuffer(present.buffers()[1], np.uint8, len(present) * size, present.offset * size)
            signatures[:, :size] = values.reshape(len(present), size)
        list_buffer = shingles.drop_null()
        offsets = np.frombuffer(list_buffer.buffers()[1], np.int64, len(list_buffer) + 1, list_buffer.offset * 8)
        data = list_buffer.buffers()[2]
        hashes = np.empty(0, WORD)
        if data is not None and len(list_buffer):
            hashes = np.frombuffer(data, WORD, (offsets[-1] - offsets[0]) // WORD.itemsize, offsets[0])
        words = np.concatenate([signatures.view(WORD).reshape(-1), hashes])
        starts = np.zeros(len(counts), np.int64)
        starts[has_signature] = np.arange(len(present)) * _words_of(size)
        starts[listed] = signatures.nbytes // WORD.itemsize + (offsets[:-1] - offsets[0]) // WORD.itemsize
        return cls(counts, starts, words, size)

    @classmethod
    def in_order(cls, counts: np.ndarray, words: np.ndarray, signature_size: int) -> Sketches:
        """Documents that each have a sketch, one after the other in ``words``."""
        return cls(counts, _starts(_lengths(counts, signature_size)), words, signature_size)

    @classmethod
    def concatenate(cls, parts: Sequence[Sketches]) -> Sketches:
        """The documents of one part, at least, after those of another."""
        before = np.cumsum([0, *(len(part.words) for part in parts)])
        return cls(
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.starts + first for part, first in zip(parts, before, strict=False)]),
            np.concatenate([part.words for part in parts]),
            parts[0].signature_size,
        )

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Words of each of some documents, which each have a sketch: int64."""
        return _lengths(self.counts[rows], self.signature_size)

    def take(self, rows: np.ndarray) -> Sketches:
        """Those of some documents, which each have one, in order."""
        counts, starts, lengths = self.counts[rows], self.starts[rows], self.lengths(rows)
        into = _starts(lengths)
        words = np.empty(int(lengths.sum()), WORD)
        _gather(self.words, starts, lengths, into, words)
        return Sketches(counts, into, words, self.signature_size)


def word_count(counts: np.ndarray, signature_size: int) -> int:
    """Words of documents that each have a sketch."""
    return int(_lengths(counts, signature_size).sum())


def similarities(
    a: Sketches, a_rows: np.ndarray, b: Sketches, b_rows: np.ndarray, band_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """The Jaccard similarity of n pairs of documents, each of which has a sketch.

    Args:
      a_rows, b_rows: int64 (n,), the pairs.
      band_bins: how many bins of the whole sketch are before those of the signature.

    Returns:
      float32 (n,), 0 to 1: unbiased, but for the cut at 0, where it is estimated, which is the share m/k of equal bytes
      without those that are equal by chance, one in 256: (m/k - 1/256) / (1 - 1/256); and bool (n,), where it is exact.
    """
    if a.signature_size != b.signature_size:
        raise ValueError(f"signatures: of {a.signature_size} and of {b.signature_size} bytes can't be compared")
    return _similarities(
        a.counts, a.starts, a.words, a_rows.astype(np.int64, copy=False),
        b.counts, b.starts, b.words, b_rows.astype(np.int64, copy=False),
        a.signature_size, band_bins,
    )  # fmt: skip


def _words_of(signature_size: int) -> int:
    return -(-signature_size // WORD.itemsize)


def _lengths(counts: np.ndarray, signature_size: int) -> np.ndarray:
    return np.where(counts > 0, counts, _words_of(signature_size)).astype(np.int64)


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.cumsum(lengths) - lengths


@numba.njit(cache=True, nogil=True)
def _gather(
    words: np.ndarray, starts: np.ndarray, lengths: np.ndarray, into_starts: np.ndarray, into: np.ndarray
) -> None:
    for i in range(len(starts)):
        for j in range(lengths[i]):
            into[into_starts[i] + j] = words[starts[i] + j]


@numba.njit(cache=True, nogil=True)
def _common(a: np.ndarray, b: np.ndarray) -> int:
    """How many values two sorted arrays of distinct values share."""
    i, j, common = 0, 0, 0
    while i < len(a) and j < len(b):
        common += a[i] == b[j]
        smaller, larger = a[i] <= b[j], a[i] >= b[j]
        i += smaller
        j += larger
    return common


@numba.njit(cache=True, nogil=True)
def _similarities(
    a_counts: np.ndarray,
    a_starts: np.ndarray,
    a_words: np.ndarray,
    a_rows: np.ndarray,
    b_counts: np.ndarray,
    b_starts: np.ndarray,
    b_words: np.ndarray,
    b_rows: np.ndarray,
    size: int,
    band_bins: int,
) -> tuple[np.ndarray, np.ndarray]:
    n = len(a_rows)
    found = np.empty(n, np.float32)
    exact = np.empty(n, np.bool_)
    sketch = np.empty(band_bins + size, np.uint64)
    made = np.empty(size, np.uint8)
    a_bytes, b_bytes = a_words.view(np.uint8), b_words.view(np.uint8)
    for pair in range(n):
        a_row, b_row = a_rows[pair], b_rows[pair]
        a_count, b_count = np.int64(a_counts[a_row]), np.int64(b_counts[b_row])
        a_start, b_start = a_starts[a_row], b_starts[b_row]
        exact[pair] = a_count > 0 and b_count > 0
        if exact[pair]:
            common = _common(a_words[a_start : a_start + a_count], b_words[b_start : b_start + b_count])
            found[pair] = common / (a_count + b_count - common)
            continue
        a_signature = a_bytes[4 * a_start : 4 * a_start + size]
        b_signature = b_bytes[4 * b_start : 4 * b_start + size]
        if a_count:
            signature_of(a_words[a_start : a_start + a_count], sketch, made)
            a_signature = made
        elif b_count:
            signature_of(b_words[b_start : b_start + b_count], sketch, made)
            b_signature = made
        equal = 0
        for i in range(size):
            equal += a_signature[i] == b_signature[i]
        found[pair] = max((equal / size - 1 / 256) / (1 - 1 / 256), 0)
    return found, exact
