"""The pinned sources of a run, as its plan lists them; the small ones packed into shards."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.shards import Shard, Source, etags_digest
from transforms.io import storage
from transforms.io.own_objects import opened

SMALL_SHARE, PACKED_SHARE = 1 / 64, 5 / 8
"""Of ``shard_bytes``, 128 MiB: sources under 2 MiB are small; a packed shard ends when it has 80 MiB, as stored.

Above 2 MiB, what an object costs by itself (two requests, a segment, two objects more) is a few percent of the work on
its text. 80 MiB of JSON Lines are 64 MiB of text, or several times as much if they are compressed.
"""
MOST_PACKED = 2**16
"""Sources in a shard: however small they are, a shard ends after some minutes of work."""
SOURCES_AT_ONCE = 2**14
"""Rows of a row group of ``sources.parquet``: what is read to find a few sources."""


def packing(sizes: Sequence[int], shard_bytes: int) -> list[int]:
    """The column ``packed`` of ``schemas.columns.SOURCES``: which sources share a shard.

    A rule of bytes alone, in the order of the sources. Small neighbours go together until the shard is full; a source
    that isn't small, or stands alone between such, is split as it is.

    Args:
      sizes: bytes as stored, in the order of the sources.
    """
    packed = [1] * len(sizes)
    small, full = shard_bytes * SMALL_SHARE, shard_bytes * PACKED_SHARE
    first = held = 0
    for number in range(len(sizes) + 1):
        ends = number == len(sizes) or sizes[number] >= small
        if ends or held >= full or number - first == MOST_PACKED:
            if number - first > 1:
                packed[first:number] = [number - first] + [0] * (number - first - 1)
            first, held = number, 0
        if ends:
            first = number + 1
        else:
            held += sizes[number]
    return packed


def read_sources(sources_uri: str) -> Iterator[Source]:
    """The sources in a plan's ``sources.parquet`` (``schemas.columns.SOURCES``), a row group at a time."""
    for source, _ in _read(sources_uri):
        yield source


def read_planned(sources_uri: str) -> Iterator[Source | Shard]:
    """The sources of a plan, where they are to be split, and in the place of small ones their packed shards."""
    first: Source | None = None
    left, size = 0, 0
    etags: list[str] = []
    for source, packed in _read(sources_uri):
        if packed == 1:
            yield source
            continue
        if packed:
            first, left, size, etags = source, packed, 0, []
        size, left = size + source.size, left - 1
        etags.append(source.etag)
        if not left and first is not None:
            yield Shard(first, size=size, sources=len(etags), digest=etags_digest(etags))


def _read(sources_uri: str) -> Iterator[tuple[Source, int]]:
    with opened(sources_uri) as file:
        for rows in pq.ParquetFile(file).iter_batches():
            yield from _rows(rows)


def _rows(rows: pa.RecordBatch) -> Iterator[tuple[Source, int]]:
    for row in rows.to_pylist():
        packed = row.pop("packed", 1)  # not there in runs of before
        yield Source(**row), packed


@functools.lru_cache(maxsize=8)
def sources_between(sources_uri: str, first: int, count: int) -> tuple[Source, ...]:
    """Some consecutive sources of a plan, by number. Reads the row groups that they are in."""
    with opened(sources_uri) as file:
        parquet = pq.ParquetFile(file)
        groups, end = [], 0
        for group in range(parquet.num_row_groups):
            begin, end = end, end + parquet.metadata.row_group(group).num_rows
            if begin < first + count and first < end:
                groups.append(group)
        table = parquet.read_row_groups(groups)
    number = table["number"]
    wanted = table.filter(pc.and_(pc.greater_equal(number, first), pc.less(number, first + count)))
    return tuple(source for batch in wanted.to_batches() for source, _ in _rows(batch))


def source_name(source: Source) -> str:
    """Under which a source is known that kills the worker that splits it: its shards have a longer name."""
    return f"{source.number:07d}"


def find_sources(inputs: Iterable[str]) -> list[Source]:
    """The sources in files, folders, globs and prefixes, each once, numbered in the order of their URIs.

    Raises:
      NotFound: there is nothing to read.
    """
    found = {info.uri: info for uri in inputs for info in storage.list_objects(storage.absolute(uri))}
    if not found:
        raise storage.NotFound(", ".join(inputs), "there is nothing to read")
    return [Source(number, info.uri, info.etag, info.size) for number, (_, info) in enumerate(sorted(found.items()))]
