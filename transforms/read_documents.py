"""ReadShards, ReadDocuments: the rows of shards, or of files and folders, as Arrow batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from schemas.shards import Part, Shard
from transforms.batches import Batch
from transforms.costs import Costs, spending
from transforms.io.deaths import Deaths, at_work
from transforms.io.packed_sources import PackedReader
from transforms.io.readers import ReadOptions, UnreadableSource, read
from transforms.io.source_list import find_sources, sources_between
from transforms.rules_decided import RulesDecided
from transforms.shard_outcomes import ShardOutcomes
from transforms.split_shards import SplitShards
from transforms.spread import Spread
from transforms.worker_memory import keep_freed_memory


def read_shard(
    item: Shard | ShardOutcomes | RulesDecided,
    options: ReadOptions,
    sources_uri: str = "",
    deaths: Deaths | None = None,
) -> Iterator[Batch]:
    """The batches of a shard: all its documents, or those whose texts are wanted.

    Until the last is taken, and worked up to the end of the pass, the worker is at work on the shard (``at_work``).
    """
    shard = item if isinstance(item, Shard) else item.shard
    with at_work(deaths, shard.name, shard.source.uri):
        yield from _batches(item, options, sources_uri, deaths)


def _batches(
    item: Shard | ShardOutcomes | RulesDecided, options: ReadOptions, sources_uri: str, deaths: Deaths | None
) -> Iterator[Batch]:
    """The batches of a shard.

    The last batch says so. A shard that can't be read ends with a batch that says why; a fault of the storage is not
    that and is raised, for the runner to try again.

    Args:
      item: the shard, or what is decided about it: which texts are wanted.
      options: how its sources are read.
      sources_uri: the plan's sources, where those of a packed shard are looked up.
      deaths: what has killed workers; a source of a packed shard that has is set aside alone.
    """
    keep_freed_memory()
    shard_outcomes = item if isinstance(item, ShardOutcomes) else None
    decided = item if isinstance(item, RulesDecided) else None
    shard = item if isinstance(item, Shard) else item.shard
    empty = no_documents(options)
    if shard.error:
        yield Batch(shard, 0, True, empty, error=shard.error)
        return
    if not isinstance(item, Shard) and not item.read.any():
        yield Batch(shard, 0, True, empty, shard_outcomes=shard_outcomes, decided=decided)
        return
    warnings: list[str] = []
    keep, census = (None, None) if isinstance(item, Shard) else (item.read, item.census)
    packed = None
    batches: Iterator[tuple[pa.RecordBatch, tuple[Part, ...]]]
    if shard.packed:
        sources = sources_between(sources_uri, shard.source.number, shard.sources)
        packed = PackedReader(shard, sources, options, keep, census, deaths)
        batches = packed.batches()
    else:
        batches = ((data, ()) for data in read(shard, options, keep, warnings.append))
    step = "ReadKept" if shard_outcomes else "ReadDocuments"
    index = 0
    waiting: Batch | None = None
    error = ""
    while True:
        spent: Costs = {}
        try:
            with spending(spent, step):
                data, parts = next(batches, (None, ()))
        except UnreadableSource as unreadable:
            data, waiting, error = None, None, str(unreadable) if packed else unreadable.reason
        found = packed.census if packed and data is None and not error else None
        if waiting is not None:
            notes = _notes(warnings, packed) if data is None else {}
            yield dataclasses.replace(waiting, last=data is None, notes=notes, census=found)
        if data is None:
            break
        waiting = Batch(shard, index, False, data, spent, shard_outcomes, parts=parts, decided=decided)
        index += 1
    if waiting is None:
        notes = _notes(warnings, packed)
        yield Batch(
            shard,
            index,
            True,
            empty,
            shard_outcomes=shard_outcomes,
            error=error,
            notes=notes,
            census=found,
            decided=decided,
        )


def no_documents(options: ReadOptions) -> pa.RecordBatch:
    """A batch without rows."""
    schema = options.schema
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _notes(warnings: list[str], packed: PackedReader | None) -> dict[str, Any]:
    """What the segment records of sources that are read although something is wrong with them."""
    if packed:
        return {"packed_warnings": packed.warnings} if packed.warnings else {}
    return {"warnings": warnings} if warnings else {}


@dataclasses.dataclass
class ReadShards(beam.PTransform):
    """From ``Shard``, or what is decided about one: its documents (``Batch`` with ``columns.DOCUMENTS``), in order.

    Attributes:
      options: how sources are read.
      sources_uri: the plan's sources, where those of a packed shard are looked up.
    """

    options: ReadOptions
    sources_uri: str = ""
    deaths: Deaths | None = None

    def expand(self, shards: beam.PCollection[Shard | ShardOutcomes | RulesDecided]) -> beam.PCollection[Batch]:
        """One shard at a time, streaming."""
        arguments = (self.options, self.sources_uri, self.deaths)
        return shards | beam.FlatMap(read_shard, *arguments).with_output_types(Batch)


def _refuse_unreadable(batch: Batch) -> Batch:
    if batch.error:
        raise UnreadableSource(batch.shard.source.uri, batch.error)
    return batch


@dataclasses.dataclass
class ReadDocuments(beam.PTransform):
    """From the root: all documents of files, folders, globs and ``s3://`` prefixes (``Batch``).

    Sources are listed where the pipeline is built, and numbered in the order of their URIs.

    Attributes:
      inputs: URIs, or one.
      options: how sources are read.

    Raises:
      StorageError: there is nothing to read; as the pipeline is built.
      UnreadableSource: a source can't be read; on a worker.

    Example:
      >>> pipeline | ReadDocuments("texts/") | Normalize() | IdentifyLanguage()
    """

    inputs: str | Sequence[str]
    options: ReadOptions = dataclasses.field(default_factory=ReadOptions)

    def expand(self, root: beam.Pipeline) -> beam.PCollection[Batch]:
        """Lists, splits and reads, shards spread over all workers."""
        sources = find_sources([self.inputs] if isinstance(self.inputs, str) else self.inputs)
        split = root | "Sources" >> beam.Create(sources) | "SplitShards" >> SplitShards(self.options, Deaths("", 0))
        return (
            split.shards
            | "Spread" >> Spread()
            | "Read" >> ReadShards(self.options)
            | "RefuseUnreadable" >> beam.Map(_refuse_unreadable).with_output_types(Batch)
        )
