"""What a run would keep with one rule more: counted from stored attributes alone, in seconds.

Memory: the columns that are asked for of one shard a thread, and one bit a document and expression.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_pipeline.finished_runs import FinishedRun, NotUsable, fingerprints_of
from beam_pipeline.lineage.totals import Amount
from schemas.shards import Census, Shard
from transforms.deduplication.stored_fingerprints import Planned, rows_of, stored_shard
from transforms.io import storage
from transforms.io.fingerprint_objects import FINGERPRINT, read_fingerprints, schema_of
from transforms.io.own_objects import opened
from transforms.recipe.expressions import Expression

Witnesses = Callable[[Sequence[str]], Iterable[tuple[str, np.ndarray, np.ndarray]]]
"""For shards by name: the name, the places of their duplicates, and the witnesses as pass 2 names them."""
NOT_ASKED = FINGERPRINT | {"outcome", "already_normalized"}
"""Stored columns that expressions can't read."""
NOTHING = Amount()


@dataclasses.dataclass(frozen=True)
class Stays:
    """What stays of a group of documents.

    Attributes:
      passing: the documents that pass, before duplicates are removed; no tokens, as not all of them have any.
      kept: those of them that the run has kept.
      without_witness: those of them that the run has dropped for a document that doesn't pass. At least one of each
        group of duplicates comes back; how many, only a new removal of duplicates can say. Their tokens are estimated.
    """

    passing: Amount = NOTHING
    kept: Amount = NOTHING
    without_witness: Amount = NOTHING

    def __add__(self, other: Stays) -> Stays:
        return Stays(self.passing + other.passing, self.kept + other.kept, self.without_witness + other.without_witness)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What an expression lets stay, by the values of a column."""

    expression: str
    groups: dict[str, Stays]

    def __add__(self, other: Answer) -> Answer:
        """Of the documents of both."""
        groups = {
            name: self.groups.get(name, Stays()) + other.groups.get(name, Stays())
            for name in sorted(self.groups.keys() | other.groups.keys())
        }
        return Answer(self.expression, groups)

    @property
    def total(self) -> Stays:
        """Of all groups together."""
        return sum(self.groups.values(), Stays())


@dataclasses.dataclass
class _Shard:
    """A shard, and for each expression the bits of the documents that pass."""

    shard: Shard
    uri: str
    bits: list[np.ndarray]

    def passes(self, expression: int) -> np.ndarray:
        return np.unpackbits(self.bits[expression], count=self.shard.rows).view(np.bool_)


def what_if(
    run: FinishedRun, expressions: Sequence[str], by: str = "language", witnesses: Witnesses | None = None
) -> list[Answer]:
    """What would stay if each of these expressions were the last rule of the run's recipe.

    Args:
      expressions: conditions on the columns of the fingerprint objects (``transforms.recipe.expressions``).
      by: a column of strings; what stays is counted by its values.
      witnesses: for whom duplicates were dropped; without it, nothing is said of those that lose their witness.

    Raises:
      ExpressionError: an expression isn't one, or reads a column that isn't stored; the message shows the place.
      NotUsable: the run has no fingerprints, or no such column.
    """
    parsed = [Expression.parse(text) for text in expressions]
    planned = fingerprints_of(run)
    _check(parsed, by, planned[0][2])
    counts = _Counts(len(parsed))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        shards = []
        scan = functools.partial(_scan, expressions=parsed, by=by, tokens_uri=run.layout.kept(run.plan.deciding))
        for shard, parts in pool.map(scan, planned):
            counts.add(parts)
            if shard is not None:
                shards.append(shard)
        if witnesses is not None:
            for parts in _without_witness(shards, by, witnesses, pool):
                counts.add(parts)
    return counts.answers(expressions)


def _check(expressions: Sequence[Expression], by: str, uri: str) -> None:
    schema = schema_of(uri)
    usable = pa.schema([field for field in schema if field.name not in NOT_ASKED])
    for expression in expressions:
        expression.check_condition(usable)
    strings = [field.name for field in usable if _is_string(field.type)]
    if by not in strings:
        raise NotUsable(f"by: there is no stored column of strings {by!r}; there are {', '.join(strings)}")


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind.value_type if pa.types.is_dictionary(kind) else kind)


Part = tuple[int, str, Stays]
"""Number of the expression, group, what stays of it."""


@dataclasses.dataclass
class _Counts:
    """Sums by expression and group, and what is needed to estimate tokens."""

    expressions: int

    def __post_init__(self) -> None:
        self._sums: list[dict[str, Stays]] = [{} for _ in range(self.expressions)]

    def add(self, parts: Iterable[Part]) -> None:
        for number, group, stays in parts:
            self._sums[number][group] = self._sums[number].get(group, Stays()) + stays

    def answers(self, expressions: Sequence[str]) -> list[Answer]:
        return [
            Answer(text, {group: _with_estimate(sums[group], sum(sums.values(), Stays())) for group in sorted(sums)})
            for text, sums in zip(expressions, self._sums, strict=True)
        ]


def _with_estimate(stays: Stays, total: Stays) -> Stays:
    """With tokens of what comes back, by the tokens that a byte of the group, or of all, has."""
    rate = stays.kept if stays.kept.bytes else total.kept
    tokens = round(stays.without_witness.bytes * rate.tokens / rate.bytes) if rate.bytes else 0
    return dataclasses.replace(stays, without_witness=dataclasses.replace(stays.without_witness, tokens=tokens))


def _scan(
    item: Planned, expressions: Sequence[Expression], by: str, tokens_uri: str
) -> tuple[_Shard | None, list[Part]]:
    """The bits of a shard, and what passes and was kept."""
    shard, uri = stored_shard(item), item[2]
    if shard.error or not shard.rows:
        return None, []
    columns = sorted({"outcome", by, "text_bytes"}.union(*(expression.columns for expression in expressions)))
    stored = read_fingerprints(uri, columns)
    table = stored.table
    in_play = pc.is_null(table["outcome"]).to_numpy()
    kept, n_tokens = kept_tokens(shard, stored.census, tokens_uri)
    groups, names, sizes = _groups(table, by)
    bits, parts = [], []
    for number, expression in enumerate(expressions):
        passes = in_play & pc.fill_null(expression.evaluate(table), False).to_numpy(zero_copy_only=False)
        bits.append(np.packbits(passes))
        of_kept = passes & kept
        passing = _sums(groups[passes], len(names), sizes[passes])
        found = _sums(groups[of_kept], len(names), sizes[of_kept], n_tokens[of_kept])
        parts += [
            (number, names[group], Stays(Amount(*passing[group]), Amount(*found[group])))
            for group in np.flatnonzero(passing[:, 0]).tolist()
        ]
    return _Shard(shard, uri, bits), parts


def kept_tokens(shard: Shard, census: Census | None, tokens_uri: str) -> tuple[np.ndarray, np.ndarray]:
    """Mask of the documents that have tokens, and how many each has."""
    uri = storage.join(tokens_uri, f"{shard.name}.parquet")
    kept = rows_of(uri, shard, census)
    n_tokens = np.zeros(shard.rows, np.int64)
    with opened(uri) as file:
        objects = pq.ParquetFile(file)
        if "n_tokens" in objects.schema_arrow.names:  # else the run has written text
            n_tokens[kept] = objects.read(columns=["n_tokens"])["n_tokens"].to_numpy()
    return kept, n_tokens


def _groups(table: pa.Table, by: str) -> tuple[np.ndarray, list[str], np.ndarray]:
    """The group of each document, the groups' names, and the bytes of each document."""
    column = table[by].combine_chunks()
    column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = [name or "" for name in column.dictionary.to_pylist()] + [""]
    groups = column.indices.fill_null(len(names) - 1).to_numpy()
    return groups, names, table["text_bytes"].fill_null(0).to_numpy().astype(np.int64)


def _sums(groups: np.ndarray, count: int, *values: np.ndarray) -> np.ndarray:
    """Documents and the sums of some values by group: int64 (groups, 1 + values)."""
    sums = [np.bincount(groups, minlength=count)]
    sums += [np.bincount(groups, value, count).astype(np.int64) for value in values]  # exact to 2**53
    return np.stack(sums, axis=1).astype(object)


def _without_witness(
    shards: Sequence[_Shard], by: str, witnesses: Witnesses, pool: concurrent.futures.Executor
) -> Iterator[list[Part]]:
    """What passes of the duplicates whose witness doesn't."""
    by_name = {each.shard.name: each for each in shards}
    ordered = sorted(shards, key=lambda each: each.shard.key)
    keys = np.array([each.shard.key for each in ordered], np.int64)

    def of_shard(found: tuple[str, np.ndarray, np.ndarray]) -> list[Part]:
        name, places, witness = found
        mine = by_name[name]
        groups, names, sizes = _groups(read_fingerprints(mine.uri, [by, "text_bytes"]).table, by)
        parts = []
        homes = np.searchsorted(keys, witness, side="right") - 1
        for number in range(len(mine.bits)):
            passing = mine.passes(number)[places]
            lost = passing.copy()
            lost[witness < 0] = False  # of an earlier run of the corpus, whose documents stay
            for home in np.unique(homes[passing & (witness >= 0)]).tolist():
                here = np.flatnonzero(passing & (homes == home))
                lost[here] = ~ordered[home].passes(number)[witness[here] - keys[home]]
            gone = places[lost]
            sums = _sums(groups[gone], len(names), sizes[gone])
            parts += [
                (number, names[group], Stays(without_witness=Amount(*sums[group])))
                for group in np.flatnonzero(sums[:, 0]).tolist()
            ]
        return parts

    yield from pool.map(of_shard, (found for found in witnesses(sorted(by_name)) if found[0] in by_name))
