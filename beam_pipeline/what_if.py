"""What a run would keep with one rule more: counted from stored attributes alone, in seconds.

Memory: the columns that are asked for of one shard a thread, one bit a document and expression, and the numbers of
each group.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_pipeline.finished_runs import FinishedRun, NotUsable, fingerprints_of
from beam_pipeline.lineage.totals import Amount
from beam_pipeline.what_if_answers import Answer, Stays
from beam_pipeline.what_if_sample import Looked, estimated, sampled
from schemas.shards import Census, Shard
from transforms.deduplication.stored_fingerprints import Planned, rows_of, stored_shard
from transforms.io import storage
from transforms.io.fingerprint_objects import FINGERPRINT, read_fingerprints, schema_of
from transforms.io.own_objects import opened
from transforms.recipe.expressions import Expression
from transforms.recipe.urls import UrlMatches

Witnesses = Callable[[Sequence[str]], Iterable[tuple[str, np.ndarray, np.ndarray]]]
"""For shards by name: the name, the places of their duplicates, and the witnesses as pass 2 names them."""
NOT_ASKED = FINGERPRINT | {"outcome", "already_normalized"}
"""Stored columns that expressions can't read."""
DOMAIN, URL = "domain", "url"
Part = tuple[int, str, Stays]
"""Number of the expression, group, what stays of it."""


@dataclasses.dataclass
class _Shard:
    """A shard, and for each expression the bits of the documents that pass."""

    shard: Shard
    uri: str
    bits: list[np.ndarray]

    def passes(self, expression: int) -> np.ndarray:
        return np.unpackbits(self.bits[expression], count=self.shard.rows).view(np.bool_)


class By(NamedTuple):
    """By what is counted: the values of a stored column of strings.

    Attributes:
      column: its name.
      domains: of a column of URLs, what finds their registered domains; these are counted by then.
    """

    column: str
    domains: UrlMatches | None = None


def what_if(
    run: FinishedRun,
    expressions: Sequence[str],
    by: str = "language",
    witnesses: Witnesses | None = None,
    sample: float = 1,
) -> list[Answer]:
    """What would stay if each of these expressions were the last rule of the run's recipe.

    Args:
      expressions: conditions on the columns of the fingerprint objects (``transforms.recipe.expressions``).
      by: a column of strings; what stays is counted by its values. ``domain`` is the registered domain of the column
        ``url``, if that is stored and none is called so.
      witnesses: for whom duplicates were dropped; without it, nothing is said of those that lose their witness.
      sample: the share of the shards that is looked at; below 1 the numbers are estimates, and nothing is said of
        duplicates, whose witnesses may be in another shard.

    Raises:
      ExpressionError: an expression isn't one, or reads a column that isn't stored; the message shows the place.
      NotUsable: the run has no fingerprints, or no such column; the sample is no share, or has no documents.
    """
    parsed = [Expression.parse(text) for text in expressions]
    planned = fingerprints_of(run)
    counted_by = _check(parsed, by, planned[0][2])
    looked_at = sampled(planned, sample)
    whole = len(looked_at) == len(planned)
    counts = _Counts(len(parsed))
    tokens_uri = run.layout.kept(run.plan.deciding)
    scan = functools.partial(_scan, expressions=parsed, by=counted_by, tokens_uri=tokens_uri)
    shards, by_shard = [], []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for shard, parts in pool.map(scan, looked_at):
            counts.add(parts)
            if not whole:
                totals = [
                    sum((stays for at, _, stays in parts if at == number), Stays()) for number in range(len(parsed))
                ]
                by_shard.append(Looked(shard.shard.rows if shard else 0, totals))
            elif shard is not None:
                shards.append(shard)
        if witnesses is not None and whole:
            for parts in _without_witness(shards, counted_by, witnesses, pool):
                counts.add(parts)
    answers = counts.answers(expressions)
    return answers if whole else estimated(answers, by_shard, len(planned), run.documents)


def _check(expressions: Sequence[Expression], by: str, uri: str) -> By:
    schema = schema_of(uri)
    usable = pa.schema([field for field in schema if field.name not in NOT_ASKED])
    for expression in expressions:
        expression.check_condition(usable)
    strings = [field.name for field in usable if _is_string(field.type)]
    if by in strings:
        return By(by)
    if by == DOMAIN and URL in strings:
        domains = UrlMatches()
        domains.setup()
        return By(URL, domains)
    remedy = "; `domain` needs the URLs: a run with --keep_columns url has them" if by == DOMAIN else ""
    raise NotUsable(f"by: there is no stored column of strings {by!r}; there are {', '.join(strings)}{remedy}")


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind.value_type if pa.types.is_dictionary(kind) else kind)


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


def _totals(parts: Iterable[Part], expressions: int) -> list[Stays]:
    """What stays of all groups together, by expression."""
    totals = [Stays()] * expressions
    for number, _, stays in parts:
        totals[number] += stays
    return totals


def _with_estimate(stays: Stays, total: Stays) -> Stays:
    """With tokens of what comes back, by the tokens that a byte of the group, or of all, has."""
    rate = stays.kept if stays.kept.bytes else total.kept
    tokens = round(stays.without_witness.bytes * rate.tokens / rate.bytes) if rate.bytes else 0
    return dataclasses.replace(stays, without_witness=dataclasses.replace(stays.without_witness, tokens=tokens))


def _scan(
    item: Planned, expressions: Sequence[Expression], by: By, tokens_uri: str
) -> tuple[_Shard | None, list[Part]]:
    """The bits of a shard, and what passes and was kept."""
    shard, uri = stored_shard(item), item[2]
    if shard.error or not shard.rows:
        return None, []
    columns = sorted({"outcome", by.column, "text_bytes"}.union(*(expression.columns for expression in expressions)))
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


def _groups(table: pa.Table, by: By) -> tuple[np.ndarray, list[str], np.ndarray]:
    """The group of each document, the groups' names, and the bytes of each document."""
    column = table[by.column].combine_chunks()
    column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    column = column if by.domains is None else _by_domain(column, by.domains)
    names = [name or "" for name in column.dictionary.to_pylist()] + [""]
    groups = column.indices.fill_null(len(names) - 1).to_numpy()
    return groups, names, table["text_bytes"].fill_null(0).to_numpy().astype(np.int64)


def _by_domain(urls: pa.DictionaryArray, domains: UrlMatches) -> pa.DictionaryArray:
    """The registered domain of each URL; null without one."""
    found = domains(pa.RecordBatch.from_pydict({URL: urls.dictionary}))[DOMAIN].dictionary_encode()
    return pa.DictionaryArray.from_arrays(found.indices.take(urls.indices), found.dictionary)


def _sums(groups: np.ndarray, count: int, *values: np.ndarray) -> np.ndarray:
    """Documents and the sums of some values by group: int64 (groups, 1 + values)."""
    sums = [np.bincount(groups, minlength=count)]
    sums += [np.bincount(groups, value, count).astype(np.int64) for value in values]  # exact to 2**53
    return np.stack(sums, axis=1).astype(object)


def _without_witness(
    shards: Sequence[_Shard], by: By, witnesses: Witnesses, pool: concurrent.futures.Executor
) -> Iterator[list[Part]]:
    """What passes of the duplicates whose witness doesn't."""
    by_name = {each.shard.name: each for each in shards}
    ordered = sorted(shards, key=lambda each: each.shard.key)
    keys = np.array([each.shard.key for each in ordered], np.int64)

    def of_shard(found: tuple[str, np.ndarray, np.ndarray]) -> list[Part]:
        name, places, witness = found
        mine = by_name[name]
        groups, names, sizes = _groups(read_fingerprints(mine.uri, [by.column, "text_bytes"]).table, by)
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
