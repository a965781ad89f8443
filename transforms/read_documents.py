"""ReadDocuments: a shard's rows as Arrow batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa

from schemas.columns import DOCUMENTS
from schemas.shards import Shard
from transforms.batches import Batch, Costs, spending
from transforms.deaths import Deaths, at_work
from transforms.readers import ReadOptions, UnreadableSource, read
from transforms.verdicts import Verdict
from transforms.worker_memory import keep_freed_memory

EMPTY = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in DOCUMENTS], schema=DOCUMENTS)


def read_shard(item: Shard | Verdict, options: ReadOptions, deaths: Deaths | None = None) -> Iterator[Batch]:
    """The batches of a shard: all its documents, or those that a verdict keeps.

    Until the last is taken, and worked up to the end of the pass, the worker is at work on the shard (``at_work``).
    """
    shard = item if isinstance(item, Shard) else item.shard
    with at_work(deaths, shard.name, shard.source.uri):
        yield from _batches(item, options)


def _batches(item: Shard | Verdict, options: ReadOptions) -> Iterator[Batch]:
    """The batches of a shard.

    The last batch says so. A shard that can't be read ends with a batch that says why; a fault of the storage is not
    that and is raised, for the runner to try again.
    """
    keep_freed_memory()
    verdict = item if isinstance(item, Verdict) else None
    shard = item if isinstance(item, Shard) else item.shard
    if shard.error:
        yield Batch(shard, 0, True, EMPTY, error=shard.error)
        return
    warnings: list[str] = []
    batches = read(shard, options, verdict.kept if verdict else None, warnings.append)
    step = "ReadKept" if verdict else "ReadDocuments"
    index = 0
    waiting: Batch | None = None
    error = ""
    while True:
        spent: Costs = {}
        try:
            with spending(spent, step):
                data = next(batches, None)
        except UnreadableSource as unreadable:
            data, waiting, error = None, None, unreadable.reason
        if waiting is not None:
            yield dataclasses.replace(waiting, last=data is None, notes=_notes(warnings if data is None else []))
        if data is None:
            break
        waiting = Batch(shard, index, False, data, spent, verdict)
        index += 1
    if waiting is None:
        yield Batch(shard, index, True, EMPTY, verdict=verdict, error=error, notes=_notes(warnings))


def _notes(warnings: list[str]) -> dict[str, Any]:
    """What the segment records of a source that is read although something is wrong with it."""
    return {"warnings": warnings} if warnings else {}


@dataclasses.dataclass
class ReadDocuments(beam.PTransform):
    """From ``Shard`` or ``Verdict``: its documents (``Batch`` with ``schemas.columns.DOCUMENTS``), in source order."""

    options: ReadOptions
    deaths: Deaths | None = None

    def expand(self, shards: beam.PCollection[Shard | Verdict]) -> beam.PCollection[Batch]:
        """One shard at a time, streaming."""
        return shards | beam.FlatMap(read_shard, self.options, self.deaths).with_output_types(Batch)
