from __future__ import annotations

import dataclasses
import json
import threading
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from beam_pipeline.cli import main
from beam_pipeline.commands import compare, duplicates, funnel, init_db, status, trace, why
from beam_pipeline.lineage import runs
from schemas.run_layout import Deciding, StoredPlan
from schemas.segments import Segment, SourceState
from schemas.shards import document_id
from tests.lineage_examples import OUTCOMES, RUN, lineage_rows, segment, sources
from tests.runs import ROOT
from transforms.io.lineage import Lineage

DONE = segment(1, 0, first_row=50)


@pytest.fixture
def output(lineage: Lineage, database: str, tmp_path: Path) -> str:
    """The output folder of a run that is under way: of four sources one is done, one read, one broken, one waiting."""
    lineage.start_run(RUN, {}, "hash", "1.0", OUTCOMES)
    lineage.record_sources(RUN, sources(4))
    states = [
        SourceState(0, "ok", 100, 2),
        SourceState(1, "ok", 50, 1),
        SourceState(2, "unreadable: not Parquet", 0, 1),
    ]
    lineage.set_source_states(RUN, states)
    broken = Segment(RUN, "0000002-00000", 2, 0, 0, "unreadable", error="not Parquet")
    lineage.upsert_segments([DONE, segment(2, 1, state="fingerprinted"), broken])
    (tmp_path / "plan.json").write_bytes(StoredPlan(RUN, "", Deciding({}, {}), lineage_dsn=database).encode())
    return str(tmp_path)


def call(command: ModuleType, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    name = command.__name__.rpartition(".")[2].replace("_", "-")
    returned = main([name, *map(str, arguments)])
    captured = capsys.readouterr()
    return returned, captured.out, captured.err


def test_a_document_is_traced_both_ways(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    for row in lineage_rows([DONE]):
        source, source_row, document, outcome, _, _, witness, *_, token_object, token_row = row
        questions: list[tuple[Any, ...]] = [("--source", source, "--row", source_row), ("--id", document)]
        if outcome == "kept":
            questions.append(("--object", token_object, "--row", token_row))
        elif witness is None:
            continue  # two questions a reason are enough
        for question in questions:
            returned, out, _ = call(trace, capsys, "--output", output, "--json", *question)
            found = json.loads(out)
            assert returned == 0
            assert tuple(found[name] for name in list(found)[1:12]) == row
            assert (found["run"], found["shard"], found["shard_state"]) == (RUN, "0000000-00050", "done")


def test_the_end_of_a_uri_is_enough(output: str, capsys: pytest.CaptureFixture[str], database: str) -> None:
    returned, out, _ = call(trace, capsys, "--lineage_dsn", database, "--source", "000.parquet", "--row", "60")
    assert returned == 0
    assert "s3://bucket/in/part-000.parquet" in out
    assert str(document_id(0, 60)) in out
    returned, _, err = call(trace, capsys, "--output", output, "--source", ".parquet", "--row", "60")
    assert returned == 2
    assert "--source: several URIs end with '.parquet': s3://bucket/in/part-000.parquet, " in err


@pytest.mark.parametrize(
    ("question", "status_code", "message"),
    [
        (("--source", "part-000.parquet", "--row", 100), 1, "has 100 rows, none with number 100"),
        (("--source", "part-000.parquet", "--row", 10), 1, "isn't read yet"),
        (("--source", "part-001.parquet", "--row", 10), 1, "is read but not decided on yet"),
        (("--source", "part-002.parquet", "--row", 0), 1, "is unreadable: not Parquet"),
        (("--source", "part-003.parquet", "--row", 0), 1, "isn't read yet"),
        (("--source", "part-009.parquet", "--row", 0), 1, "has no URI that is"),
        (("--id", document_id(9, 0)), 1, "has no source 9"),
        (("--object", "0000000-00050.parquet", "--row", 50), 1, "has no row 50"),
        (("--source", "part-000.parquet"), 2, "--row: needed"),
        (("--id", 5, "--row", 1), 2, "--row: needed"),
        (("--id", -1), 2, "--id: -1"),
        (("--source", "part-000.parquet", "--row", -1), 2, "--row: -1"),
    ],
)
def test_what_cannot_be_traced_is_explained(
    output: str, capsys: pytest.CaptureFixture[str], question: tuple[Any, ...], status_code: int, message: str
) -> None:
    returned, out, err = call(trace, capsys, "--output", output, *question)
    assert (returned, out) == (status_code, "")
    assert message in err


def test_status_says_how_far_a_run_is(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    returned, out, _ = call(status, capsys, "--output", output, "--json")
    found = json.loads(out)
    assert returned == 0
    assert (found["run"], found["state"]) == (RUN, "running")
    assert found["sources"] == {"ok": 2, "unreadable": 1, "waiting": 1}
    assert found["shards"] == {"done": 1, "fingerprinted": 1, "unreadable": 1, "waiting": 1}
    assert (found["documents"], found["fingerprinted"], found["done"]) == (150, 100, 50)
    returned, out, _ = call(status, capsys, "--output", output)
    assert returned == 0
    assert "2 ok, 1 unreadable, 1 waiting" in out


@pytest.mark.parametrize("command", [status, trace])
def test_wrong_places_are_explained(
    command: ModuleType, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what = ("--id", 1) if command is trace else ()
    returned, _, err = call(command, capsys, "--output", tmp_path / "nothing", *what)
    assert returned == 1
    assert "plan.json" in err
    (tmp_path / "plan.json").write_text("{}")
    returned, _, err = call(command, capsys, "--output", tmp_path, *what)
    assert returned == 2
    assert "isn't the plan of a run" in err
    assert call(command, capsys, "--run", "x", *what)[0] == 2
    assert call(command, capsys, "--lineage_dsn", "host=db s3cret", *what) == (
        2,
        "",
        "beam_pipeline: lineage_dsn: not a PostgreSQL connection string; "
        "give one like 'host=db dbname=lineage user=me'\n",
    )
    returned, _, err = call(command, capsys, "--lineage_dsn", database, *what)
    assert returned == 1
    assert "has no lineage in it" in err


def test_without_a_run_there_is_nothing_to_show(
    lineage: Lineage, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    returned, _, err = call(status, capsys, "--lineage_dsn", database)
    assert returned == 1
    assert "there is no run" in err
    returned, _, err = call(status, capsys, "--lineage_dsn", database, "--run", RUN)
    assert returned == 2
    assert "isn't in database" in err


def ask(command: ModuleType, capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    returned, out, err = call(command, capsys, *arguments, "--json")
    assert returned == 0, err
    return json.loads(out)


def test_why_and_duplicates_agree_with_the_view(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    # Witnesses of the examples are made up: some are no document of a finished shard.
    expected = lineage_rows([DONE])
    for row in expected[:20]:
        if row[3] != "dropped" or row[6] is None:
            answer = ask(why, capsys, "--output", output, "--id", row[2])
            assert answer["document"]["document"] == row[2]
            assert {"kept": "was kept", "dropped": "was dropped", "invalid": "can't be used"}[row[3]] in answer[
                "because"
            ][0]
            if row[3] == "kept":
                assert answer["duplicates"] == sum(other[6:8] == row[:2] for other in expected)
        else:
            found = ask(duplicates, capsys, "--output", output, "--id", row[2])
            assert found["kept"] == {"source_uri": row[6], "source_row": row[7]}
            assert [entry["document"] for entry in found["dropped"]] == [
                other[2] for other in expected if other[6:8] == row[6:8]
            ]
            assert call(duplicates, capsys, "--output", output, "--id", row[2])[0] == 0


def test_the_funnel_is_that_of_the_finished_shards(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = lineage_rows([DONE])
    cells = ask(funnel, capsys, "--output", output, "--by-language")
    assert {(cell["outcome"], cell["reason"], cell["language"]): cell["documents"] for cell in cells} == Counter(
        row[3:6] for row in rows
    )
    by_reason = ask(funnel, capsys, "--output", output)
    assert {(cell["outcome"], cell["reason"]): cell["documents"] for cell in by_reason} == Counter(
        row[3:5] for row in rows
    )
    _, out, _ = call(funnel, capsys, "--output", output, "--by-language")
    assert "50 documents of run" in out
    assert 'a "quoted"' in out
    reasons = {row[4] for row in rows if row[4]}
    assert any("_" in reason for reason in reasons) and all(reason in out for reason in reasons)


def test_a_run_compares_with_another(output: str, lineage: Lineage, capsys: pytest.CaptureFixture[str]) -> None:
    other = "7d1d3f1e-0000-4000-8000-000000000001"
    lineage.start_run(other, {"min_similarity": 0.7}, "hash", "1.0", OUTCOMES)
    lineage.record_sources(other, sources(3))
    lineage.upsert_segments([dataclasses.replace(DONE, run=other)])
    dsn = ("--lineage_dsn", json.loads((Path(output) / "plan.json").read_text())["lineage_dsn"])
    answer = ask(compare, capsys, output, other, *dsn)
    assert answer["settings"] == {"min_similarity": [None, 0.7]}
    assert answer["sources"] == {"only_first": 1, "only_second": 0, "changed": 0, "compared": 3}
    assert sum(row["documents"] for row in answer["documents"]) == 50
    assert all(
        (row["outcome_a"], row["reason_a"]) == (row["outcome_b"], row["reason_b"]) for row in answer["documents"]
    )
    returned, out, _ = call(compare, capsys, output, other, *dsn)
    assert returned == 0
    assert "min_similarity" in out
    returned, _, err = call(compare, capsys, output, "7d1d3f1e-0000-4000-8000-000000000002", *dsn)
    assert returned == 2
    assert "isn't in database" in err


def test_init_db_makes_the_tables_once(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = ask(init_db, capsys, "--lineage_dsn", database)
    assert list(first["migrations"]) == sorted(path.name for path in (ROOT / "schemas" / "sql").glob("*.sql"))
    assert ask(init_db, capsys, "--lineage_dsn", database) == first
    assert "0002_lineage.sql" in call(init_db, capsys, "--lineage_dsn", database)[1]


def test_status_watches_until_the_run_ends(
    output: str, lineage: Lineage, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def end() -> None:
        with Lineage(database) as other:
            other.finish_run(RUN, "stopped", {})

    timer = threading.Timer(0.5, end)
    timer.start()
    returned, out, _ = call(status, capsys, "--output", output, "--watch", "--every", 0.1)
    timer.join()
    assert returned == 0
    looks = out.splitlines()
    assert "stopped" in looks[-1]
    assert len(looks) >= 2 and all("running" in look for look in looks[:-1])
    assert runs.progress(lineage, RUN).state == "stopped"


ODD = ["'; DROP TABLE runs; --", "\"\\'$$ %s {} \t\n", "\\x00\\N", "ü" * 500_000, "[bold]%(row)s", "a\0b", "a\udcffb"]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_odd_arguments_are_answered_or_refused(
    output: str, lineage: Lineage, tmp_path: Path, capsys: pytest.CaptureFixture[str], odd: str
) -> None:
    before = everything(lineage)
    refused = "\0" in odd or "\udcff" in odd
    for command in (trace, why, duplicates):
        for question in (("--source", odd, "--row", 0), ("--object", odd, "--row", 0)):
            returned, out, err = call(command, capsys, "--output", output, *question)
            assert (returned, out) == (2 if refused else 1, "")
            assert f"{question[0]}: " in err
    returned, _, err = call(status, capsys, "--run", odd)
    assert returned == 2
    assert "--run: " in err
    assert everything(lineage) == before


def everything(lineage: Lineage) -> list[tuple[Any, ...]]:
    query = "SELECT xmin::text, runs::text FROM runs UNION ALL SELECT xmin::text, shard FROM segments ORDER BY 1, 2"
    return lineage.read(lambda connection: connection.execute(query).fetchall())
