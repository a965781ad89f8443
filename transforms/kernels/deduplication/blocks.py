"""Packed blocks: what goes through the shuffles of pass 2, one or more bytes values an (origin, destination).

A block is a header of 9 bytes (kind, origin) and an array of fixed-size records, little-endian and without padding. The
origin is said once a block, not once a record: the key of the shard, or the number of the partition, that the block is
from or about. Blocks of several kinds may share a key; a reader takes out the kinds that it knows.

No block exceeds ``BLOCK_BYTES``, whatever the documents: what is larger goes as several blocks, in any number and order
of which readers find the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from transforms.kernels.deduplication.options import MAX_PARTITIONS
from transforms.kernels.deduplication.sketches import WORD, Sketches, word_count

_HEADER = np.dtype([("kind", "S1"), ("origin", "<u8")])
_DOCUMENT_BYTES = 8  # row, and number of shingles
_SIGNATURES_HEADER = np.dtype([("kind", "S1"), ("origin", "<u8"), ("documents", "<u4"), ("size", "<u4")])
BLOCK_BYTES = 1 << 20
"""What no block exceeds. Flink's batch mode sorts records in buffers of a few MiB and fails on a record that is larger;
every other buffer on the way holds whole elements, too."""


@dataclasses.dataclass(frozen=True)
class BlockLayout:
    """One kind of block.

    Attributes:
      kind: the byte that a block of this kind starts with.
      records: dtype of its records.
    """

    kind: bytes
    records: np.dtype

    @classmethod
    def of(cls, kind: bytes, **fields: str) -> BlockLayout:
        """A layout of named fields, such as ``row="<u4"``."""
        return cls(kind, np.dtype(list(fields.items())))

    def empty(self, count: int) -> np.ndarray:
        """``count`` records to be filled."""
        return np.empty(count, self.records)

    @property
    def most(self) -> int:
        """Records that fit in a block."""
        return (BLOCK_BYTES - _HEADER.itemsize) // self.records.itemsize

    def pack(self, origin: int, records: np.ndarray) -> bytes:
        """One block.

        Raises:
          ValueError: they are more than fit in one; ``to`` makes several.
        """
        if len(records) > self.most:
            raise ValueError(f"{len(records)} records don't fit in a block of kind {self.kind!r}: {self.most} do")
        return np.array([(self.kind, origin)], _HEADER).tobytes() + records.astype(self.records, copy=False).tobytes()

    def to(self, destination: int, origin: int, records: np.ndarray) -> Iterator[tuple[int, bytes]]:
        """(destination, block) for all of the records, in as many blocks as they need; none without records."""
        for start in range(0, len(records), self.most):
            yield destination, self.pack(origin, records[start : start + self.most])

    def split(self, origin: int, records: np.ndarray, destinations: np.ndarray) -> Iterator[tuple[int, bytes]]:
        """(destination, block) for every destination that gets at least one record; record order is kept in each."""
        order, groups = group_by(destinations)
        ordered = records[order]
        for destination, start, stop in groups:
            yield from self.to(destination, origin, ordered[start:stop])

    def size(self, block: bytes) -> int:
        """Number of records in a block of this kind, 0 for any other."""
        return (len(block) - _HEADER.itemsize) // self.records.itemsize if block[:1] == self.kind else 0

    def each(self, blocks: Iterable[bytes]) -> Iterator[tuple[int, np.ndarray]]:
        """(origin, records) of every block of this kind, without copying."""
        for block in blocks:
            if block[:1] == self.kind:
                yield (
                    int(np.frombuffer(block, _HEADER, 1)["origin"][0]),
                    np.frombuffer(block, self.records, offset=_HEADER.itemsize),
                )

    def unpack(self, blocks: Iterable[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """The records of all blocks of this kind, in the order they come, and each record's origin (uint64)."""
        origins, parts = [], []
        for origin, records in self.each(blocks):
            origins.append(origin)
            parts.append(records)
        if not parts:
            return self.empty(0), np.empty(0, np.uint64)
        lengths = [len(records) for records in parts]
        return np.concatenate(parts), np.repeat(np.array(origins, np.uint64), lengths)


def group_by(destinations: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """A stable order by destination, and (destination, start, stop) of every run in it."""
    if len(destinations) and int(destinations.max()) < MAX_PARTITIONS:
        destinations = destinations.astype(np.uint16)
    order = np.argsort(destinations, kind="stable")
    ordered = destinations[order]
    starts = np.flatnonzero(run_starts(ordered))
    stops = np.append(starts[1:], len(order))[: len(starts)]
    return order, list(zip(ordered[starts].tolist(), starts.tolist(), stops.tolist(), strict=True))


def run_starts(*ordered: np.ndarray) -> np.ndarray:
    """Where a run of equal values begins in arrays that are sorted together: bool (n,)."""
    first = np.zeros(len(ordered[0]), np.bool_)
    first[:1] = True
    for values in ordered:
        first[1:] |= values[1:] != values[:-1]
    return first


def runs_within(weights: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive runs of items, each as long as its bytes allow.

    Args:
      weights: int (n,), bytes of each item.
      most: bytes of a run; one item alone may have more.
    """
    ends = np.cumsum(weights)
    start = 0
    while start < len(weights):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield start, stop
        start = stop


def mix(values: np.ndarray) -> np.ndarray:
    """A bijection of uint64 that spreads close values over all bits (the finalizer of SplitMix64)."""
    values = values.astype(np.uint64)
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def partition_of(values: np.ndarray, partitions: int) -> np.ndarray:
    """The hash range, 0 to ``partitions`` - 1, of ids or hashes: uint16 (n,)."""
    return ((mix(values) >> np.uint64(32)) * np.uint64(partitions) >> np.uint64(32)).astype(np.uint16)


# Documents are named by their id; the row in the shard goes along where the shard must be found again: its key is
# the id minus the row.

# The hash of a text that no other document of the shard has before it, to its hash range. `documents` have it there.
CONTENT_HASHES = BlockLayout.of(b"h", high="<u8", low="<u8", row="<u4", documents="<u4")
# Exact duplicates, to their shard. The representative may itself be an exact duplicate of one in another shard.
DUPLICATES = BlockLayout.of(b"d", row="<u4", representative="<u8")
# How many exact duplicates of a representative a shard has, to the representative's shard.
FOLLOWERS = BlockLayout.of(b"f", row="<u4", shard="<u8", documents="<u4")
# One band of one document, to its hash range: 12 bytes, so 168 a document with 14 bands.
BANDS = BlockLayout.of(b"b", bucket="<u8", row="<u4")
# The same where the longest or best document stays: 16 bytes, 224 a document with 14 bands.
BANDS_AND_RANKS = BlockLayout.of(b"l", bucket="<u8", row="<u4", rank="<u4")
# Candidate pairs, to the shard of the later end, whose `row` it is; `earlier` is first in rank. Were they sent to the
# shard of the earlier end, one would get all of a bucket's: those of its first document.
PAIRS = BlockLayout.of(b"p", row="<u4", earlier="<u8", earlier_row="<u4")
# Rows whose sketches the origin, a shard, asks for.
WANTED = BlockLayout.of(b"w", row="<u4")
# Verified pairs: `earlier` is first in rank. `dropped`: the later one is known to be dropped.
EDGES = BlockLayout.of(
    b"e", later="<u8", later_row="<u4", earlier="<u8", earlier_row="<u4", similarity="<f4", dropped="u1"
)
# Pairs that the audit may look at again: removed for this witness, or (`removed` 0) candidates that were not verified.
AUDITED = BlockLayout.of(b"u", document="<u8", witness="<u8", similarity="<f4", removed="u1")
# Documents of a partition of which something is known that the round's question is about.
KNOWN = BlockLayout.of(b"n", document="<u8")
# Documents asked about, to their partition; the origin is the partition that asks.
QUESTIONS = BlockLayout.of(b"q", document="<u8")
# Documents of which the answer is yes, to the partition that asked.
ANSWERS = BlockLayout.of(b"a", document="<u8")
# Verified pairs whose earlier end is kept, to the shard of the later end, which is dropped for it.
KEPT_EDGES = BlockLayout.of(b"k", row="<u4", witness="<u8", witness_row="<u4", similarity="<f4")
# Representatives that are dropped, to the shards of their exact duplicates.
FATES = BlockLayout.of(b"t", representative="<u8", witness="<u8", similarity="<f4")

# Of a corpus (schemas.fingerprint_index), to the part of its index: texts and bands of documents that were kept; and
# those of new documents that are looked up there. Keys are mixed hashes.
INDEXED_TEXTS = BlockLayout.of(b"i", key="<u8", low="<u8", document="<u8")
INDEXED_BANDS = BlockLayout.of(b"j", key="<u8", address="<u8")
SOUGHT_TEXTS = BlockLayout.of(b"x", key="<u8", low="<u8", row="<u4")
SOUGHT_BANDS = BlockLayout.of(b"y", key="<u8", row="<u4")
# What is found, to the shard that has looked: kept documents of earlier runs with the same text, and candidates.
FOUND_TEXTS = BlockLayout.of(b"X", row="<u4", document="<u8")
FOUND_PAIRS = BlockLayout.of(b"Y", row="<u4", address="<u8")

# What pass 2 hands on. A document to drop, its kept witness and their similarity, to the document's shard. `exact`: 1
# if the witness has the same text, 0 if document and witness are a verified pair, or the document's representative and
# witness are.
DECISIONS = BlockLayout.of(b"D", document="<u8", witness="<u8", similarity="<f4", exact="u1")
# Documents dropped with this witness, to the witness's shard. A witness can be in several blocks: the sum counts.
WITNESSES = BlockLayout.of(b"W", witness="<u8", documents="<u4")


@dataclasses.dataclass(frozen=True)
class SignatureBlock:
    """Sketches on their way to a shard that compares its documents with theirs.

    Attributes:
      shard: key of the documents' shard.
      rows: uint32 (m,), theirs in their shard, ascending.
      sketches: theirs (m), one after the other.
    """

    KIND = b"s"

    shard: int
    rows: np.ndarray
    sketches: Sketches

    @classmethod
    def of(cls, shard: int, rows: np.ndarray, sketches: Sketches) -> Iterator[SignatureBlock]:
        """As many blocks as the documents need to stay within ``BLOCK_BYTES``.

        Args:
          shard: the shard's key.
          rows: uint32 (n,), the documents, ascending.
          sketches: those of all its documents, by row.
        """
        weights = _DOCUMENT_BYTES + WORD.itemsize * sketches.lengths(rows)
        for start, stop in runs_within(weights, BLOCK_BYTES - _SIGNATURES_HEADER.itemsize):
            yield cls(shard, rows[start:stop], sketches.take(rows[start:stop]))

    def pack(self) -> bytes:
        """One block: header, rows, counts of shingles, sketches.

        Raises:
          ValueError: it is larger than a block may be; ``of`` makes several.
        """
        sketches = self.sketches
        header = np.array([(self.KIND, self.shard, len(self.rows), sketches.signature_size)], _SIGNATURES_HEADER)
        arrays = (header, self.rows.astype("<u4"), sketches.counts.astype("<u4"), sketches.words)
        block = b"".join(array.tobytes() for array in arrays)
        if len(block) > BLOCK_BYTES:
            raise ValueError(f"{len(self.rows)} sketches don't fit in a block of kind {self.KIND!r}")
        return block

    @classmethod
    def unpack(cls, block: bytes) -> SignatureBlock:
        """The block's arrays, without copying."""
        header = np.frombuffer(block, _SIGNATURES_HEADER, 1)[0]
        number, size = int(header["documents"]), int(header["size"])
        rows = _SIGNATURES_HEADER.itemsize
        counts = np.frombuffer(block, "<u4", number, rows + 4 * number)
        words = np.frombuffer(block, WORD, word_count(counts, size), rows + 8 * number)
        return cls(
            int(header["origin"]),
            np.frombuffer(block, "<u4", number, rows),
            Sketches.in_order(counts, words, size),
        )
