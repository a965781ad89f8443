from __future__ import annotations

import concurrent.futures
import dataclasses
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import psycopg
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_pipeline.lineage import runs
from beam_pipeline.lineage.totals import Amount, SourceGap
from schemas.segments import Segment, SourceState
from schemas.shards import Source, document_id
from tests.lineage_examples import OUTCOMES, RUN, WIDE, codes_of, lineage_rows, segment, sources
from tests.lineage_writers import all_segments, write_under_faults
from tests.runs import ROOT
from transforms.io.lineage import (
    Lineage,
    LineageSchemaError,
    LineageUnavailable,
    check_schema,
    connect,
    has_password,
    migrate,
    public_dsn,
)
from transforms.write_lineage import WriteLineage, WriteSources

if TYPE_CHECKING:
    from tests.postgres import Server  # imported by pytest as a plugin


REPOSITORY = Path(__file__).parent.parent
COLUMNS = (
    "source_uri, source_row, document, outcome, reason, language, witness_uri, witness_row, similarity, "
    "token_object, token_row"
)


def rows(lineage: Lineage, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    return lineage.read(lambda connection: connection.execute(query.encode(), arguments).fetchall())


def view(lineage: Lineage, run: str = RUN) -> list[tuple[Any, ...]]:
    return rows(lineage, f"SELECT {COLUMNS} FROM lineage WHERE run = %s ORDER BY document", run)


@pytest.fixture
def run(lineage: Lineage) -> Lineage:
    """A lineage with a started run of three sources."""
    lineage.start_run(RUN, {"threshold": 0.8}, "hash", "1.0", OUTCOMES)
    lineage.record_sources(RUN, sources(3))
    return lineage


# --- Segments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": "finished"}, "state 'finished'"),
        ({"rows": 51}, "51 rows, 50 outcomes"),
        ({"languages": np.zeros(50, np.int32)}, "int32, not int16"),
        ({"languages": np.full(50, 4, np.int16)}, "language index"),
        ({"duplicate_rows": np.zeros(0, np.uint32)}, "duplicate_rows"),
        ({"witness_rows": np.zeros(1, np.uint32)}, "witness_rows"),
        ({"state": "fingerprinted", "token_object": ""}, "fingerprinted with 50 rows, 50 outcomes"),
        ({"outcomes": b"\xff" * 50}, "ASCII"),
        ({"pages": b"\0" * 49}, "49 pages of 50 outcomes"),
        ({"pages": b"\x80" * 50}, "over 127"),
        ({"token_object": ""}, "token_object"),
        ({"first_row": 2**32}, "32 bits"),
        ({"source": -1}, "source -1"),
    ],
)
def test_a_wrong_segment_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"shard 0000000-00000, run {RUN}: .*{re.escape(message)}"):
        dataclasses.replace(segment(1), **change)


def test_segments_can_be_pickled() -> None:
    before = segment(1)
    after = pickle.loads(pickle.dumps(before))
    assert all(np.array_equal(getattr(before, f.name), getattr(after, f.name)) for f in dataclasses.fields(Segment))


# --- The view and the functions ---------------------------------------------------------------------------------------


def test_the_view_has_each_document_of_a_finished_shard_once(run: Lineage) -> None:
    done = [segment(1, 0), segment(2, 0, first_row=50, rows=7), segment(3, 2, rows=300)]
    run.upsert_segments([*done, segment(4, 1, state="fingerprinted")])
    expected = lineage_rows(done)
    assert view(run) == expected
    assert rows(run, "SELECT count(*) FROM lineage") == [(357,)]
    by_predicate = f"SELECT {COLUMNS} FROM lineage WHERE run = %s AND source_uri = %s AND source_row = %s"
    assert rows(run, by_predicate, RUN, "s3://bucket/in/part-000.parquet", 52) == [expected[52]]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), max_size=6), st.integers(0, 99), st.booleans())
def test_lineage_agrees_with_the_segments(
    lineage: Lineage, shards: list[tuple[int, int]], seed: int, wide: bool
) -> None:
    run = str(uuid.uuid4())
    lineage.start_run(run, {}, "hash", "1.0", WIDE if wide else OUTCOMES)
    lineage.record_sources(run, sources(3))
    ends = [0, 0, 0]
    segments = []
    for source, length in shards:
        first = ends[source]
        found = segment(seed, source, first, length, run=run, wide=wide)
        segments.append(dataclasses.replace(found, shard=f"{source:07d}-{len(segments):05d}"))
        ends[source] += length
    lineage.upsert_segments(segments)
    expected = lineage_rows(segments)
    assert view(lineage, run) == expected
    each = f"SELECT traced.* FROM lineage AS l, LATERAL (SELECT {COLUMNS} FROM %s) AS traced WHERE l.run = %%s"
    order = " ORDER BY l.document"
    by_source = each % "trace_source(l.run, l.source_uri, l.source_row)"
    assert rows(lineage, by_source + order, run) == expected
    by_output = each % "trace_output(l.token_object, l.token_row) WHERE run = l.run"
    funnel = Counter[tuple[Any, ...]]()
    for row in expected:
        funnel[row[3:6]] += 1
    counted = rows(lineage, "SELECT outcome, reason, language, documents FROM funnel(%s)", run)
    assert {row[:3]: row[3] for row in counted} == funnel
    assert len(counted) == len(funnel)
    kept = [row for row in expected if row[3] == "kept"]
    assert rows(lineage, by_output + order, run) == kept
    for witness in {row[6:8] for row in expected if row[6]}:
        query = f"SELECT {COLUMNS} FROM duplicates_of(%s, %s, %s) ORDER BY document"
        assert rows(lineage, query, run, *witness) == [row for row in expected if row[6:8] == witness]


def test_a_trace_of_nothing_has_no_row(run: Lineage) -> None:
    run.upsert_segments([segment(1, 0, rows=50), segment(2, 1, state="fingerprinted")])
    uri = "s3://bucket/in/part-00{}.parquet"
    for source, row in [(0, 50), (0, 2**32 - 1), (0, -1), (0, 2**40), (1, 0), (2, 0), (9, 0)]:
        assert rows(run, "SELECT * FROM trace_source(%s, %s, %s)", RUN, uri.format(source), row) == []
    token_object = segment(1, 0).token_object
    for row in (-1, segment(1, 0).outcomes.count(b"k"), 2**31):
        assert rows(run, "SELECT * FROM trace_output(%s, %s)", token_object, row) == []


def test_a_trace_reads_one_segment_by_index(run: Lineage) -> None:
    run.upsert_segments([segment(1, 0, first_row=50 * i) for i in range(200)])
    run.read(lambda connection: connection.execute("ANALYZE segments"))
    plan = "EXPLAIN (FORMAT TEXT) SELECT * FROM segments WHERE run = %s AND source = 0 AND first_row <= 4321"
    shown = "\n".join(line for (line,) in rows(run, plan + " ORDER BY first_row DESC LIMIT 1", RUN))
    assert "Index Scan Backward" in shown
    assert "Sort" not in shown


# --- Writing ----------------------------------------------------------------------------------------------------------


def stored(lineage: Lineage) -> list[tuple[Any, ...]]:
    return rows(lineage, "SELECT xmin::text, segments.* FROM segments ORDER BY run, shard")


def attempts(lineage: Lineage) -> list[tuple[Any, ...]]:
    return rows(lineage, "SELECT state, attempts FROM segments ORDER BY run, shard")


def test_writing_the_same_again_changes_nothing(run: Lineage) -> None:
    run.upsert_segments([segment(1), segment(2, 1, state="fingerprinted")])
    before = stored(run)
    run.upsert_segments([segment(2, 1, state="fingerprinted"), segment(1)])
    # What a resumed run knows of a finished shard: no costs.
    run.upsert_segments([dataclasses.replace(segment(1), costs={})])
    assert stored(run) == before


def test_a_shard_goes_forward_only(run: Lineage) -> None:
    run.upsert_segments([dataclasses.replace(segment(1, state="fingerprinted"), costs={"Fingerprint": {"wall": 1.0}})])
    assert attempts(run) == [("fingerprinted", 1)]
    run.upsert_segments([segment(1)])
    assert attempts(run) == [("done", 1)]
    run.upsert_segments([segment(1, state="fingerprinted")])
    run.upsert_segments([Segment(RUN, segment(1).shard, 0, 0, 0, "unreadable", error="gone")])
    assert attempts(run) == [("done", 1)]
    assert view(run) == lineage_rows([segment(1)])
    assert rows(run, "SELECT costs FROM segments") == [
        ({"Fingerprint": {"wall": 1.0}, "ReadDocuments": {"wall": 0.5, "cpu": 0.25}},)
    ]


def test_another_result_for_a_shard_counts_as_an_attempt(run: Lineage) -> None:
    run.upsert_segments([segment(1)])
    run.upsert_segments([segment(2)])
    assert attempts(run) == [("done", 2)]
    assert view(run) == lineage_rows([segment(2)])
    assert runs.progress(run, RUN).retries == 1


def test_a_shard_may_come_twice_in_one_call(run: Lineage) -> None:
    run.upsert_segments([segment(1, state="fingerprinted"), segment(2, 1), segment(1), segment(1)])
    assert view(run) == lineage_rows([segment(1), segment(2, 1)])


def test_segments_of_an_unknown_run_are_refused(lineage: Lineage) -> None:
    with pytest.raises(ValueError, match=f"run {RUN} wasn't started"):
        lineage.upsert_segments([segment(1)])


def test_all_segments_of_a_call_are_written_or_none(run: Lineage) -> None:
    with pytest.raises(ValueError, match="wasn't started"):
        run.upsert_segments([segment(1), segment(1, run=str(uuid.uuid4()))])
    assert stored(run) == []


def test_a_run_is_resumed_with_the_same_settings_only(run: Lineage) -> None:
    run.finish_run(RUN, "failed", {"error": "x"})
    run.start_run(RUN, {"threshold": 0.8}, "hash", "1.1", OUTCOMES)
    progress = runs.progress(run, RUN)
    assert (progress.state, progress.starts, progress.finished, progress.code_version) == ("running", 2, None, "1.1")
    with pytest.raises(ValueError, match="other settings"):
        run.start_run(RUN, {"threshold": 0.7}, "other hash", "1.1", OUTCOMES)
    run.finish_run(RUN, "done", {"documents": 3})
    assert rows(run, "SELECT state, summary FROM runs") == [("done", {"documents": 3})]
    with pytest.raises(ValueError, match="state: 'over'"):
        run.finish_run(RUN, "over", {})
    with pytest.raises(ValueError, match="wasn't started"):
        run.finish_run(str(uuid.uuid4()), "done", {})


def test_postgresql_knows_how_many_rows_are_staged(lineage: Lineage) -> None:
    """Else it joins 100,000 sources with 100,000 in a loop: minutes."""
    lineage.start_run(RUN, {}, "hash", "1", OUTCOMES)
    lineage.record_sources(RUN, [Source(number, f"file:///{number}", "etag", 1) for number in range(3000)])
    known = lineage.read(
        lambda connection: connection.execute(
            "SELECT reltuples FROM pg_class WHERE oid = to_regclass('pg_temp.staged_sources')"
        ).fetchone()
    )
    assert known == (3000,)


def test_sources_keep_their_numbers(run: Lineage) -> None:
    run.record_sources(RUN, sources(4))
    assert rows(run, "SELECT count(*) FROM sources") == [(4,)]
    with pytest.raises(ValueError, match=r"source 3 was s3://bucket/in/part-003\.parquet \(ETag etag3\).*\(ETag new\)"):
        run.record_sources(RUN, [dataclasses.replace(sources(4)[3], etag="new")])
    run.set_source_states(
        RUN, [SourceState(3, "ok", 10, 2), SourceState(0, "unreadable: \0 \udcff"), SourceState(1, "ok")]
    )
    assert rows(run, "SELECT number, rows, shards, state FROM sources ORDER BY number") == [
        (0, None, 0, "unreadable: \\u0000 \\udcff"),
        (1, None, 0, "ok"),
        (2, None, None, "ok"),
        (3, 10, 2, "ok"),
    ]
    with pytest.raises(ValueError, match="sources 3 to 9 1 weren't recorded"):
        run.set_source_states(RUN, [SourceState(9, "ok"), SourceState(3, "ok")])


def test_a_run_can_be_dropped_without_the_others(run: Lineage) -> None:
    other = str(uuid.uuid4())
    run.start_run(other, {}, "hash", "1.0", OUTCOMES)
    run.record_sources(other, sources(3))
    run.upsert_segments([segment(1), segment(1, run=other)])
    run.drop_run(RUN)
    assert view(run) == []
    assert view(run, other) == lineage_rows([segment(1)])
    assert rows(run, "SELECT DISTINCT run::text FROM outcomes UNION SELECT run::text FROM runs") == [(other,)]


# --- Strings ----------------------------------------------------------------------------------------------------------

ODD = ["'; DROP TABLE runs; --", "\"\\'$$ %s {} \t\n", "\\x00\\N", "ü" * 500_000, "日本語\u202e", "\\u0000"]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_odd_strings_are_stored_as_they_are(lineage: Lineage, odd: str) -> None:
    lineage.start_run(RUN, {odd: [odd]}, odd, odd, OUTCOMES)
    lineage.record_sources(RUN, [Source(0, odd, odd, 1)])
    one = dataclasses.replace(segment(1, rows=1, sources=1), token_object=odd, language_names=(odd,) * 4)
    one = dataclasses.replace(
        one, languages=np.zeros(1, np.int16), costs={odd: odd}, counts={"funnel": [["k", odd, 1, 1, 1]]}
    )
    one = dataclasses.replace(
        one,
        outcomes=b"k",
        duplicate_rows=one.duplicate_rows[:0],
        witness_sources=one.witness_sources[:0],
        witness_rows=one.witness_rows[:0],
        similarities=one.similarities[:0],
    )
    lineage.upsert_segments([one])
    expected = [(odd, 0, 0, "kept", "", odd, None, None, None, odd, 0)]
    assert view(lineage) == expected
    assert rows(lineage, f"SELECT {COLUMNS} FROM trace_source(%s, %s, 0)", RUN, odd) == expected
    assert rows(lineage, f"SELECT {COLUMNS} FROM trace_output(%s, 0)", odd) == expected
    assert rows(lineage, "SELECT settings, costs FROM runs, segments") == [({odd: [odd]}, {odd: odd})]
    assert [row.language for row in runs.totals(lineage, RUN).funnel] == [odd]


@pytest.mark.parametrize("bad", ["a\0b", "a\udcffb"])
def test_what_cannot_be_stored_is_refused_by_its_place(run: Lineage, bad: str) -> None:
    with pytest.raises(ValueError, match=r"URI of source 7: .* has "):
        run.record_sources(RUN, [Source(7, bad, "", 1)])
    with pytest.raises(ValueError, match=r"settings\.a\[1\]: "):
        run.start_run(RUN, {"a": [1, bad]}, "hash", "1.0", OUTCOMES)
    for name, value in [
        ("token_object", bad),
        ("language_names", (bad,) * 4),
        ("counts", {"x": bad}),
        ("costs", {bad: 1}),
    ]:
        with pytest.raises(ValueError, match=f"{name}.* of the segment of shard 0000000-00000.* has "):
            run.upsert_segments([dataclasses.replace(segment(1), **{name: value})])
    with pytest.raises(ValueError, match=r"costs of the segment .* not JSON"):
        run.upsert_segments([dataclasses.replace(segment(1), costs={"x": math.nan})])
    run.upsert_segments([Segment(RUN, "0000001-00000", 1, 0, 0, "unreadable", error=bad)])
    run.finish_run(RUN, "failed", {"error": [bad]})
    escaped = bad.replace("\0", "\\u0000").replace("\udcff", "\\udcff")
    assert rows(run, "SELECT summary FROM runs") == [({"error": [escaped]},)]
    assert rows(run, "SELECT error FROM segments") == [(escaped,)]


# --- Books and progress -----------------------------------------------------------------------------------------------


def test_the_counts_add_up(run: Lineage) -> None:
    done = [segment(1, 0), segment(2, 0, first_row=50), segment(3, 1, rows=30)]
    run.upsert_segments(done)
    run.upsert_segments([Segment(RUN, "0000002-00000", 2, 0, 0, "unreadable", error="not Parquet")])
    states = [
        SourceState(0, "ok", 100, 2),
        SourceState(1, "ok", -1, 1),
        SourceState(2, "unreadable: not Parquet", 0, 1),
    ]
    run.set_source_states(RUN, states)
    totals = runs.totals(run, RUN)
    assert totals.documents == 130
    assert totals.unreadable == (("s3://bucket/in/part-002.parquet", "not Parquet"),)
    assert totals.balanced
    expected: dict[Any, Amount] = {}
    languages: dict[Any, Amount] = {}
    for row in lineage_rows(done):
        key = row[3:5]
        amount = Amount(1, 10, 2 if row[3] == "kept" else 0)
        expected[key] = expected.get(key, Amount()) + amount
        if row[3] == "kept":
            languages[row[5]] = languages.get(row[5], Amount()) + amount
    assert totals.by_reason() == expected
    assert totals.by_language() == languages


def test_missing_documents_are_noticed(run: Lineage) -> None:
    run.set_source_states(RUN, [SourceState(0, "ok", 100, 2), SourceState(1, "ok", 30, 1), SourceState(2, "ok", 50, 2)])
    miscounted = dataclasses.replace(segment(3, 1, rows=30), counts={"funnel": [["k", None, 29, 0, 0]]})
    # Source 2: as many rows as there should be, but ten of them twice and ten not at all.
    overlapping = [segment(5, 2, rows=30), segment(6, 2, first_row=20, rows=20)]
    run.upsert_segments([segment(1, 0), segment(2, 0, first_row=50, state="fingerprinted"), miscounted, *overlapping])
    totals = runs.totals(run, RUN)
    assert totals.unfinished == ("0000000-00050",)
    assert totals.uncounted == ("0000001-00000",)
    assert totals.gaps == (
        SourceGap(0, "s3://bucket/in/part-000.parquet", 100, 50, 2, 1),
        SourceGap(2, "s3://bucket/in/part-002.parquet", 50, 50, 2, 2),
    )
    assert not totals.balanced


def test_an_undeclared_outcome_does_not_add_up(run: Lineage) -> None:
    run.set_source_states(RUN, [SourceState(i, "ok", 50, 1) for i in range(3)])
    run.upsert_segments([segment(1, i) for i in range(3)])
    assert runs.totals(run, RUN).balanced
    run.upsert_segments([dataclasses.replace(segment(1), counts={"funnel": [["Z", None, 50, 0, 0]]})])
    assert not runs.totals(run, RUN).balanced


def test_progress_counts_what_is_there(run: Lineage) -> None:
    assert runs.progress(run, RUN).shards == {"waiting": 0}
    run.set_source_states(RUN, [SourceState(0, "ok", 100, 2), SourceState(1, "unreadable: x", 0, 1)])
    run.upsert_segments([segment(1, 0), segment(2, 0, first_row=50, rows=40, state="fingerprinted")])
    progress = runs.progress(run, RUN)
    assert progress.sources == {"ok": 1, "unreadable": 1, "waiting": 1}
    assert progress.shards == {"done": 1, "fingerprinted": 1, "waiting": 1}
    assert (progress.documents, progress.fingerprinted, progress.done) == (100, 90, 50)
    assert progress.remaining_seconds is None
    [worker] = progress.workers
    assert (worker.name.rpartition(":")[2], worker.shards) == (str(os.getpid()), 2)
    assert progress.done_per_second == pytest.approx(50 / progress.seconds)
    assert progress.fingerprinted_per_second == pytest.approx(90 / progress.seconds)
    assert runs.latest(run) == RUN
    with pytest.raises(ValueError, match="isn't in database"):
        runs.progress(run, str(uuid.uuid4()))


# --- Migrations -------------------------------------------------------------------------------------------------------


def test_many_may_migrate_at_once(database: str) -> None:
    def once(_: int) -> None:
        with connect(database) as connection:
            migrate(connection)
            check_schema(connection)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(once, range(4)))
    with connect(database) as connection:
        applied = connection.execute("SELECT name FROM lineage_migrations ORDER BY version").fetchall()
    assert [name for (name,) in applied] == sorted(path.name for path in (ROOT / "schemas" / "sql").glob("*.sql"))


def test_a_schema_of_another_version_is_refused(database: str) -> None:
    with connect(database) as connection:
        with pytest.raises(LineageSchemaError, match="has no lineage in it"):
            check_schema(connection)
        migrate(connection)
        connection.execute("INSERT INTO lineage_migrations VALUES (999, '0999_later.sql', '')")
        for action in (check_schema, migrate):
            with pytest.raises(LineageSchemaError, match=r"0999_later\.sql.*newer"):
                action(connection)
        connection.execute("DELETE FROM lineage_migrations WHERE version IN (2, 999)")
        with pytest.raises(LineageSchemaError, match=r"lacks 0002_lineage\.sql"):
            check_schema(connection)
        connection.execute("UPDATE lineage_migrations SET sha256 = 'x'")
        with pytest.raises(LineageSchemaError, match=r"0001_tables\.sql isn't the one"):
            migrate(connection)


# --- Connections and faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dsn", ["host=db password=s3cret dbname=x", "postgresql://me:s3cret@db/x?sslpassword=s3cret"])
def test_no_password_is_shown_or_passed_on(dsn: str) -> None:
    assert "s3cret" not in public_dsn(dsn)
    assert has_password(dsn)
    assert not has_password(public_dsn(dsn))
    with pytest.raises(ValueError, match="lineage_dsn: leave the password out") as refused:
        WriteLineage(dsn)
    unreachable = psycopg.conninfo.make_conninfo(dsn, host="127.0.0.1", port=1)
    with pytest.raises(
        LineageUnavailable, match=r"'x' on 127\.0\.0\.1 can't be used \(given up after 0\.3 s"
    ) as failed:
        Lineage(unreachable, retry_seconds=0.3).check_schema()
    assert "s3cret" not in f"{refused.value} {failed.value}"


@pytest.mark.parametrize("action", [public_dsn, has_password, Lineage, WriteLineage])
def test_what_is_no_dsn_is_not_repeated(action: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="lineage_dsn: not a PostgreSQL connection string") as refused:
        action("host=db s3cret")
    assert "s3cret" not in str(refused.value)


def test_a_database_that_is_not_there_is_not_waited_for(postgres: Server) -> None:
    started = time.monotonic()
    with pytest.raises(LineageUnavailable, match=r"'nowhere' .* \(not tried again\).*does not exist"):
        Lineage(psycopg.conninfo.make_conninfo(postgres.dsn, dbname="nowhere"), retry_seconds=60).migrate()
    assert time.monotonic() - started < 30


def writer(database: str, code: str) -> subprocess.Popen[str]:
    program = (
        "import transforms.io.lineage as module\n"
        "from tests.lineage_examples import WIDE, codes_of, segment\n"
        f"lineage = module.Lineage({database!r}, 30)\n{code}"
    )
    return subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, text=True)


def test_a_writer_killed_in_mid_transaction_leaves_nothing(run: Lineage, database: str) -> None:
    process = writer(
        database,
        'module._UPSERT_SEGMENTS += "; SELECT pg_sleep(1.5)"\nlineage.upsert_segments([segment(1), segment(2, 1)])',
    )
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    deadline = time.monotonic() + 30
    while rows(run, sleeping) != [(1,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert stored(run) == []
    run.upsert_segments([segment(1), segment(2, 1)])  # waits for the rows of the dead
    assert attempts(run) == [("done", 1), ("done", 1)]
    assert view(run) == lineage_rows([segment(1), segment(2, 1)])


def test_writers_of_the_same_segments_leave_one_of_each(run: Lineage, database: str) -> None:
    both = [f"[segment(1, i % 3, 50 * i) for i in {order}(range(30))]" for order in ("list", "reversed")]
    code = "for s in {0}: lineage.upsert_segments([s])\nlineage.upsert_segments({0})"
    processes = [writer(database, code.format(segments)) for segments in both]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    segments = [segment(1, i % 3, 50 * i) for i in range(30)]
    assert attempts(run) == [("done", 1)] * 30
    assert view(run) == lineage_rows(segments)


def test_killed_writers_and_a_restart_leave_each_segment_once(run: Lineage, database: str, postgres: Server) -> None:
    write_under_faults(run, postgres, database, writers=4, killed=1, segments=90, rows=50, restarts=1)
    assert rows(run, "SELECT count(*), count(DISTINCT shard), max(attempts) FROM segments") == [(90, 90, 1)]
    assert view(run) == lineage_rows(all_segments(90, 50))


def test_more_writers_than_connections_wait_for_each_other(run: Lineage, database: str, postgres: Server) -> None:
    role = f"few_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 2 IN ROLE pg_write_all_data".encode())
        connection.execute(f"GRANT pg_read_all_data TO {role}".encode())
    try:
        dsn = psycopg.conninfo.make_conninfo(database, user=role)
        segments = [segment(1, i % 3, 50 * i) for i in range(24)]

        def write(number: int) -> None:
            for one in segments[number::8]:
                with Lineage(dsn, 60) as own:  # as a worker does: a connection a bundle
                    own.upsert_segments([one])

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        assert view(run) == lineage_rows(segments)
    finally:
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {role}".encode())


def test_what_is_acknowledged_outlives_restarts_of_the_server(run: Lineage, postgres: Server) -> None:
    segments = [segment(1, i % 3, 50 * i) for i in range(4000)]
    acknowledged: list[Segment] = []
    stopping = threading.Event()

    def write() -> None:
        for one in segments:
            if stopping.is_set():
                return
            run.upsert_segments([one])
            acknowledged.append(one)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        for _ in range(2):
            before = len(acknowledged)
            while len(acknowledged) < before + 5 and not writing.done():
                time.sleep(0.01)
            postgres.restart()
        before = len(acknowledged)
        while len(acknowledged) < before + 5 and not writing.done():
            time.sleep(0.01)
        stopping.set()
        writing.result(timeout=30)
    assert 15 <= len(acknowledged) < len(segments)
    assert view(run) == lineage_rows(acknowledged)
    assert {count for _, count in attempts(run)} == {1}


# --- The transforms ---------------------------------------------------------------------------------------------------


def test_write_lineage_writes_and_emits_nothing(run: Lineage, database: str) -> None:
    segments = [segment(1, i % 3, 50 * i) for i in range(40)]
    states = [SourceState(i, "ok", 50 * 40, 40) for i in range(3)]
    for _ in range(2):
        with beam.Pipeline() as pipeline:
            written = pipeline | "Segments" >> beam.Create(segments) | WriteLineage(database)
            known = pipeline | "States" >> beam.Create(states) | WriteSources(database, RUN)
            assert_that((written, known) | beam.Flatten(), equal_to([]))
    assert view(run) == lineage_rows(segments)
    assert attempts(run) == [("done", 1)] * 40
    assert rows(run, "SELECT sum(shards) FROM sources") == [(120,)]


def test_document_ids_in_the_lineage_are_those_of_the_tokens(run: Lineage) -> None:
    run.upsert_segments([segment(1, 2, first_row=2**32 - 50)])
    assert [row[2] for row in view(run)] == [document_id(2, 2**32 - 50 + k) for k in range(50)]
    assert rows(run, f"SELECT {COLUMNS} FROM trace_document(%s, %s)", RUN, document_id(2, 2**32 - 1)) == view(run)[-1:]


# --- Runs side by side ------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 40), max_size=4),
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(0, 99),
    st.sampled_from([(False, False), (False, True), (True, True)]),
)
def test_runs_are_compared_document_by_document(
    lineage: Lineage, a: list[int], b: list[int], seed: int, wide: tuple[bool, bool]
) -> None:
    runs = str(uuid.uuid4()), str(uuid.uuid4())
    expected: Counter[tuple[Any, ...]] = Counter()
    outcomes: list[dict[tuple[str, int], tuple[str, str]]] = []
    for run, lengths, has_more in zip(runs, (a, b), wide, strict=True):
        lineage.start_run(run, {}, "hash", "1.0", WIDE if has_more else OUTCOMES)
        # Numbered differently: the first source of the second run is new, and source 2 of both has changed.
        shift = int(run == runs[1])
        there = [dataclasses.replace(source, number=source.number + shift) for source in sources(3)]
        there += [Source(0, "s3://bucket/in/a-new-one", "etag", 1)] * shift
        there[2] = dataclasses.replace(there[2], etag=run)
        lineage.record_sources(run, there)
        segments, found = [], {}
        for number in range(3):
            first = 0
            for length in lengths:
                one = segment(seed + shift, number + shift, first, length, run=run, wide=has_more)
                segments.append(dataclasses.replace(one, shard=f"{number}-{len(segments)}"))
                found |= {
                    (there[number].uri, first + k): WIDE.table[code]
                    for k, code in enumerate(codes_of(segments[-1]))
                    if number < 2
                }
                first += length
        lineage.upsert_segments(segments)
        outcomes.append(found)
    for place in outcomes[0].keys() & outcomes[1].keys():
        expected[*outcomes[0][place], *outcomes[1][place]] += 1
    found_pairs = rows(lineage, "SELECT * FROM compare_runs(%s, %s)", *runs)
    assert {row[:4]: row[4] for row in found_pairs} == expected
    assert len(found_pairs) == len(expected)
