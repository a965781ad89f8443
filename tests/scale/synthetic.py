"""Synthetic fingerprints with planted duplicates: what became of a document can be judged from its id alone.

Of N documents 10 % are copies of others, 20 % come in pairs of known similarity, 5 % in clusters of ten around a common
prototype, the rest are like nothing else. A document's place among these, its *slot*, is a permutation of its number,
so partners are far apart. A bin of the sketch agrees between partners with the pair's similarity, as in MinHash.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import fingerprints
from schemas.run_layout import ERROR, ETAG, FIRST_ROW
from schemas.shards import Shard, Source
from transforms.kernels.deduplication.blocks import mix
from transforms.kernels.deduplication.options import MinHash

MINHASH = MinHash()
SIMILARITIES = (0.7, 0.75, 0.8, 0.85, 0.9)
CLUSTER, CLUSTER_SIMILARITY = 10, 0.95
ROWS_PER_SHARD = 62_500
COPY, PAIR, MEMBER, ALONE = range(4)
_STEP = 7_368_787  # a prime: slot = number * _STEP mod N is a permutation


@dataclasses.dataclass(frozen=True)
class World:
    """N documents in shards of ``ROWS_PER_SHARD``; a document's number is its id without the source's bits."""

    documents: int

    @property
    def bounds(self) -> np.ndarray:
        """Where the slots of copies, pairs and clusters end."""
        tenth = self.documents // 10
        return np.array([tenth, 3 * tenth, 3 * tenth + tenth // 20 * CLUSTER])

    def slots(self, identifiers: np.ndarray) -> np.ndarray:
        """int64: slots of documents by id."""
        identifiers = identifiers.astype(np.int64)
        numbers = (identifiers >> 32) * ROWS_PER_SHARD + (identifiers & 0xFFFFFFFF)
        return numbers * _STEP % self.documents

    def kinds(self, slots: np.ndarray) -> np.ndarray:
        """COPY, PAIR, MEMBER or ALONE."""
        return np.searchsorted(self.bounds, slots, side="right")

    def groups(self, slots: np.ndarray) -> np.ndarray:
        """A number that documents share exactly if they are copies, partners, or of one cluster."""
        copies, pairs, members = self.bounds.tolist()
        kinds = self.kinds(slots)
        found = np.where(kinds == COPY, slots + members, slots)  # a copy is one of a document that is alone
        found = np.where(kinds == PAIR, copies + (slots - copies) // 2 * 2, found)
        return np.where(kinds == MEMBER, pairs + (slots - pairs) // CLUSTER * CLUSTER, found)

    def similarities(self, slots: np.ndarray) -> np.ndarray:
        """Of a document with the prototype of its group: of one of two partners, and of nine of ten members."""
        kinds, groups = self.kinds(slots), self.groups(slots)
        planted = np.where(kinds == PAIR, np.array(SIMILARITIES)[(groups // 2) % len(SIMILARITIES)], CLUSTER_SIMILARITY)
        return np.where((slots == groups) | (kinds == COPY), 1.0, planted)

    def write(self, folder: Path) -> list[Shard]:
        """The fingerprint objects, and their shards; an object that is there is left as it is."""
        folder.mkdir(parents=True, exist_ok=True)
        shards = []
        for number in range(-(-self.documents // ROWS_PER_SHARD)):
            rows = min(ROWS_PER_SHARD, self.documents - number * ROWS_PER_SHARD)
            shard = Shard(Source(number, f"synthetic-{number}", "etag", 1), rows=rows)
            shards.append(shard)
            path = folder / f"{shard.name}.parquet"
            if not path.exists():
                pq.write_table(self._table(shard), path, row_group_size=5_000, compression="none", use_dictionary=False)
        return shards

    def _table(self, shard: Shard) -> pa.Table:
        random = np.random.default_rng([self.documents, shard.source.number])
        rows = shard.rows
        slots = self.slots(np.arange(rows) + shard.key)
        groups, similarity = self.groups(slots).astype(np.uint64), self.similarities(slots)
        content = np.where(self.kinds(slots) == COPY, groups, slots.astype(np.uint64))
        signature = _values(groups, MINHASH.signature_size // 8, 1).view(np.uint8)
        other = random.random(signature.shape, np.float32) >= similarity[:, None]
        signature[other] = random.integers(0, 256, int(other.sum()), np.uint8)
        bands = _values(groups, MINHASH.bands, 2)
        other = random.random(bands.shape) >= similarity[:, None] ** MINHASH.rows
        bands[other] = random.integers(0, 2**64, int(other.sum()), np.uint64)
        columns = {
            "text_bytes": pa.array(np.full(rows, 3000), pa.uint32()),
            "content_hash": _fixed(_values(content, 2, 3)),
            "signature": _fixed(signature),
            "bands": _fixed(bands),
        }
        schema = fingerprints(MINHASH.bands, MINHASH.signature_size)
        schema = schema.with_metadata({ETAG: shard.etag.encode(), FIRST_ROW: b"0", ERROR: b""})
        return pa.table([columns.get(field.name, pa.nulls(rows, field.type)) for field in schema], schema=schema)


def _values(groups: np.ndarray, count: int, kind: int) -> np.ndarray:
    """uint64 (n, count): pseudo-random, the same for one group."""
    start = mix(groups * np.uint64(8) + np.uint64(kind))
    return mix(start[:, None] + np.arange(count, dtype=np.uint64)[None, :] * np.uint64(0x9E3779B97F4A7C15))


def _fixed(values: np.ndarray) -> pa.FixedSizeBinaryArray:
    width = values.shape[1] * values.itemsize
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [None, pa.py_buffer(values.tobytes())])
