"""The books of a run and its progress, as the lineage knows them."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import uuid
from collections.abc import Callable, Hashable
from typing import TypeVar

from transforms.io.postgres import Connection

Key = TypeVar("Key", bound=Hashable)


@dataclasses.dataclass(frozen=True, slots=True)
class Amount:
    """Documents, their bytes of normalized text, and the tokens made of them."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.documents + other.documents, self.bytes + other.bytes, self.tokens + other.tokens)


@dataclasses.dataclass(frozen=True, slots=True)
class FunnelRow:
    """What ended with one outcome in one language; None for a language that wasn't identified.

    ``outcome`` and ``reason`` are None for a code the run never declared.
    """

    outcome: str | None
    reason: str | None
    language: str | None
    amount: Amount


@dataclasses.dataclass(frozen=True, slots=True)
class SourceGap:
    """A readable source whose finished shards aren't exactly its documents, each once."""

    number: int
    uri: str
    rows: int | None  # None while unknown
    finished_rows: int
    shards: int | None  # None until it was split
    finished_shards: int


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """The books of a run.

    Attributes:
      documents: rows of the finished shards.
      funnel: what became of them, from the counts of each shard.
      unfinished: shards that are fingerprinted only.
      unreadable: URI and reason of every source that can't be read; then of those of which no row can be used, whose
        rows are in the books all the same.
      gaps: sources that aren't covered by finished shards.
      uncounted: finished shards whose counts don't add up to their rows.
    """

    documents: int
    funnel: tuple[FunnelRow, ...]
    unfinished: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    gaps: tuple[SourceGap, ...]
    uncounted: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        """Whether every document of every readable source has exactly one declared outcome."""
        declared = all(row.outcome is not None for row in self.funnel)
        return declared and not (self.unfinished or self.gaps or self.uncounted)

    def by_reason(self) -> dict[tuple[str | None, str | None], Amount]:
        """Amounts by (outcome, reason)."""
        return self._sum(lambda row: (row.outcome, row.reason))

    def by_language(self, outcome: str = "kept") -> dict[str | None, Amount]:
        """Amounts of one outcome by language."""
        rows = tuple(row for row in self.funnel if row.outcome == outcome)
        return dataclasses.replace(self, funnel=rows)._sum(lambda row: row.language)

    def _sum(self, key: Callable[[FunnelRow], Key]) -> dict[Key, Amount]:
        sums: dict[Key, Amount] = collections.defaultdict(Amount)
        for row in self.funnel:
            sums[key(row)] += row.amount
        return dict(sums)


def totals_of(connection: Connection, run: uuid.UUID) -> Totals:
    """Reads the books of a run in the current transaction."""
    funnel = connection.execute(
        "SELECT outcome, reason, language, documents, bytes, tokens FROM funnel(%s)", (run,)
    ).fetchall()
    documents = connection.execute(
        "SELECT coalesce(sum(rows), 0)::bigint FROM segments WHERE run = %s AND state = 'done'", (run,)
    ).fetchall()
    unfinished = connection.execute(
        "SELECT shard FROM segments WHERE run = %s AND state = 'fingerprinted' ORDER BY shard", (run,)
    ).fetchall()
    unreadable = connection.execute(
        "SELECT uri, coalesce(nullif(state, 'ok'), 'unreadable: ' || error) FROM ("
        " SELECT source.number, uri, source.state, min(segment.error) AS error FROM sources AS source"
        " LEFT JOIN segments AS segment ON segment.run = source.run AND segment.source = source.number"
        "  AND segment.state = 'unreadable'"
        " WHERE source.run = %s AND (source.state <> 'ok' OR segment.state = 'unreadable')"
        " GROUP BY 1, 2, 3) AS found ORDER BY number",
        (run,),
    ).fetchall()
    unusable = connection.execute(
        'WITH cells AS (SELECT source, (cell ->> 0)::"char" AS code, sum((cell ->> 2)::bigint) AS documents'
        "  FROM segments, jsonb_array_elements(counts -> 'funnel') AS cell"
        "  WHERE run = %(run)s AND state = 'done' GROUP BY 1, 2)"
        " SELECT uri, sum(documents)::bigint, (array_agg(reason ORDER BY documents DESC, reason))[1]"
        " FROM cells JOIN sources ON sources.run = %(run)s AND sources.number = cells.source AND sources.state = 'ok'"
        " LEFT JOIN outcomes ON outcomes.run = %(run)s AND outcomes.code = cells.code"
        " WHERE NOT EXISTS (SELECT FROM segments WHERE run = %(run)s AND source = cells.source AND state <> 'done')"
        " GROUP BY number, uri HAVING bool_and(outcome = 'invalid') ORDER BY sources.number",
        {"run": run},
    ).fetchall()
    gaps = connection.execute(
        # `expected` is where the shard before ended: a shard that starts elsewhere leaves a gap or overlaps. A packed
        # shard counts as its first source's, and has each of its sources whole.
        "SELECT source.number, source.uri, source.rows, coalesce(finished.rows, 0)::bigint, source.shards,"
        " coalesce(finished.shards, 0) FROM sources AS source LEFT JOIN ("
        "  SELECT source, sum(rows) AS rows, count(*) AS shards, bool_and(first_row = expected) AS contiguous FROM ("
        "   SELECT source, rows, first_row, coalesce(lag(first_row + rows)"
        "     OVER (PARTITION BY source ORDER BY first_row, rows), 0) AS expected"
        "   FROM segments WHERE run = %(run)s AND state = 'done' AND first_places IS NULL) AS ordered GROUP BY source"
        "  UNION ALL SELECT source + position::integer - 1,"
        "   (lead(start, 1, rows::integer + 1) OVER (PARTITION BY source ORDER BY position) - start)::bigint,"
        "   (position = 1)::integer, true FROM segments"
        "   CROSS JOIN LATERAL unnest(first_places) WITH ORDINALITY AS part (start, position)"
        "   WHERE run = %(run)s AND state = 'done' AND first_places IS NOT NULL"
        " ) AS finished ON finished.source = source.number"
        " WHERE source.run = %(run)s AND source.state = 'ok' AND NOT EXISTS (SELECT FROM segments AS broken"
        "  WHERE broken.run = source.run AND broken.source = source.number AND broken.state = 'unreadable')"
        " AND (source.shards IS DISTINCT FROM coalesce(finished.shards, 0) OR finished.source IS NULL"
        "  OR coalesce(source.rows, finished.rows, 0) <> coalesce(finished.rows, 0) OR NOT coalesce(contiguous, true))"
        " ORDER BY source.number",
        {"run": run},
    ).fetchall()
    uncounted = connection.execute(
        "SELECT shard FROM segments WHERE run = %s AND state = 'done' AND rows <> coalesce((SELECT"
        " sum((cell ->> 2)::bigint) FROM jsonb_array_elements(counts -> 'funnel') AS cell), 0) ORDER BY shard",
        (run,),
    ).fetchall()
    return Totals(
        documents=documents[0][0],
        funnel=tuple(FunnelRow(row[0], row[1], row[2], Amount(*row[3:])) for row in funnel),
        unfinished=tuple(shard for (shard,) in unfinished),
        unreadable=(
            *((uri, reason.removeprefix("unreadable: ")) for uri, reason in unreadable),
            *((uri, f"none of its {rows:,} rows can be used: most are {reason}") for uri, rows, reason in unusable),
        ),
        gaps=tuple(SourceGap(*row) for row in gaps),
        uncounted=tuple(shard for (shard,) in uncounted),
    )


RECENT_SECONDS = 300
"""What "lately" means in the progress of a run: rates are of this time, workers have written in it."""


BEAT_SECONDS, SILENT_SECONDS = 10, 60
"""How often a command says that it lives, and after which silence it is taken for dead."""


@dataclasses.dataclass(frozen=True, slots=True)
class Worker:
    """A worker process that has written lately: ``host:process``, the shards it wrote last, and when it did."""

    name: str
    shards: int
    written: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
      state: of the run: running, done, failed, stopped; unattended if the command that carries it out has been silent
        for a minute: it was killed, or left while a Flink job works on.
      heartbeat: when that command last said that it lives.
      starts: above 1, it was resumed.
      seconds: since it was started or resumed last, until now or its end.
      sources: number of sources by state: ok, unreadable, waiting (not split yet).
      shards: number of shards by state: unreadable, fingerprinted, done, waiting (split, but not read yet).
      documents: in the sources whose rows are known.
      fingerprinted: documents after pass 1, those done included.
      done: documents after pass 3.
      fingerprinted_per_second, done_per_second: rates of the last five minutes, or since it was started or resumed
        if that is less; of a run that has ended, over all of its last start.
      remaining_seconds: estimated; None if nothing was done lately or not all sources are split. In pass 1 it takes
        pass 3 to be as fast, and pass 2 to be quick.
      workers: that have written in the last five minutes.
      retries: results that were replaced by another.
      written: when a shard was written last; None if none was.
    """

    run: str
    code_version: str
    state: str
    starts: int
    started: datetime.datetime
    resumed: datetime.datetime
    finished: datetime.datetime | None
    heartbeat: datetime.datetime
    seconds: float
    sources: dict[str, int]
    shards: dict[str, int]
    documents: int
    fingerprinted: int
    done: int
    fingerprinted_per_second: float
    done_per_second: float
    remaining_seconds: float | None
    retries: int
    written: datetime.datetime | None
    workers: tuple[Worker, ...]


def progress_of(connection: Connection, run: uuid.UUID) -> Progress:
    """Reads the progress of a run in the current transaction.

    Raises:
      ValueError: there is no such run.
    """
    found = connection.execute(
        "SELECT code_version, CASE WHEN state = 'running' AND heartbeat < now() - %s THEN 'unattended' ELSE state END,"
        " starts, started, resumed, finished,"
        " extract(epoch FROM coalesce(finished, now()) - resumed)::double precision, heartbeat FROM runs"
        " WHERE run = %s",
        (datetime.timedelta(seconds=SILENT_SECONDS), run),
    ).fetchone()
    if found is None:
        raise ValueError(f"run {run} isn't in database {connection.info.dbname!r}")
    resumed, finished, seconds = found[4:7]
    # The end of the time that rates are of, and its length: lately, or all of a run that has ended.
    span = seconds if finished else min(seconds, RECENT_SECONDS)
    lately = {"run": run, "since": datetime.timedelta(seconds=span), "until": finished}
    sources = connection.execute(
        "SELECT CASE WHEN state <> 'ok' THEN 'unreadable' WHEN shards IS NULL THEN 'waiting' ELSE 'ok' END AS kind,"
        " count(*), coalesce(sum(shards), 0)::bigint, coalesce(sum(rows), 0)::bigint"
        " FROM sources WHERE run = %s GROUP BY kind ORDER BY kind",
        (run,),
    ).fetchall()
    segments = connection.execute(
        "SELECT state, count(*), sum(rows)::bigint, sum(attempts - 1)::bigint, max(written),"
        " coalesce(sum(rows) FILTER (WHERE first_written >= coalesce(%(until)s, now()) - %(since)s), 0)::bigint,"
        " coalesce(sum(rows) FILTER (WHERE written >= coalesce(%(until)s, now()) - %(since)s), 0)::bigint"
        " FROM segments WHERE run = %(run)s GROUP BY state ORDER BY state",
        lately,
    ).fetchall()
    workers = connection.execute(
        "SELECT writer, count(*), max(written) FROM segments"
        " WHERE run = %(run)s AND written >= now() - %(recent)s GROUP BY writer ORDER BY writer",
        {"run": run, "recent": datetime.timedelta(seconds=RECENT_SECONDS)},
    ).fetchall()
    shards = {state: count for state, count, *_ in segments}
    shards["waiting"] = max(0, sum(row[2] for row in sources) - sum(shards.values()))
    rows = {state: count for state, _, count, *_ in segments}
    documents, fingerprinted, done = sum(row[3] for row in sources), sum(rows.values()), rows.get("done", 0)
    first_pass = sum(row[5] for row in segments) / span if span else 0.0
    last_pass = sum(row[6] for row in segments if row[0] == "done") / span if span else 0.0
    all_known = bool(sources) and all(kind != "waiting" for kind, *_ in sources) and documents >= fingerprinted
    return Progress(
        run=str(run),
        code_version=found[0],
        state=found[1],
        starts=found[2],
        started=found[3],
        resumed=resumed,
        finished=finished,
        heartbeat=found[7],
        seconds=seconds,
        sources={kind: count for kind, count, *_ in sources},
        shards=shards,
        documents=documents,
        fingerprinted=fingerprinted,
        done=done,
        fingerprinted_per_second=first_pass,
        done_per_second=last_pass,
        remaining_seconds=_remaining(documents, fingerprinted, done, first_pass, last_pass) if all_known else None,
        retries=sum(row[3] for row in segments),
        written=max((row[4] for row in segments), default=None),
        workers=tuple(Worker(*row) for row in workers),
    )


def _remaining(documents: int, fingerprinted: int, done: int, first_pass: float, last_pass: float) -> float | None:
    """Seconds until all documents are through both passes over the text, at these rates (documents a second)."""
    unread, undone = documents - fingerprinted, documents - done
    if not undone:
        return 0.0
    if (unread and not first_pass) or not (last_pass or first_pass):
        return None
    return (unread / first_pass if unread else 0.0) + undone / (last_pass or first_pass)
