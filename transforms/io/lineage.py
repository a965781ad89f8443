"""The lineage in PostgreSQL: what every run read, how far it is, and what became of every document.

Writes are whole transactions that may be repeated: a segment written again changes nothing.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from schemas import events
from schemas.events import Fact
from schemas.outcomes import PAGE, Outcomes
from schemas.segments import Segment, SourceState
from schemas.shards import Source
from transforms.io import facts
from transforms.io.facts import UNREADABLE
from transforms.io.outbox import tell
from transforms.io.postgres import (
    CHAR_ARRAY,
    FLOAT4_ARRAY,
    INT2_ARRAY,
    INT4_ARRAY,
    INT8_ARRAY,
    Connection,
    LineageSchemaError,
    LineageUnavailable,
    check_rights,
    check_schema,
    connect,
    has_password,
    migrate,
    public_dsn,
    retrying,
)

__all__ = [
    "Lineage",
    "LineageSchemaError",
    "LineageUnavailable",
    "check_schema",
    "check_text",
    "connect",
    "has_password",
    "migrate",
    "public_dsn",
    "stage",
]

Result = TypeVar("Result")

RETRY_SECONDS = 120.0
_MANY_ROWS = 1000
"""From so many staged rows on PostgreSQL counts them: by its default guess it joins 100,000 with 100,000 in a loop."""

_SEGMENT_COLUMNS: dict[str, str | int] = {
    "run": "uuid",
    "shard": "text",
    "source": "int4",
    "first_row": "int8",
    "rows": "int8",
    "first_places": INT4_ARRAY,
    "state": "text",
    "error": "text",
    "token_object": "text",
    "outcomes": CHAR_ARRAY,
    "pages": CHAR_ARRAY,
    "languages": INT2_ARRAY,
    "language_names": "text[]",
    "places": INT4_ARRAY,
    "witnesses": INT8_ARRAY,
    "similarities": FLOAT4_ARRAY,
    "counts": "jsonb",
    "costs": "jsonb",
    "writer": "text",
}
_MERGED = ("counts", "costs")  # what pass 1 said stays beside what pass 3 says
_NOT_A_RESULT = ("writer",)  # the same from another worker is the same
_STATE_COLUMNS = {"run": "uuid", "number": "int4", "rows": "int8", "state": "text"}
_SOURCE_COLUMNS = {"run": "uuid", "number": "int4", "uri": "text", "etag": "text", "bytes": "int8"}


def _upsert_statement() -> str:
    columns = list(_SEGMENT_COLUMNS)
    new = [f"old.{name} || excluded.{name}" if name in _MERGED else f"excluded.{name}" for name in columns]
    result = [place for place, name in enumerate(columns) if name not in _NOT_A_RESULT]
    changes = ", ".join(f"{name} = {value}" for name, value in zip(columns, new, strict=True))
    # In one order everywhere, so that two writers of the same segments wait for each other instead of deadlocking.
    return f"""
        INSERT INTO segments AS old ({", ".join(columns)}, attempts, first_written, written)
        SELECT {", ".join(columns)}, 1, now(), now() FROM staged_segments ORDER BY run, shard
        ON CONFLICT (run, shard) DO UPDATE SET {changes}, written = now(),
            attempts = CASE WHEN old.state = excluded.state THEN old.attempts + 1 ELSE 1 END
        WHERE NOT (old.state = 'done' AND excluded.state <> 'done')
            AND ({", ".join(f"old.{columns[place]}" for place in result)})
            IS DISTINCT FROM ({", ".join(new[place] for place in result)})
        RETURNING run, shard, state, attempts, source, rows, token_object, error
    """


_UPSERT_SEGMENTS = _upsert_statement()


class Lineage:
    """The lineage in one database; connects when first used, reconnects when the connection is lost.

    Not for several threads at once, and not to be taken into another process.

    Args:
      dsn: libpq connection string or URI. Credentials come from libpq's environment (PGPASSWORD, PGPASSFILE, ...).
      retry_seconds: how long to try again while the database is away or restarting.

    Every method raises LineageUnavailable when that is over, and ValueError, naming its place, for a string that
    PostgreSQL can't store (with NUL or a lone surrogate in it).
    """

    def __init__(self, dsn: str, retry_seconds: float = RETRY_SECONDS):
        if retry_seconds < 0:
            raise ValueError(f"retry_seconds: {retry_seconds} is negative")
        self.public_dsn = public_dsn(dsn)
        self._dsn = dsn
        self._retry_seconds = retry_seconds
        self._connection: Connection | None = None

    def __enter__(self) -> Lineage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def read(self, query: Callable[[Connection], Result]) -> Result:
        """What ``query`` returns, in a transaction of its own; it's repeated if the connection is lost meanwhile."""
        return self._transaction(query)

    def migrate(self) -> None:
        """Makes the tables, or brings them to this version (``postgres.migrate``)."""
        self._transaction(migrate)

    def check_schema(self) -> None:
        """Makes sure that the tables are there (``postgres.check_schema``)."""
        self._transaction(check_schema)

    def check_rights(self, *, corpora: bool = False) -> None:
        """Makes sure that a run may write all it has to (``postgres.check_rights``)."""
        self._transaction(functools.partial(check_rights, corpora=corpora))

    def start_run(
        self,
        run: str,
        settings: Mapping[str, Any],
        settings_hash: str,
        code_version: str,
        outcomes: Outcomes,
        events_exchange: str | None = None,
        planned: Mapping[str, Any] | None = None,
    ) -> None:
        """Records that a run starts, or that it goes on.

        Args:
          events_exchange: where the facts of this run are told (docs/events.md); None: nowhere.
          planned: what ``run.planned`` says beside the settings' hash and the version.

        Raises:
          ValueError: the run is known with other settings or outcomes.
        """
        _check_json(settings, "settings")
        key = uuid.UUID(run)
        table = sorted(
            (chr(code % PAGE), code // PAGE, outcome, reason) for code, (outcome, reason) in outcomes.table.items()
        )
        for code, _, _, reason in table:
            check_text(reason, f"reason of outcome {code!r}")

        def start(connection: Connection) -> None:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (run,))
            found = connection.execute("SELECT settings_hash FROM runs WHERE run = %s", (key,)).fetchone()
            if found is None:
                connection.execute("SELECT create_run_partitions(%s)", (key,))
                connection.execute(
                    "INSERT INTO runs (run, settings, settings_hash, code_version, events_exchange)"
                    " VALUES (%s, %s, %s, %s, %s)",
                    (key, Jsonb(settings), settings_hash, code_version, events_exchange),
                )
                with connection.cursor() as cursor:
                    cursor.executemany(
                        "INSERT INTO outcomes (run, code, page, outcome, reason)"
                        ' VALUES (%s, %s::text::"char", %s, %s, %s)',
                        [(key, *row) for row in table],
                    )
                versions = {"settings_hash": settings_hash, "code_version": code_version}
                about = {"run": run, "output": settings.get("output", "")}
                first = Fact(events.RUN_PLANNED, run, {**about, **versions, **(planned or {})})
                tell(connection, events_exchange, run, [first, Fact(events.RUN_STARTED, run, {**about, "start": 1})])
                return
            known = connection.execute("SELECT code::text, page, outcome, reason FROM outcomes WHERE run = %s", (key,))
            if found != (settings_hash,) or sorted(known.fetchall()) != table:
                raise ValueError(f"run {run} is known with other settings (hash {found[0]}, now {settings_hash})")
            [(starts,)] = connection.execute(
                "UPDATE runs SET state = 'running', starts = starts + 1, resumed = now(), heartbeat = now(),"
                " finished = NULL, code_version = %s, settings = %s, events_exchange = %s WHERE run = %s"
                " RETURNING starts",
                (code_version, Jsonb(settings), events_exchange, key),
            ).fetchall()
            again = {"run": run, "output": settings.get("output", ""), "start": starts}
            tell(connection, events_exchange, run, [Fact(events.RUN_STARTED, run, again)])

        self._transaction(start)

    def record_sources(self, run: str, sources: Iterable[Source]) -> None:
        """Records the pinned sources of a run; those that are known already stay as they are.

        Raises:
          ValueError: a source is known under the same number with another URI or ETag.
        """
        rows = []
        for source in sources:
            check_text(source.uri, f"URI of source {source.number}")
            check_text(source.etag, f"ETag of source {source.number}, {source.uri}")
            rows.append((uuid.UUID(run), source.number, source.uri, source.etag, source.size))

        def record(connection: Connection) -> None:
            stage(connection, "sources", _SOURCE_COLUMNS, rows)
            connection.execute(
                "INSERT INTO sources (run, number, uri, etag, bytes) SELECT * FROM staged_sources"
                " ORDER BY run, number ON CONFLICT (run, number) DO NOTHING"
            )
            changed = connection.execute(
                "SELECT number, old.uri, old.etag, new.uri, new.etag FROM staged_sources AS new"
                " JOIN sources AS old USING (run, number)"
                " WHERE (old.uri, old.etag) <> (new.uri, new.etag) ORDER BY number LIMIT 1"
            ).fetchone()
            if changed is not None:
                raise ValueError(
                    f"run {run}: source {changed[0]} was {changed[1]} (ETag {changed[2]}) when the run started and is "
                    f"{changed[3]} (ETag {changed[4]}) now; a changed source needs a new run"
                )

        self._transaction(record)

    def set_source_states(self, run: str, states: Sequence[SourceState]) -> None:
        """Records what splitting the sources has found out.

        Raises:
          ValueError: a source wasn't recorded before.
        """
        key = uuid.UUID(run)
        ordered = sorted(states, key=lambda state: state.number)
        reasons = {state.number: _escaped(state.state) for state in ordered if state.state.startswith(UNREADABLE)}
        alone = [
            (_escaped(state.state), None if state.rows < 0 else state.rows, state.shards, key, state.number)
            for state in ordered
            if state.packed == 1
        ]
        # Their rows and states come with their segment, and may have come already.
        packed = [
            (state.number, state.shards, key, state.number, state.number + state.packed - 1)
            for state in ordered
            if state.packed > 1
        ]

        def update(connection: Connection) -> None:
            found = facts.newly_unreadable(connection, run, reasons)
            with connection.cursor() as cursor:
                missing = sum(state.packed for state in ordered)
                for statement, rows in (
                    ("UPDATE sources SET state = %s, rows = %s, shards = %s WHERE run = %s AND number = %s", alone),
                    (
                        "UPDATE sources SET shards = CASE WHEN number = %s THEN %s ELSE 0 END"
                        " WHERE run = %s AND number BETWEEN %s AND %s",
                        packed,
                    ),
                ):
                    if rows:
                        cursor.executemany(statement.encode(), rows)
                        missing -= cursor.rowcount
                if missing:
                    raise ValueError(
                        f"run {run}: of the sources {ordered[0].number} to "
                        f"{ordered[-1].number + ordered[-1].packed - 1} {missing} weren't recorded"
                    )
            tell(connection, facts.exchange_of(connection, run), run, found)

        if ordered:
            self._transaction(update)

    def upsert_segments(self, segments: Sequence[Segment]) -> list[tuple[str, str, int]]:
        """Records segments in one transaction: all of them, or none.

        A segment that is there already is replaced if anything differs. One that is ``done`` stays so. ``counts`` and
        ``costs`` are merged by key. Cost: 4 M documents/s in segments of 100,000, 3.2 bytes a document on disk.

        Returns:
          Of each segment that was new or differed: shard, state, and how many results it has had in that state.

        Raises:
          ValueError: the run wasn't started.
        """
        # A statement can touch a row once only: the second segment of a shard, if there is one, goes in a later round.
        rounds: list[dict[tuple[str, str], tuple[Any, ...]]] = []
        for segment in segments:
            key = (segment.run, segment.shard)
            row = _segment_row(segment)
            for earlier in rounds:
                if key not in earlier:
                    earlier[key] = row
                    break
            else:
                rounds.append({key: row})

        def upsert(connection: Connection) -> list[tuple[str, str, int]]:
            written: list[tuple[Any, ...]] = []
            for rows in rounds:
                stage(connection, "segments", _SEGMENT_COLUMNS, rows.values())
                try:
                    written += connection.execute(_UPSERT_SEGMENTS).fetchall()
                except psycopg.errors.CheckViolation as error:
                    if error.diag.constraint_name is None:  # no partition takes it
                        raise ValueError(f"run {next(iter(rows))[0]} wasn't started in this database") from error
                    raise
            unreadable = _record_packed(connection, segments)
            for run in sorted({segment.run for segment in segments}):
                if exchange := facts.exchange_of(connection, run):
                    tell(connection, exchange, run, facts.of_segments(connection, run, written) + unreadable[run])
            return [(shard, state, attempts) for _, shard, state, attempts, *_ in written]

        return self._transaction(upsert) if rounds else []

    def finish_run(self, run: str, state: str, summary: Mapping[str, Any]) -> None:
        """Records how a run ended.

        Args:
          run: its UUID.
          state: ``done``, ``failed`` or ``stopped``.
          summary: JSON to be kept with it.

        Raises:
          ValueError: the state is none of these, or the run wasn't started.
        """
        if state not in ("done", "failed", "stopped"):
            raise ValueError(f"state: {state!r} is none of done, failed, stopped")
        kept = _escaped_json(summary)  # it may quote the failure of broken input: no reason to fail again
        _check_json(kept, "summary")
        key = uuid.UUID(run)

        def finish(connection: Connection) -> None:
            known = connection.execute("SELECT state, settings FROM runs WHERE run = %s FOR UPDATE", (key,)).fetchone()
            if known is None:
                raise ValueError(f"run {run} wasn't started in this database")
            connection.execute(
                "UPDATE runs SET state = %s, summary = %s, finished = now() WHERE run = %s", (state, Jsonb(kept), key)
            )
            if known[0] != state:  # not what a connection that was lost has committed already
                tell(connection, facts.exchange_of(connection, run), run, facts.of_end(run, state, known[1], kept))

        self._transaction(finish)

    def record_product(
        self, kind: str, uri: str, made_from: Sequence[str], summary: Mapping[str, Any], events_exchange: str | None
    ) -> None:
        """Records that an export or decisions are finished; the same ones again change nothing.

        Args:
          kind: ``export`` or ``decision``.
          uri: where they are.
          made_from: ids of the runs.
          summary: JSON to be kept with them, and told.
          events_exchange: as for ``start_run``.
        """
        kept = _escaped_json(summary)
        _check_json(kept, "summary")
        check_text(uri, f"URI of the {kind}")

        def record(connection: Connection) -> None:
            changed = connection.execute(
                "INSERT INTO products AS old (kind, uri, runs, summary) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (uri) DO UPDATE SET"
                " (kind, runs, summary, finished) = (excluded.kind, excluded.runs, excluded.summary, now())"
                " WHERE (old.kind, old.runs, old.summary)"
                " IS DISTINCT FROM (excluded.kind, excluded.runs, excluded.summary)",
                (kind, uri, list(made_from), Jsonb(kept)),
            )
            if changed.rowcount:
                told = Fact(f"{kind}.done", uri, {"output": uri, "runs": list(made_from), **kept})
                tell(connection, events_exchange, uri, [told])

        self._transaction(record)

    def beat(self, run: str) -> None:
        """Records that the command that carries out a run lives."""
        key = uuid.UUID(run)
        self._transaction(
            lambda connection: connection.execute("UPDATE runs SET heartbeat = now() WHERE run = %s", (key,))
        )

    def drop_run(self, run: str) -> None:
        """Forgets a run and all its lineage."""
        self._transaction(lambda connection: connection.execute("SELECT drop_run(%s)", (uuid.UUID(run),)))

    def _transaction(self, work: Callable[[Connection], Result]) -> Result:
        def attempt() -> Result:
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._dsn)
            with self._connection.transaction():
                return work(self._connection)

        return retrying(attempt, self._dsn, self._retry_seconds)


def _record_packed(connection: Connection, segments: Sequence[Segment]) -> dict[str, list[Fact]]:
    """Rows and states of the sources of packed shards, which are known with their segments.

    Returns:
      By run, the sources of which it wasn't known that they can't be read.
    """
    unreadable: dict[str, list[Fact]] = {segment.run: [] for segment in segments}
    rows = [
        (uuid.UUID(segment.run), segment.source + position, count, segment.census.errors.get(position))
        for segment in segments
        if segment.census is not None
        for position, count in enumerate(segment.census.rows.tolist())
    ]
    if not rows:
        return unreadable
    states = [(*row[:3], "ok" if row[3] is None else f"{UNREADABLE}{_escaped(row[3])}") for row in rows]
    stage(connection, "sources", _STATE_COLUMNS, states, "_states")
    changed = connection.execute(
        "UPDATE sources AS old SET rows = new.rows, state = new.state FROM staged_sources_states AS new"
        " WHERE old.run = new.run AND old.number = new.number"
        " AND (old.rows, old.state) IS DISTINCT FROM (new.rows, new.state)"
        " RETURNING old.run, old.uri, old.etag, old.state"
    ).fetchall()
    for run, uri, etag, state in sorted(changed):
        if state.startswith(UNREADABLE):
            unreadable[str(run)].append(facts.unreadable(str(run), uri, etag, state.removeprefix(UNREADABLE)))
    return unreadable


def _segment_row(segment: Segment) -> tuple[Any, ...]:
    place = f"segment of shard {segment.shard}"
    for name in ("shard", "token_object"):
        check_text(getattr(segment, name), f"{name} of the {place}")
    for label in segment.language_names:
        check_text(label, f"language_names of the {place}")
    _check_json(segment.counts, f"counts of the {place}")
    _check_json(segment.costs, f"costs of the {place}")
    return (
        uuid.UUID(segment.run),
        segment.shard,
        segment.source,
        segment.first_row,
        segment.rows,
        None if segment.census is None else segment.census.starts + 1,
        segment.state,
        _escaped(segment.error),
        segment.token_object or None,
        np.frombuffer(segment.outcomes, np.uint8),
        np.frombuffer(segment.pages, np.uint8) if segment.pages else None,
        segment.languages,
        list(segment.language_names),
        segment.duplicate_rows.astype(np.int64) - segment.first_row + 1,
        segment.witness_sources.astype(np.int64) << 32 | segment.witness_rows.astype(np.int64),
        segment.similarities,
        Jsonb(segment.counts),
        Jsonb(segment.costs),
        f"{platform.node()}:{os.getpid()}",
    )


def stage(
    connection: Connection,
    table: str,
    columns: Mapping[str, str | int],
    rows: Iterable[tuple[Any, ...]],
    kind: str = "",
) -> None:
    """Puts rows into ``staged_<table><kind>``, a temporary table with those columns that is emptied by the commit."""
    name = f"staged_{table}{kind}"
    staged = sql.Identifier(name)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    if connection.execute("SELECT to_regclass(%s) IS NULL", (f"pg_temp.{name}",)).fetchone() == (True,):
        template = "CREATE TEMPORARY TABLE {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA"
        connection.execute(sql.SQL(template).format(staged, names, sql.Identifier(table)))
        for name, type_ in columns.items():
            if isinstance(type_, int):  # an array: compressing it twice costs more than storing it for a moment
                column = sql.Identifier(name)
                connection.execute(sql.SQL("ALTER TABLE {} ALTER {} SET STORAGE EXTERNAL").format(staged, column))
    else:
        connection.execute(sql.SQL("TRUNCATE {}").format(staged))
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(staged, names)) as copy,
    ):
        copy.set_types(list(columns.values()))
        count = 0
        for count, row in enumerate(rows, 1):  # noqa: B007 - it is wanted after the loop
            copy.write_row(row)
    if count >= _MANY_ROWS:
        connection.execute(sql.SQL("ANALYZE {}").format(staged))


def _unstorable(text: str) -> str | None:
    if "\0" in text:
        return "a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}"
    return None


def check_text(text: str, place: str) -> None:
    """Raises ValueError, naming the place, for a string that PostgreSQL can't store."""
    if problem := _unstorable(text):
        raise ValueError(f"{place}: {text[:200]!r} has {problem} in it, which PostgreSQL can't store; rename it")


def _escaped(text: str) -> str:
    """A message as it can be stored: what can't be becomes ``\\u0000``, ``\\udcff``. Messages quote broken input."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\u0000")


def _escaped_json(value: Any) -> Any:
    if isinstance(value, str):
        return _escaped(value)
    if isinstance(value, Mapping):
        return {_escaped(str(key)): _escaped_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped_json(entry) for entry in value]
    return value


def _check_json(value: Any, place: str) -> None:
    for path, text in _strings(value, ""):
        check_text(text, f"{place}{path}")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: not JSON: {error}") from error


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield f"{path} (a key)", str(key)
            yield from _strings(entry, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for i, entry in enumerate(value):
            yield from _strings(entry, f"{path}[{i}]")
