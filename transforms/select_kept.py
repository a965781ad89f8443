"""SelectKept: what pass 1 and pass 2 decided, put together shard by shard; pass 3 reads only what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import pyarrow.parquet as pq

from beam_pipeline import storage
from schemas.segments import Segment
from schemas.shards import Shard
from transforms.accounting import accounted
from transforms.deduplicate import decisions, witnesses
from transforms.stage_objects import StageObjects
from transforms.verdicts import FINGERPRINT_COLUMNS, Verdict, decide, segment_of, segment_unreadable


class Selected(NamedTuple):
    """The outputs of ``SelectKept``."""

    todo: beam.PCollection[Verdict]
    lineage: beam.PCollection[Segment]


def select(
    item: tuple[int, dict[str, Iterable]], fingerprints: StageObjects, tokens: StageObjects, run: str
) -> Iterator[Verdict | beam.pvalue.TaggedOutput]:
    """The verdict on a shard; if its tokens are written already, only its segment, on the output ``lineage``."""
    _, grouped = item
    for shard in grouped["shards"]:
        if shard.error:
            yield beam.pvalue.TaggedOutput("lineage", segment_unreadable(run, shard))
            continue
        blocks = list(grouped["decisions"])
        with storage.open_input(fingerprints.uri_of(shard)) as file:
            table = pq.read_table(file, columns=FINGERPRINT_COLUMNS)
        verdict = decide(shard, table, decisions(blocks), witnesses(blocks))
        written = tokens.find(shard)
        if written is None:
            yield verdict
            continue
        uri = tokens.uri_of(shard)
        with storage.open_input(uri) as file:
            n_tokens = pq.read_table(file, columns=["n_tokens"])["n_tokens"].to_numpy()
        yield beam.pvalue.TaggedOutput("lineage", segment_of(run, verdict, uri, n_tokens, {}, {}))


@dataclasses.dataclass
class SelectKept(beam.PTransform):
    """From (``Shard``, decision blocks by shard key): ``todo`` for pass 3, and ``lineage`` of what needs none."""

    fingerprints: StageObjects
    tokens: StageObjects
    run: str

    def expand(self, inputs: tuple[beam.PCollection[Shard], beam.PCollection[tuple[int, bytes]]]) -> Selected:
        """Joins on the shard's key; reads a few columns of each fingerprint object."""
        shards, blocks = inputs
        outputs = (
            {"shards": shards | "ByKey" >> beam.Map(lambda shard: (shard.key, shard)), "decisions": blocks}
            | "JoinDecisions" >> beam.CoGroupByKey()
            | beam.FlatMap(accounted, select, (self.fingerprints, self.tokens, self.run)).with_outputs(
                "lineage", main="todo"
            )
        )
        return Selected(outputs.todo, outputs.lineage)
