"""Attributes, kept columns, edits and reasons of a run are in its files, its funnel and its traces; bytes are the same
after a kill, and `dedup` needs none of the steps."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline.sample import tokenizer_path
from tests import curated, runs


def fingerprints(output: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in sorted((output / "fingerprints").glob("*.parquet"))])


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return curated.write_sources(tmp_path_factory.mktemp("curated") / "in")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the researcher's module and the settings that name it."""
    folder = tmp_path_factory.mktemp("steps")
    shutil.copy(Path(__file__).with_name("example_steps.py"), folder / "curator.py")
    curated.write_config(folder, "curator")
    return folder


@pytest.fixture(scope="module")
def finished_run(sources: Path, steps: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{steps}:{runs.ROOT}")
        runs.run(sources, output, *flags(steps), "--direct_num_workers", 2)
    return output


def flags(steps: Path) -> tuple[object, ...]:
    return (*curated.SMALL_SHARDS, "--config", steps / "config.yaml", "--with_text")


def reasons(output: Path) -> list[str | None]:
    """Why each document was dropped by a step, by the fingerprints."""
    table = json.loads((output / "plan.json").read_text())["outcomes"]
    names = {ord(code): reason for code, (_, reason) in table.items()}
    return [None if code is None else names[code] for code in fingerprints(output)["outcome"].to_pylist()]


def is_beyond_a_byte(reason: str | None) -> bool:
    return bool(reason and reason.startswith("reason_") and int(reason.removeprefix("reason_")) > 68)


def trace(output: Path, place: int, *more: str) -> dict[str, Any]:
    """What is known of a document, by its place among all."""
    source = ("--source", f"{'ab'[place // 80]}.parquet", "--row", place % 80)
    return dict(runs.ask("trace", "--output", output, *source, *more))


def test_files_have_columns_attributes_and_edits_of_every_document(finished_run: Path) -> None:
    table = fingerprints(finished_run)
    assert table.schema.field("outcome").type == pa.uint16()
    rows = [row | {"reason": reason} for row, reason in zip(table.to_pylist(), reasons(finished_run), strict=True)]
    assert len(rows) == 160
    assert [row["url"] for row in rows] == [f"http://h{i}.org/" for i in range(160)]
    assert [row["score"] for row in rows] == [i % 20 for i in range(80)] + [None] * 80
    assert all(row["meta.tags"] == [f"t{i}"] for i, row in enumerate(rows))
    assert {"no_questions", "low_score"} <= {row["reason"] for row in rows}
    assert any(
        int(row["reason"].removeprefix("reason_")) > 68 for row in rows if (row["reason"] or "").startswith("reason_")
    )
    for row in rows:
        assert (row["vowels"] is None) == (row["reason"] == "no_questions")
        assert row["reason"] != "low_score" or row["vowels"] <= 0.2 or row["score"] < 2
        assert row["language"] == "de" or not row["without_commas.removed"]
    assert any(row["without_commas.removed"] for row in rows)
    kept = runs.tokens(finished_run).to_pylist()
    by_url = {row["url"]: row for row in rows}
    assert kept
    assert all(row["vowels"] == by_url[row["url"]]["vowels"] for row in kept)


def test_funnel_and_manifest_have_reasons_and_edits(finished_run: Path) -> None:
    table = fingerprints(finished_run)
    removed = [count or 0 for count in table["without_commas.removed"].to_pylist()]
    expected = {"documents": sum(map(bool, removed)), "removed": sum(removed), "replaced": 0, "added": 0}
    assert runs.manifest(finished_run)["edits"] == {"without_commas": expected}
    funnel = runs.ask("funnel", "--output", finished_run)
    assert {"outcome": "edited", "reason": "without_commas"} | expected in funnel
    counted = {row["reason"]: row["documents"] for row in funnel if row["outcome"] == "dropped"}
    by_score = runs.ask("funnel", "--output", finished_run, "--by", "score", "--top", 1000)
    assert {row["reason"] for row in by_score if row["outcome"] == "dropped"} == {*counted}
    found = reasons(finished_run)
    assert {reason: n for reason, n in counted.items() if "duplicate" not in reason} == {
        reason: found.count(reason) for reason in found if reason
    }


def test_a_trace_has_attributes_and_the_lines_that_were_edited(
    finished_run: Path, steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = fingerprints(finished_run)
    place = next(place for place, removed in enumerate(table["without_commas.removed"].to_pylist()) if removed)
    assert "curator:no_questions can't be imported" in trace(finished_run, place, "--text")["text"]["edits"]
    monkeypatch.setenv("PYTHONPATH", f"{steps}:{runs.ROOT}")
    found = trace(finished_run, place, "--text")
    assert found["attributes"] == {name: table[name][place].as_py() for name in found["attributes"]}
    assert {"url", "score", "meta.tags", "vowels", "without_commas.removed"} <= {*found["attributes"]}
    lines = found["text"]["edits"].splitlines()
    gone = [line[1:] for line in lines if line.startswith("-")]
    assert sum(line.count(",") for line in gone) == found["attributes"]["without_commas.removed"]
    assert [line[1:] for line in lines if line.startswith("+")] == [line.replace(",", "") for line in gone]


def test_a_reason_beyond_one_byte_is_traced(finished_run: Path) -> None:
    found = reasons(finished_run)
    place = next(place for place, reason in enumerate(found) if is_beyond_a_byte(reason))
    traced = trace(finished_run, place)
    assert (traced["outcome"], traced["reason"]) == ("dropped", found[place])


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(
    finished_run: Path, sources: Path, steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{steps}:{runs.ROOT}")
    output = tmp_path / "out"
    command = runs.command("--input", sources, "--output", output, "--tokenizer", tokenizer_path(), *flags(steps))
    started = subprocess.Popen(
        [*command, "--direct_num_workers", "1"], cwd=runs.ROOT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not list((output / "fingerprints").glob("*.parquet")):
            assert started.poll() is None
            time.sleep(0.01)
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    assert not (output / "run.json").exists()
    runs.run(sources, output, *flags(steps), "--direct_num_workers", 2)
    assert runs.digests(output) == runs.digests(finished_run)


def dedup(output: Path, to: Path) -> subprocess.CompletedProcess[str]:
    command = runs.command("dedup", "--run", output, "--output", to, "--direct_num_workers", 1)
    return subprocess.run(command, cwd=runs.ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_dedup_works_after_the_steps_are_gone(finished_run: Path, tmp_path: Path) -> None:
    done = dedup(finished_run, tmp_path / "again")  # its PYTHONPATH has no curator.py
    assert done.returncode == 0, done.stderr
    decided = pa.concat_tables([pq.read_table(file) for file in sorted((tmp_path / "again" / "decisions").iterdir())])
    given = [None if "duplicate" in reason or not reason else reason for reason in decided["reason"].to_pylist()]
    assert given == reasons(finished_run)


def test_a_plan_without_a_table_of_outcomes_is_refused_in_a_sentence(finished_run: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(finished_run, old)
    plan: dict[str, Any] = json.loads((old / "plan.json").read_text())
    del plan["outcomes"]
    (old / "plan.json").write_text(json.dumps(plan))
    failed = dedup(old, tmp_path / "again")
    assert failed.returncode in (1, 2)
    assert "has no table of outcomes: an earlier version has written it" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_documented_ways_to_read_attributes_work(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (runs.ROOT / "docs" / "attributes.md").read_text().replace("OUT/", f"{finished_run}/")
    [python] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(python, {})
    assert "None" in capsys.readouterr().out
    queries = [query for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) for query in block.split(";")]
    answers = [duckdb.sql(query).fetchall() for query in queries if query.strip()]
    assert len(answers) == 4
    assert all(answers)
    found = reasons(finished_run)
    assert dict(answers[2]) == {reason: found.count(reason) for reason in found if reason}
