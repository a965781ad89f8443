"""About how many documents there are, before any is read: what the shuffles of pass 2 are sized by.

The DAG is built before pass 1 has counted the documents, and bytes say little: web text has 3 kB a document, titles and
chat messages have 60 bytes. So a few sources are looked into. The result of a run never depends on the estimate, only
the memory of its workers does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from schemas.shards import Shard, Source
from transforms.io import storage
from transforms.io.readers import ReadOptions, UnreadableSource, read, split

LOOKED_AT = 8
"""Sources whose footer or beginning is read. With S3, a second."""
BYTES_PER_DOCUMENT = 1000
"""Where none of them can be read."""

Item = TypeVar("Item")


def estimate_documents(sources: Sequence[Source], reading: ReadOptions) -> int:
    """Rows by the footers of a few Parquet sources, by the first batch of a few JSON Lines sources, scaled by bytes."""
    rows = stored = 0.0
    for source in spread(sorted(sources, key=lambda source: source.size), LOOKED_AT):
        found, of_bytes = _look_into(source, reading)
        rows, stored = rows + found, stored + of_bytes
    every = sum(source.size for source in sources)
    return round(rows / stored * every) if rows else every // BYTES_PER_DOCUMENT


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many items, spread evenly over all, the last always among them."""
    if len(items) <= most:
        return list(items)
    return [items[(number + 1) * len(items) // most - 1] for number in range(most)]


def _look_into(source: Source, reading: ReadOptions) -> tuple[int, float]:
    """Rows, and the bytes as stored that they are in; nothing of a source that can't be read."""
    shards = [shard for shard in split(source, reading) if not shard.error]
    known = [shard.rows for shard in shards if shard.rows >= 0]
    if known or not shards:
        return sum(known), source.size if known else 0
    before = storage.current().bytes_read
    rows = _first_rows(shards[0], reading)
    return rows, min(storage.current().bytes_read - before, source.size)


def _first_rows(shard: Shard, reading: ReadOptions) -> int:
    batches = read(shard, reading)
    try:
        first = next(batches, None)
    except UnreadableSource:
        return 0  # the run will say so
    finally:
        batches.close()  # type: ignore[attr-defined]
    return first.num_rows if first else 0
