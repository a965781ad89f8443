"""SkipFingerprinted, SkipTokenized: work that an earlier attempt has committed isn't done again.

They stand right before the work, behind the Reshuffle that queues it: what waits there comes out of a checkpoint again,
and may have been done since.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam
import pyarrow.parquet as pq

from schemas.segments import Segment
from schemas.shards import Shard
from transforms.accounting import accounted, count
from transforms.own_objects import MADE_AGAIN, DamagedObject, opened
from transforms.stage_objects import StageObjects
from transforms.verdicts import Verdict, segment_of

LOGGER = logging.getLogger(__name__)


class ToFingerprint(NamedTuple):
    """The outputs of ``SkipFingerprinted``."""

    todo: beam.PCollection[Shard]
    done: beam.PCollection[Shard]


class ToTokenize(NamedTuple):
    """The outputs of ``SkipTokenized``."""

    todo: beam.PCollection[Verdict]
    lineage: beam.PCollection[Segment]


def skip_fingerprinted(shard: Shard, fingerprints: StageObjects) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
    """The shard, on the output ``done`` if its fingerprints are there and match.

    What was found out when the shard was read (its rows, or that it can't be read) is taken from the object.
    """
    committed = fingerprints.find(shard)
    if committed is None or not _is_whole(fingerprints.uri_of(shard)):
        yield shard
    else:
        count(shards_skipped=1)
        yield beam.pvalue.TaggedOutput("done", dataclasses.replace(shard, rows=committed.rows, error=committed.error))


def skip_tokenized(verdict: Verdict, tokens: StageObjects, run: str) -> Iterator[Verdict | beam.pvalue.TaggedOutput]:
    """The verdict; if the shard's tokens are there and match, only its segment, on the output ``lineage``."""
    uri = tokens.uri_of(verdict.shard)
    if tokens.find(verdict.shard) is None:
        yield verdict
        return
    try:
        with opened(uri, MADE_AGAIN) as file:
            n_tokens = pq.read_table(file, columns=["n_tokens"])["n_tokens"].to_numpy()
    except DamagedObject as error:
        LOGGER.warning("%s", error)
        yield verdict
        return
    count(shards_skipped=1)
    yield beam.pvalue.TaggedOutput("lineage", segment_of(run, verdict, uri, n_tokens, {}, {}))


def _is_whole(uri: str) -> bool:
    """Whether every page of a fingerprint object can be read: pass 2 can't make it again, pass 1 can."""
    try:
        with opened(uri, MADE_AGAIN) as file:
            for _ in pq.ParquetFile(file).iter_batches():
                pass
    except DamagedObject as error:
        LOGGER.warning("%s", error)
        return False
    return True


@dataclasses.dataclass
class SkipFingerprinted(beam.PTransform):
    """From ``Shard``: ``todo``, and ``done`` with those whose fingerprints are there already."""

    fingerprints: StageObjects

    def expand(self, shards: beam.PCollection[Shard]) -> ToFingerprint:
        """One look at the store a shard."""
        outputs = shards | beam.FlatMap(accounted, skip_fingerprinted, (self.fingerprints,)).with_outputs(
            "done", main="todo"
        )
        return ToFingerprint(outputs.todo, outputs.done)


@dataclasses.dataclass
class SkipTokenized(beam.PTransform):
    """From ``Verdict``: ``todo``, and the ``lineage`` segments of shards whose tokens are there already."""

    tokens: StageObjects
    run: str

    def expand(self, verdicts: beam.PCollection[Verdict]) -> ToTokenize:
        """One look at the store a shard."""
        outputs = verdicts | beam.FlatMap(accounted, skip_tokenized, (self.tokens, self.run)).with_outputs(
            "lineage", main="todo"
        )
        return ToTokenize(outputs.todo, outputs.lineage)
