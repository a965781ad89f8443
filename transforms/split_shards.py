"""SplitShards: each source becomes the shards that are worked on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam

from schemas.segments import SourceState
from schemas.shards import Shard, Source
from transforms.counters import metered
from transforms.io.deaths import Deaths, at_work
from transforms.io.readers import ReadOptions, split
from transforms.io.source_list import source_name


class Split(NamedTuple):
    """The outputs of ``SplitShards``."""

    shards: beam.PCollection[Shard]
    sources: beam.PCollection[SourceState]


def split_source(
    source: Source | Shard, options: ReadOptions, deaths: Deaths
) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
    """The shards of a source, and on the output ``sources`` what is known of it; a packed shard as it is."""
    if isinstance(source, Shard):
        state = SourceState(source.source.number, "ok", shards=1, packed=source.sources)
        yield beam.pvalue.TaggedOutput("sources", state)
        yield source
        return
    name = source_name(source)
    if reason := deaths.reason(name):
        shards = [Shard(source, error=reason)]
    else:
        with at_work(deaths, name, source.uri):
            shards = split(source, options)
    known = -1 if any(shard.rows < 0 for shard in shards) else sum(shard.rows for shard in shards)
    error = shards[0].error
    yield beam.pvalue.TaggedOutput(
        "sources",
        SourceState(source.number, f"unreadable: {error}" if error else "ok", rows=known, shards=len(shards)),
    )
    yield from shards


@dataclasses.dataclass
class SplitShards(beam.PTransform):
    """From ``Source`` or packed ``Shard``: ``shards``, and ``sources`` with rows and shards of each for the lineage.

    A source that can't be read becomes one shard with its ``error`` set, so that it is counted like any other.
    """

    options: ReadOptions
    deaths: Deaths

    def expand(self, sources: beam.PCollection[Source | Shard]) -> Split:
        """One footer read a Parquet source, a few bytes of any other, nothing of those that are packed."""
        outputs = sources | beam.FlatMap(metered, split_source, (self.options, self.deaths)).with_outputs(
            "sources", main="shards"
        )
        return Split(outputs.shards, outputs.sources)
