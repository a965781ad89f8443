"""SplitShards: each source becomes the shards that are worked on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam

from schemas.segments import SourceState
from schemas.shards import Shard, Source
from transforms.counters import metered
from transforms.io.deaths import Deaths, at_work
from transforms.io.readers import Counted, ReadOptions, count, numbered, split
from transforms.io.source_list import source_name
from transforms.spread import Spread


class Split(NamedTuple):
    """The outputs of ``SplitShards``."""

    shards: beam.PCollection[Shard]
    sources: beam.PCollection[SourceState]


def split_source(
    source: Source | Shard, options: ReadOptions, deaths: Deaths
) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
    """The shards of a source, and on the output ``sources`` what is known of it; a packed shard as it is.

    Shards that have to be counted first are on the output ``uncounted``.
    """
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
    if all(shard.counted for shard in shards):
        yield from _described(shards)
    else:
        for shard in shards:
            yield beam.pvalue.TaggedOutput("uncounted", shard)


def _described(shards: list[Shard]) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
    """All shards of a source, and what is known of it."""
    known = -1 if any(shard.rows < 0 for shard in shards) else sum(shard.rows for shard in shards)
    error = shards[0].error
    yield beam.pvalue.TaggedOutput(
        "sources",
        SourceState(shards[0].source.number, f"unreadable: {error}" if error else "ok", rows=known, shards=len(shards)),
    )
    yield from shards


def count_shard(shard: Shard, options: ReadOptions, deaths: Deaths) -> Iterator[tuple[int, Counted]]:
    """A shard that has to be counted -> its source's number, and what was counted."""
    name = source_name(shard.source)
    if reason := deaths.reason(name):
        yield shard.source.number, Counted(shard, error=reason)
        return
    with at_work(deaths, name, shard.source.uri):
        yield shard.source.number, count(shard, options)


def number_shards(counted: tuple[int, Iterable[Counted]]) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
    """All that was counted in a source -> its shards, and on the output ``sources`` what is known of it."""
    yield from _described(numbered(counted[1]))


@dataclasses.dataclass
class SplitShards(beam.PTransform):
    """From ``Source`` or packed ``Shard``: ``shards``, and ``sources`` with rows and shards of each for the lineage.

    A source that can't be read becomes one shard with its ``error`` set, so that it is counted like any other.
    """

    options: ReadOptions
    deaths: Deaths

    def expand(self, sources: beam.PCollection[Source | Shard]) -> Split:
        """A look at each source: a footer, or a few bytes; nothing of those that are packed.

        Parts of large streams are counted, spread over all workers. What is grouped is a few numbers a part.
        """
        arguments = (self.options, self.deaths)
        outputs = sources | beam.FlatMap(metered, split_source, arguments).with_outputs(
            "sources", "uncounted", main="shards"
        )
        counted = (
            outputs.uncounted
            | "Spread" >> Spread()
            | "Count"
            >> beam.FlatMap(metered, count_shard, (self.options, self.deaths)).with_output_types(tuple[int, Counted])
            | "BySource" >> beam.GroupByKey()
            | "Number" >> beam.FlatMap(number_shards).with_outputs("sources", main="shards")
        )
        return Split(
            (outputs.shards, counted.shards) | "Shards" >> beam.Flatten(),
            (outputs.sources, counted.sources) | "Sources" >> beam.Flatten(),
        )
