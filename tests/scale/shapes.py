"""Worlds of one shape: what is hard for pass 2 is not many documents, but many that meet in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import fingerprints
from schemas.shards import Shard, Source
from transforms.kernels.deduplication.blocks import mix, partition_of
from transforms.kernels.deduplication.options import MinHash

MINHASH = MinHash()

Values = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Shaped:
    """Documents that are made from their numbers.

    Attributes:
      content: a number for every text.
      signature: uint8 (n, 256).
      bands: uint64 (n, bands).
    """

    documents: int
    content: Values
    signature: Values
    bands: Values
    rows: int = 50_000

    def write(self, folder: Path) -> list[Shard]:
        """The fingerprint objects, and their shards; an object that is there is left as it is."""
        folder.mkdir(parents=True, exist_ok=True)
        shards = []
        for source, start in enumerate(range(0, self.documents, self.rows)):
            numbers = np.arange(start, min(start + self.rows, self.documents))
            shards.append(Shard(Source(source, f"synthetic-{source}", "etag", 1), rows=len(numbers)))
            path = folder / f"{shards[-1].name}.parquet"
            if not path.exists():
                pq.write_table(self._table(numbers), path, compression="zstd", compression_level=1)
        return shards

    def _table(self, numbers: np.ndarray) -> pa.Table:
        hashes = np.stack([mix(self.content(numbers)), mix(self.content(numbers) + 7)], axis=1)
        values = {
            "text_bytes": pa.array(np.full(len(numbers), 100), pa.uint32()),
            "already_normalized": pa.array(np.ones(len(numbers), np.bool_)),
            "content_hash": fixed(hashes),
            "signature": fixed(self.signature(numbers)),
            "bands": fixed(self.bands(numbers)),
        }
        schema = fingerprints(MINHASH.bands, MINHASH.signature_size)
        columns = [values.get(field.name, pa.nulls(len(numbers), field.type)) for field in schema]
        return pa.table(columns, schema=schema)


def fixed(values: np.ndarray) -> pa.FixedSizeBinaryArray:
    """Rows of an array as fixed-size binary."""
    width = values.shape[1] * values.itemsize
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [None, pa.py_buffer(values.tobytes())])


def bytes_of(seeds: np.ndarray) -> np.ndarray:
    """uint8 of the seeds' shape: pseudo-random."""
    return (mix(seeds.astype(np.uint64)) >> np.uint64(56)).astype(np.uint8)


def places(numbers: np.ndarray) -> np.ndarray:
    """A seed for every byte of every document's signature."""
    return numbers[:, None] * 256 + np.arange(256)[None, :]


def own_bands(numbers: np.ndarray) -> np.ndarray:
    """Buckets with nobody else in them."""
    return mix((numbers[:, None] * 16 + np.arange(MINHASH.bands)[None, :]).astype(np.uint64) + np.uint64(2**60))


def texts(numbers: np.ndarray) -> np.ndarray:
    """Every document has its own text."""
    return numbers.astype(np.uint64)


def one_text(documents: int) -> Shaped:
    """One text, again and again."""
    return Shaped(
        documents, lambda n: np.zeros(len(n), np.uint64), lambda n: bytes_of(places(n * 0)), lambda n: own_bands(n * 0)
    )


def one_bucket(documents: int, bands: int = 1) -> Shaped:
    """All share their first bands and are like nothing else: a template in large print."""

    def shared(numbers: np.ndarray) -> np.ndarray:
        values = own_bands(numbers)
        values[:, :bands] = own_bands(numbers * 0)[:, :bands]
        return values

    return Shaped(documents, texts, lambda n: bytes_of(places(n)), shared)


def one_full_partition(documents: int, partitions: int, times: int = 10) -> Shaped:
    """One hash range has so many times the band records of the others, in buckets of one."""
    share = (times - 1) / (partitions + times - 1)

    def crowded(numbers: np.ndarray) -> np.ndarray:
        values = own_bands(numbers)
        wanted = (mix(values ^ np.uint64(5)) >> np.uint64(11)).astype(np.float64) / 2**53 < share
        for _ in range(40 * partitions):
            astray = wanted & (partition_of(values.reshape(-1), partitions).reshape(values.shape) != 0)
            if not astray.any():
                break
            values[astray] = mix(values[astray] + np.uint64(1))
        return values

    return Shaped(documents, texts, lambda n: bytes_of(places(n)), crowded)


SHAPES = {"one text": one_text, "one bucket": one_bucket, "one full partition": one_full_partition}
