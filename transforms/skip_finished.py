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
import numpy as np
import pyarrow.parquet as pq

from schemas.segments import Segment
from schemas.shards import Shard, document_id, places_in, places_of
from transforms.counters import count, metered
from transforms.io.deaths import SET_ASIDE, Deaths
from transforms.io.fingerprint_objects import READ_AGAIN
from transforms.io.own_objects import MADE_AGAIN, DamagedObject, opened
from transforms.io.stage_objects import StageObjects
from transforms.select_kept import outcomes_of_shard
from transforms.shard_outcomes import Decided, ShardOutcomes, segment_of

LOGGER = logging.getLogger(__name__)


class ToFingerprint(NamedTuple):
    """The outputs of ``SkipFingerprinted``."""

    todo: beam.PCollection[Shard]
    done: beam.PCollection[Shard]


class ToTokenize(NamedTuple):
    """The outputs of ``SkipTokenized``."""

    todo: beam.PCollection[ShardOutcomes]
    lineage: beam.PCollection[Segment]


def skip_fingerprinted(
    shard: Shard, fingerprints: StageObjects, deaths: Deaths
) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
    """The shard, on the output ``done`` if its fingerprints are there and match.

    What was found out when the shard was read (its rows, or that it can't be read) is taken from the object.

    A shard that has killed its workers has that as its ``error``. It is tried again when the notes of them are gone.
    """
    committed = fingerprints.find(shard)
    set_aside = committed is not None and committed.error.startswith(SET_ASIDE)
    if committed is None or set_aside or not _is_whole(fingerprints.uri_of(shard)):
        yield dataclasses.replace(shard, error=shard.error or deaths.reason(shard.name))
    else:
        count(shards_skipped=1)
        yield beam.pvalue.TaggedOutput("done", dataclasses.replace(shard, rows=committed.rows, error=committed.error))


def skip_tokenized(
    decided: Decided,
    tokens: StageObjects,
    run: str,
    fingerprints: StageObjects,
    deaths: Deaths,
    parent_tokens: StageObjects | None = None,
) -> Iterator[ShardOutcomes | beam.pvalue.TaggedOutput]:
    """What became of the shard's documents; if its tokens are there and match, its segment, on the output ``lineage``.

    Tokens of other documents than those kept don't match: a shard that was set aside since is a witness no more.
    A shard that has killed its workers in this pass is set aside by its fingerprints, and yields nothing: duplicates
    have to be found again without it, so the run isn't complete, and goes on from the beginning.

    Args:
      parent_tokens: the token objects of the run that is decided again, if this one does that.
    """
    shard = decided.shard
    uri = tokens.uri_of(shard)
    is_there, reason = tokens.find(shard) is not None, deaths.reason(shard.name)
    if reason and not is_there:
        fingerprints.set_aside(shard, reason)
        return
    shard_outcomes = outcomes_of_shard(shard, fingerprints, decided.duplicates, decided.witnesses)
    n_tokens = _tokens_of(shard_outcomes, uri) if is_there else None
    if n_tokens is None:
        if reason:
            fingerprints.set_aside(shard, reason)
        elif parent_tokens is None:
            yield shard_outcomes
        else:
            yield dataclasses.replace(shard_outcomes, reused=reused_rows(shard_outcomes, parent_tokens, fingerprints))
        return
    count(shards_skipped=1)
    yield beam.pvalue.TaggedOutput("lineage", segment_of(run, shard_outcomes, uri, n_tokens, {}, {}))


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


def _tokens_of(shard_outcomes: ShardOutcomes, uri: str) -> np.ndarray | None:
    """How many tokens each kept document has in an object; None if that is damaged, or holds other documents."""
    try:
        with opened(uri, MADE_AGAIN) as file:
            parquet = pq.ParquetFile(file)
            wanted = ("id", "n_tokens", "cluster_size")  # a run that writes text has no tokens
            rows = parquet.read(columns=[name for name in wanted if name in parquet.schema_arrow.names])
    except DamagedObject as error:
        LOGGER.warning("%s", error)
        return None
    numbers, source_rows = places_of(shard_outcomes.shard, shard_outcomes.census, np.flatnonzero(shard_outcomes.kept))
    same = np.array_equal(rows["id"].to_numpy(), document_id(numbers, source_rows))
    if not same or not np.array_equal(
        rows["cluster_size"].to_numpy(), shard_outcomes.cluster_sizes[shard_outcomes.kept]
    ):
        return None
    return rows["n_tokens"].to_numpy() if "n_tokens" in rows.column_names else np.zeros(len(rows), np.uint32)


def reused_rows(shard_outcomes: ShardOutcomes, parent: StageObjects, fingerprints: StageObjects) -> np.ndarray:
    """Mask of the kept documents of a shard whose token rows the parent has, of the text that they have now.

    Args:
      parent: the parent's token objects; one that isn't there, or is damaged, has nothing to be used again.
      fingerprints: the run's own, which say whose texts were read again.
    """
    reused = np.zeros(shard_outcomes.shard.rows, np.bool_)
    if parent.find(shard_outcomes.shard) is not None:
        with opened(parent.uri_of(shard_outcomes.shard)) as file:
            ids = pq.read_table(file, columns=["id"])["id"].to_numpy()
        reused[places_in(ids, shard_outcomes.shard, shard_outcomes.census)] = True
    with opened(fingerprints.uri_of(shard_outcomes.shard)) as file:
        again = pq.read_table(file, columns=[READ_AGAIN])[READ_AGAIN].to_numpy()
    return reused & shard_outcomes.kept & ~again


@dataclasses.dataclass
class SkipFingerprinted(beam.PTransform):
    """From ``Shard``: ``todo``, and ``done`` with those whose fingerprints are there already."""

    fingerprints: StageObjects
    deaths: Deaths

    def expand(self, shards: beam.PCollection[Shard]) -> ToFingerprint:
        """One look at the store a shard."""
        outputs = shards | beam.FlatMap(metered, skip_fingerprinted, (self.fingerprints, self.deaths)).with_outputs(
            "done", main="todo"
        )
        return ToFingerprint(outputs.todo, outputs.done)


@dataclasses.dataclass
class SkipTokenized(beam.PTransform):
    """From ``Decided``: ``todo``, and the ``lineage`` segments of shards whose tokens are there already."""

    tokens: StageObjects
    run: str
    fingerprints: StageObjects
    deaths: Deaths
    parent_tokens: StageObjects | None = None

    def expand(self, decided: beam.PCollection[Decided]) -> ToTokenize:
        """One look at the store a shard, and a few columns of its fingerprints."""
        arguments = (self.tokens, self.run, self.fingerprints, self.deaths, self.parent_tokens)
        outputs = decided | beam.FlatMap(metered, skip_tokenized, arguments).with_outputs("lineage", main="todo")
        return ToTokenize(outputs.todo, outputs.lineage)
