"""The documents of finished runs as the report counts them: from stored attributes and the lineage, shard by shard.

Memory: the attributes of one shard, and a sample of documents of at most ``SHARDS`` shards.
"""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Iterator, Sequence

import mmh3
import numpy as np
import pyarrow as pa

from beam_pipeline.finished_runs import FinishedRun, fingerprints_of
from beam_pipeline.lineage.by_attribute import meanings, outcomes_of
from beam_pipeline.report.distributions import Distribution, Distributions
from beam_pipeline.trial.conditions import conditions_of, figures_of
from beam_pipeline.trial.result import DOCUMENTS, Condition
from schemas.shards import Shard, places_of
from transforms.deduplication.stored_fingerprints import stored_shard
from transforms.io.fingerprint_objects import FINGERPRINT, read_fingerprints, schema_of
from transforms.io.lineage import Lineage
from transforms.io.source_list import sources_between
from transforms.kernels.deduplication.blocks import mix
from transforms.recipe.steps import Step

SHARDS = 48
"""Shards from which the sample comes: those with the lowest hashes."""
SAMPLE = 50_000
_LEFT_OUT = FINGERPRINT | {"outcome", "already_normalized", "read_again"}


@dataclasses.dataclass(frozen=True)
class RunDocuments:
    """What the report knows of the documents of one or several runs.

    Attributes:
      sample: some, as ``trial.result.DOCUMENTS``, with attributes and figures.
      distributions: of all documents.
      conditions: thresholds of the recipe.
      shown: some of the run whose texts are shown; ``shard`` and ``place`` say which.
      shards: those of ``shown``, by name.
    """

    sample: pa.Table
    distributions: list[Distribution]
    conditions: tuple[Condition, ...]
    shown: pa.Table
    shards: list[str]


class _Reader:
    """Reads shards of a run."""

    def __init__(self, run: FinishedRun, lineage: Lineage, steps: Sequence[Step]) -> None:
        self._run, self._lineage, self._key = run, lineage, uuid.UUID(run.run)
        self._meanings = lineage.read(lambda connection: meanings(connection, self._key))
        self._step_of = {reason: step.label for step in steps for reason in step.reasons}
        self.items = {item[2]: item for item in fingerprints_of(run)}
        self._columns = [
            field.name
            for field in schema_of(next(iter(self.items)))
            if field.name not in _LEFT_OUT and not pa.types.is_nested(field.type)
        ]

    def read(self, uri: str) -> tuple[Shard, pa.Table, list[str], np.ndarray]:
        """A shard, its documents without their places, the URIs of its sources and which one each document is from."""
        shard = stored_shard(self.items[uri])
        stored = read_fingerprints(uri, self._columns, dropped_too=True)
        read_outcomes = functools.partial(outcomes_of, run=self._key, shard=shard.name)
        codes, _ = self._lineage.read(read_outcomes)
        places = np.arange(len(stored.table))
        if len(codes) != len(places):  # unreadable, or not done
            return shard, self._table(stored.table[:0], codes[:0], places[:0], places[:0]), [], places[:0]
        numbers, rows = places_of(shard, stored.census, places)
        uris = [shard.source.uri]
        if shard.packed:
            sources = sources_between(self._run.layout.sources, shard.source.number, shard.sources)
            uris = [source.uri for source in sources]
        return shard, self._table(stored.table, codes, rows, places), uris, numbers - shard.source.number

    def _table(self, stored: pa.Table, codes: np.ndarray, rows: np.ndarray, places: np.ndarray) -> pa.Table:
        given = {name: stored[name] for name in stored.column_names}
        distinct, which = np.unique(codes, return_inverse=True)
        ends = [self._meanings.get(int(code), ("undeclared", "")) for code in distinct]
        steps = [self._step_of.get(reason, "") for _, reason in ends]
        named = {"outcome": [end[0] for end in ends], "reason": [end[1] for end in ends], "step": steps}
        own = {name: pa.array(values, pa.string()).take(pa.array(which.reshape(-1))) for name, values in named.items()}
        own |= {"row": pa.array(rows, pa.int64()), "place": pa.array(places, pa.int64())}
        plain = {name: own[name] if name in own else given.get(name) for name in (*DOCUMENTS.names, "place")}
        missing = {"id": pa.nulls(len(stored), pa.string()), "text_bytes": pa.nulls(len(stored), pa.int64())}
        first = {name: missing.get(name) if values is None else values for name, values in plain.items()}
        return pa.table({name: values for name, values in (first | given | own).items() if values is not None})


def read_documents(
    runs: Sequence[FinishedRun], lineage: Lineage, steps: Sequence[Step], texts: bool = True
) -> RunDocuments:
    """Reads attributes: a sample first, by which axes are chosen, then all.

    Args:
      runs: the first one's texts are shown, and its thresholds.
      steps: of its recipe, as far as they can be imported.
      texts: whether values of strings may be shown; else only numbers are counted.

    Raises:
      NotUsable, DamagedObject, StorageError: an object isn't there or can't be read.
    """
    readers = [_Reader(run, lineage, steps) for run in runs]
    of_texts, shards = _sample(readers[:1])
    sample = of_texts if len(runs) == 1 else _sample(readers)[0]
    conditions = conditions_of(steps, sample)
    shown = ["language", "outcome", *_shown(sample, texts)]
    with_figures = _with_figures(sample, conditions)
    found = Distributions(with_figures.select([*shown, *_figures(with_figures, sample)]), conditions)
    for reader in readers:
        for uri in reader.items:
            _, documents, _, _ = reader.read(uri)
            for batch in documents.to_batches(max_chunksize=1 << 16):
                found.add(_with_figures(pa.Table.from_batches([batch]), conditions))
    with_texts = with_figures if sample is of_texts else _with_figures(of_texts, conditions)
    return RunDocuments(with_figures, found.results(), conditions, with_texts, shards)


def _sample(readers: Sequence[_Reader]) -> tuple[pa.Table, list[str]]:
    """Documents of the shards with the lowest hashes, and the names of these."""
    items = [(reader, uri, uri.rpartition("/")[2]) for reader in readers for uri in reader.items]
    ordered = sorted(items, key=lambda item: mmh3.hash64(item[2])[0])[:SHARDS]
    tables = pa.concat_tables(_sampled([item[:2] for item in ordered]), promote_options="permissive")
    return tables.unify_dictionaries().combine_chunks(), [name.removesuffix(".parquet") for *_, name in ordered]


def _sampled(items: Sequence[tuple[_Reader, str]]) -> Iterator[pa.Table]:
    """Of each shard the documents with the lowest hashes."""
    most = -(-SAMPLE // len(items))
    for reader, uri in items:
        shard, documents, sources, which = reader.read(uri)
        ranks = mix(np.arange(len(documents), dtype=np.uint64) + np.uint64(mmh3.hash(shard.name, signed=False)))
        chosen = np.sort(np.argsort(ranks, kind="stable")[:most])
        picked = documents.take(pa.array(chosen))
        source = pa.array(sources, pa.string()).take(pa.array(which[chosen])) if sources else pa.array([], pa.string())
        columns = {"source": source.dictionary_encode(), "shard": pa.array([shard.name] * len(picked), pa.string())}
        yield pa.table(columns | {name: picked[name] for name in picked.column_names})


def _with_figures(documents: pa.Table, conditions: Sequence[Condition]) -> pa.Table:
    figures = {
        name: values for name, values in figures_of(conditions, documents).items() if name not in documents.column_names
    }
    return pa.table({name: documents[name] for name in documents.column_names} | figures)


def _shown(sample: pa.Table, texts: bool) -> list[str]:
    """The columns whose distributions are shown."""
    own = {*DOCUMENTS.names, "place", "shard"} - {"language_score", "text_bytes"}
    numbers = (field.name for field in sample.schema if field.name not in own and (texts or _is_number(field.type)))
    return list(numbers)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _figures(with_figures: pa.Table, sample: pa.Table) -> list[str]:
    return [name for name in with_figures.column_names if name not in sample.column_names]
