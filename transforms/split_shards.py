"""SplitShards: each source becomes the shards that are worked on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam

from schemas.segments import SourceState
from schemas.shards import Shard, Source
from transforms.accounting import accounted
from transforms.readers import ReadOptions, split


class Split(NamedTuple):
    """The outputs of ``SplitShards``."""

    shards: beam.PCollection[Shard]
    sources: beam.PCollection[SourceState]


def split_source(source: Source, options: ReadOptions) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
    """The shards of a source, and on the output ``sources`` what is known of it."""
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
    """From ``Source``: ``shards``, and ``sources`` with rows and shards of each for the lineage.

    A source that can't be read becomes one shard with its ``error`` set, so that it's accounted for like any other.
    """

    options: ReadOptions

    def expand(self, sources: beam.PCollection[Source]) -> Split:
        """One footer read a Parquet source, a few bytes of any other."""
        outputs = sources | beam.FlatMap(accounted, split_source, (self.options,)).with_outputs(
            "sources", main="shards"
        )
        return Split(outputs.shards, outputs.sources)
