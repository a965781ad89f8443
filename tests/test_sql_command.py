"""``sql``, ``postgres``, ``status --watch`` into a pipe, and how the command's own log lines look."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from beam_pipeline import embedded_postgres, logs
from beam_pipeline.cli import main
from beam_pipeline.commands import sql
from beam_pipeline.commands.flink_local import flags_of
from runners.flink_local import Cluster
from schemas.run_layout import Deciding, StoredPlan
from tests.lineage_examples import OUTCOMES, RUN, sources
from tests.postgres import public_folder
from transforms.io.lineage import Lineage

OTHER = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def output(lineage: Lineage, database: str, tmp_path: Path) -> str:
    """The output folder of a run with four sources; another run has two."""
    for run, count in ((RUN, 4), (OTHER, 2)):
        lineage.start_run(run, {}, "hash", "1.0", OUTCOMES)
        lineage.record_sources(run, sources(count))
    (tmp_path / "plan.json").write_bytes(StoredPlan(RUN, "", Deciding({}, {}), lineage_dsn=database).encode())
    return str(tmp_path)


QUERY = "SELECT number, uri, rows FROM sources WHERE run = :'run' ORDER BY number"


def test_rows_as_a_table_as_csv_and_as_json(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    uris = [source.uri for source in sources(4)]
    assert main(["sql", "--output", output, QUERY]) == 0
    shown = capsys.readouterr().out
    assert all(uri in shown for uri in uris) and "number" in shown
    assert main(["sql", "--output", output, "--json", QUERY]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"number": number, "uri": uri, "rows": None} for number, uri in enumerate(uris)
    ]
    assert main(["sql", "--output", output, "--csv", f"{QUERY};"]) == 0
    read = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert read == [["number", "uri", "rows"], *([str(number), uri, ""] for number, uri in enumerate(uris))]


def test_no_rows_are_an_answer(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "--output", output, "--json", "SELECT 1 AS one WHERE false"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("DELETE FROM runs", "DELETE"),
        ("CREATE TABLE mine (a int)", "CREATE"),
        ("SELECT nonsense FROM runs", 'column "nonsense" does not exist'),
        ("SELEC 1", "syntax error"),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused(
    output: str, lineage: Lineage, capsys: pytest.CaptureFixture[str], query: str, said: str
) -> None:
    assert main(["sql", "--output", output, query]) == 2
    assert said in capsys.readouterr().err
    count = "SELECT count(*) FROM runs"
    assert lineage.read(lambda connection: connection.execute(count.encode()).fetchall()) == [(2,)]


def test_a_query_that_only_looks_harmless_changes_nothing(
    output: str, lineage: Lineage, capsys: pytest.CaptureFixture[str]
) -> None:
    changing = "SELECT setval('pg_class_oid_index'::regclass, 1); DELETE FROM runs; SELECT 1"
    assert main(["sql", "--output", output, changing]) == 2
    assert lineage.read(lambda connection: connection.execute("SELECT count(*) FROM runs").fetchall()) == [(2,)]


def test_a_long_table_says_that_it_is_cut(
    output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "MOST_SHOWN", 3)
    assert main(["sql", "--output", output, QUERY]) == 0
    assert "Only the first 3 rows are shown" in capsys.readouterr().out


def test_psql_opens_on_the_run(output: str, capfd: pytest.CaptureFixture[str]) -> None:
    question = Path(output) / "question.sql"
    question.write_text(
        "\\pset format unaligned\nSELECT count(*) FROM sources WHERE run = :'run';\nDELETE FROM runs;\n"
    )
    with question.open() as typed:
        before = os.dup(0)
        os.dup2(typed.fileno(), 0)
        try:
            main(["sql", "--output", output])
        finally:
            os.dup2(before, 0)
            os.close(before)
    said = capfd.readouterr()
    assert "\n4\n" in said.out
    assert "read-only transaction" in said.err


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder of its own."""
    with public_folder() as folder:
        monkeypatch.setenv("BEAM_PIPELINE_DATA_DIR", str(folder / "data"))
        yield folder / "data"
        embedded_postgres.let_go()


def _answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def test_the_embedded_server_stays_up_until_it_is_let_go(own_server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["postgres", "up"]) == 0
    dsn = capsys.readouterr().out.strip()
    embedded_postgres.stop()  # what the end of the command does
    assert _answers(dsn)
    assert main(["postgres", "dsn"]) == 0
    said = capsys.readouterr()
    assert (said.out.strip(), said.err) == (dsn, "")
    assert main(["postgres", "down"]) == 0
    deadline = time.monotonic() + 30
    while _answers(dsn) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _answers(dsn)


def test_watching_into_a_pipe_prints_a_line_a_look(
    output: str, lineage: Lineage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(capsys.readouterr().out)
        if len(looks) == 2:
            lineage.finish_run(RUN, "done", {})

    lineage.beat(RUN)
    monkeypatch.setattr(time, "sleep", sleep)
    assert main(["status", "--output", output, "--watch", "--every", "0.1"]) == 0
    assert len(looks) == 2
    assert all(look.count("\n") == 1 and f"run {RUN}: running; shards: " in look for look in looks)
    assert f"run {RUN}: done" in capsys.readouterr().out


def test_a_line_on_the_terminal_names_its_level_once() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    try:
        root.handlers[:] = []
        logs.set_up(Console(file=written, force_terminal=True, width=200))
        logging.getLogger("beam_pipeline.run").info("the run begins")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert "begins" in written.getvalue()
    assert written.getvalue().count("INFO") == 1 and "beam_pipeline.run" not in written.getvalue()


def test_a_flink_cluster_in_a_folder_of_its_own_is_named_with_its_workers(tmp_path: Path) -> None:
    ports = {"rest": 1, "rpc": 2, "workers": 3, "job": 4, "artifact": 5, "expansion": 6}
    elsewhere = Cluster(tmp_path / "flink", ports=ports)
    flags = flags_of(elsewhere)
    assert flags[flags.index("--flink_master") + 1] == elsewhere.rest_address
    assert flags[flags.index("--environment_config") + 1] == elsewhere.environment_config
    assert "--environment_config" not in flags_of(Cluster(Cluster.at().folder, ports=ports))
