"""How far a run is."""

from __future__ import annotations

import dataclasses
import datetime
import uuid

from transforms.io.postgres import Connection

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
