"""SelectKept: what pass 1 and pass 2 decided, put together shard by shard; pass 3 reads only what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from schemas.segments import Segment
from schemas.shards import Shard
from transforms.counters import metered
from transforms.deduplication.deduplicate import decisions, witnesses
from transforms.io.fingerprint_objects import read_fingerprints
from transforms.io.stage_objects import StageObjects
from transforms.shard_outcomes import FINGERPRINT_COLUMNS, Decided, ShardOutcomes, decide, segment_unreadable


class Selected(NamedTuple):
    """The outputs of ``SelectKept``."""

    decided: beam.PCollection[Decided]
    lineage: beam.PCollection[Segment]


def outcomes_of_shard(
    shard: Shard, fingerprints: StageObjects, duplicates: np.ndarray, witnesses: np.ndarray
) -> ShardOutcomes:
    """What became of a shard's documents, from a few columns of its fingerprints; arguments as of ``decide``."""
    stored = read_fingerprints(fingerprints.uri_of(shard), FINGERPRINT_COLUMNS)
    return decide(shard, stored.table, duplicates, witnesses, stored.census, stored.notes)


def select(
    item: tuple[int, dict[str, Iterable]], fingerprints: StageObjects, run: str
) -> Iterator[Decided | beam.pvalue.TaggedOutput]:
    """A shard and what pass 2 decided about it; of one that can't be read only its segment."""
    _, grouped = item
    for shard in grouped["shards"]:
        if shard.error:
            yield beam.pvalue.TaggedOutput("lineage", segment_unreadable(run, shard))
            continue
        blocks = list(grouped["decisions"])
        duplicates, witnessed = decisions(blocks), witnesses(blocks)
        yield Decided(shard, outcomes_of_shard(shard, fingerprints, duplicates, witnessed).size, duplicates, witnessed)


@dataclasses.dataclass
class SelectKept(beam.PTransform):
    """From (``Shard``, decision blocks by shard key): ``decided``, and ``lineage`` of what can't be read."""

    fingerprints: StageObjects
    run: str

    def expand(self, inputs: tuple[beam.PCollection[Shard], beam.PCollection[tuple[int, bytes]]]) -> Selected:
        """Joins on the shard's key; reads a few columns of each fingerprint object."""
        shards, blocks = inputs
        outputs = (
            {"shards": shards | "ByKey" >> beam.Map(lambda shard: (shard.key, shard)), "decisions": blocks}
            | "JoinDecisions" >> beam.CoGroupByKey()
            | beam.FlatMap(metered, select, (self.fingerprints, self.run)).with_outputs("lineage", main="decided")
        )
        return Selected(outputs.decided, outputs.lineage)
