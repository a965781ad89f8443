"""WriteDecisions: what becomes of every document, as one Parquet object a shard."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import DECIDED
from schemas.outcomes import Outcomes
from schemas.shards import Shard, document_id, places_of
from transforms.deduplication.deduplicate import decisions, witnesses
from transforms.deduplication.stored_fingerprints import StoredFingerprints, rows_of
from transforms.io import storage
from transforms.io.fingerprint_objects import read_fingerprints
from transforms.io.source_list import read_sources
from transforms.shard_outcomes import FINGERPRINT_COLUMNS, ShardOutcomes, decide

Counts = dict[str, int]
"""Documents by outcome and reason, such as ``dropped: near_duplicate``."""


@dataclasses.dataclass(frozen=True)
class DecidedRun:
    """A run whose documents are decided on.

    Attributes:
      uri: where its objects go.
      outcomes: what can become of its documents.
      tokens_uri: its token objects.
    """

    uri: str
    outcomes: Outcomes
    tokens_uri: str


@functools.lru_cache(maxsize=8)
def _source_uris(sources_uri: str) -> dict[int, str]:
    """Once a worker process, and only if a shard has duplicates."""
    return {source.number: source.uri for source in read_sources(sources_uri)}


FOR_AN_EARLIER_RUN = "with a witness in an earlier run"
WITHOUT_TOKENS = "kept without tokens"


def decided_table(
    shard_outcomes: ShardOutcomes, outcomes: Outcomes, fingerprints: StoredFingerprints, has_tokens: np.ndarray
) -> pa.Table:
    """A shard's decisions (``schemas.columns.DECIDED``), one row a document in source order."""
    rows = len(shard_outcomes.outcomes)
    codes_of_run = sorted(outcomes.table)
    named = [outcomes.table[code] for code in codes_of_run]
    index = np.zeros(codes_of_run[-1] + 1, np.int32)
    index[codes_of_run] = np.arange(len(named))
    codes = pa.array(index[shard_outcomes.outcomes], pa.int32())

    def labels(values: list[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(codes, pa.array(values)).cast(pa.string()).dictionary_encode()

    found = shard_outcomes.duplicates["document"].astype(np.int64) - shard_outcomes.shard.key
    present = np.zeros(rows, np.bool_)
    present[found] = True
    witness_sources, witness_rows = fingerprints.documents(shard_outcomes.duplicates["witness"])
    witness_numbers, which_witness = np.unique(witness_sources, return_inverse=True)
    runs = [fingerprints.run_of(number) for number in witness_numbers.tolist()]
    uris = [
        _source_uris(run.sources_uri)[number - run.first_source]
        for run, number in zip(runs, witness_numbers.tolist(), strict=True)
    ]

    def spread(values: np.ndarray | list[str], kind: pa.DataType, which: np.ndarray | None = None) -> pa.Array:
        """Values of the duplicates, or those that are theirs of some, at their rows, null elsewhere."""
        at = np.zeros(rows, np.int64)
        at[found] = np.arange(len(found)) if which is None else which
        return pa.array(values, kind).take(pa.array(at, mask=~present))

    numbers, source_rows = places_of(shard_outcomes.shard, shard_outcomes.census, np.arange(rows))
    here, which = np.unique(numbers, return_inverse=True)
    own = fingerprints.run_of(shard_outcomes.shard.source.number)
    own_uris = [
        _source_uris(own.sources_uri)[number - own.first_source]
        if shard_outcomes.shard.packed
        else shard_outcomes.shard.source.uri
        for number in here.tolist()
    ]
    columns = [
        pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int32)), pa.array(own_uris, pa.string())),
        pa.array(source_rows, pa.uint32()),
        labels([outcome for outcome, _ in named]),
        labels([reason for _, reason in named]),
        pa.array(shard_outcomes.cluster_sizes, pa.uint32()),
        spread([run.run for run in runs], pa.string(), which_witness).dictionary_encode(),
        spread(uris, pa.string(), which_witness).dictionary_encode(),
        spread(witness_rows, pa.uint32()),
        spread(shard_outcomes.duplicates["similarity"], pa.float32()),
        pa.array(has_tokens),
    ]
    return pa.table(columns, schema=DECIDED)


def write_shard(
    item: tuple[int, dict[str, Iterable]],
    fingerprints: StoredFingerprints,
    runs: Mapping[int, DecidedRun],
) -> Iterator[dict[str, Counts]]:
    """Writes the object of a shard of a run that is decided on; its counts, by the run's first source."""
    _, joined = item
    for shard in joined["shards"]:
        run = fingerprints.run_of(shard.source.number)
        if shard.error or run.first_source not in runs:
            continue
        decided_run = runs[run.first_source]
        blocks = list(joined["decisions"])
        stored = read_fingerprints(fingerprints.uri_of(shard), FINGERPRINT_COLUMNS)
        census = stored.census
        shard_outcomes = decide(shard, stored.table, decisions(blocks), witnesses(blocks), census)
        number = shard.source.number - run.first_source
        named = dataclasses.replace(shard, source=dataclasses.replace(shard.source, number=number))
        has_tokens = rows_of(storage.join(decided_run.tokens_uri, f"{named.name}.parquet"), named, census)
        decided = decided_table(shard_outcomes, decided_run.outcomes, fingerprints, has_tokens)
        with storage.open_output(storage.join(decided_run.uri, f"{named.name}.parquet")) as file:
            pq.write_table(decided, file, compression="zstd", compression_level=1)
        yield {
            str(run.first_source): _count(
                shard_outcomes, decided_run.outcomes, document_id(run.first_source, 0), has_tokens
            )
        }


def _count(shard_outcomes: ShardOutcomes, outcomes: Outcomes, first_document: int, has_tokens: np.ndarray) -> Counts:
    counts: Counts = {}
    for code, documents in enumerate(np.bincount(shard_outcomes.outcomes).tolist()):
        if documents:
            outcome, reason = outcomes.table[code]
            counts[f"{outcome}: {reason}" if reason else outcome] = documents
    earlier = int((shard_outcomes.duplicates["witness"] < first_document).sum())
    without_tokens = int(np.count_nonzero(shard_outcomes.kept & ~has_tokens))
    return counts | {FOR_AN_EARLIER_RUN: earlier, WITHOUT_TOKENS: without_tokens}


def add_counts(counts: Iterable[dict[str, Counts]]) -> dict[str, Counts]:
    """The sums, by the first source of a run and name."""
    total: dict[str, collections.Counter[str]] = {}
    for part in counts:
        for run, counted in part.items():
            total.setdefault(run, collections.Counter()).update(counted)
    return {run: dict(sorted(counted.items())) for run, counted in sorted(total.items())}


def _write_counts(counts: dict[str, Counts], uri: str) -> None:
    storage.write(uri, json.dumps(counts).encode())


@dataclasses.dataclass
class WriteDecisions(beam.PTransform):
    """From (``Shard``, decision blocks by shard key): an object a shard of some runs, then one with the counts of each.

    Attributes:
      counts_uri: where the counts go.
      fingerprints: those that pass 2 has read.
      runs: those that are decided on, by their first source (one may stand among the earlier ones, too).
    """

    counts_uri: str
    fingerprints: StoredFingerprints
    runs: Mapping[int, DecidedRun]

    def expand(self, inputs: tuple[beam.PCollection[Shard], beam.PCollection[tuple[int, bytes]]]) -> beam.PCollection:
        """Joins on the shard's key."""
        shards, blocks = inputs
        return (
            {"shards": shards | "ByKey" >> beam.Map(lambda shard: (shard.key, shard)), "decisions": blocks}
            | "JoinDecisions" >> beam.CoGroupByKey()
            | "Write" >> beam.FlatMap(write_shard, self.fingerprints, self.runs)
            | "Count" >> beam.CombineGlobally(add_counts)
            | "WriteCounts" >> beam.Map(_write_counts, self.counts_uri)
        )
