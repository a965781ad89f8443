"""SelectKept: what pass 1 and pass 2 decided, put together shard by shard; pass 3 reads only what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import pyarrow.parquet as pq

from schemas.segments import Segment
from schemas.shards import Shard
from transforms.accounting import accounted
from transforms.deduplicate import decisions, witnesses
from transforms.own_objects import opened
from transforms.stage_objects import StageObjects
from transforms.verdicts import FINGERPRINT_COLUMNS, Verdict, decide, segment_unreadable


class Selected(NamedTuple):
    """The outputs of ``SelectKept``."""

    verdicts: beam.PCollection[Verdict]
    lineage: beam.PCollection[Segment]


def select(
    item: tuple[int, dict[str, Iterable]], fingerprints: StageObjects, run: str
) -> Iterator[Verdict | beam.pvalue.TaggedOutput]:
    """The verdict on a shard; of one that can't be read only its segment, on the output ``lineage``."""
    _, grouped = item
    for shard in grouped["shards"]:
        if shard.error:
            yield beam.pvalue.TaggedOutput("lineage", segment_unreadable(run, shard))
            continue
        blocks = list(grouped["decisions"])
        with opened(fingerprints.uri_of(shard)) as file:
            table = pq.read_table(file, columns=FINGERPRINT_COLUMNS)
        yield decide(shard, table, decisions(blocks), witnesses(blocks))


@dataclasses.dataclass
class SelectKept(beam.PTransform):
    """From (``Shard``, decision blocks by shard key): ``verdicts``, and ``lineage`` of what can't be read."""

    fingerprints: StageObjects
    run: str

    def expand(self, inputs: tuple[beam.PCollection[Shard], beam.PCollection[tuple[int, bytes]]]) -> Selected:
        """Joins on the shard's key; reads a few columns of each fingerprint object."""
        shards, blocks = inputs
        outputs = (
            {"shards": shards | "ByKey" >> beam.Map(lambda shard: (shard.key, shard)), "decisions": blocks}
            | "JoinDecisions" >> beam.CoGroupByKey()
            | beam.FlatMap(accounted, select, (self.fingerprints, self.run)).with_outputs("lineage", main="verdicts")
        )
        return Selected(outputs.verdicts, outputs.lineage)
