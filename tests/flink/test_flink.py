"""On a real Flink cluster: the same bytes as on DirectRunner, also if machines die; and what its web UI knows."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest

from beam_pipeline import embedded_postgres
from beam_pipeline.sample import tokenizer_path
from runners.flink_local import Cluster
from tests import runs
from tests.flink.conftest import SMALL_SHARDS


def on(cluster: Cluster) -> tuple[str, ...]:
    return ("--runner", "FlinkRunner", "--flink_master", cluster.rest_address)


def assert_same(output: Path, expected: Path) -> None:
    """Byte-identical, and in the lineage every document once."""
    assert runs.digests(output) == runs.digests(expected)
    assert runs.manifest(output)["books"] == runs.manifest(expected)["books"]
    with psycopg.connect(embedded_postgres.start()) as connection:
        [(rows, places)] = connection.execute(
            "SELECT count(*), count(DISTINCT (source_uri, source_row)) FROM lineage WHERE run = %s",
            [runs.manifest(output)["run"]],
        ).fetchall()
    assert rows == places == runs.manifest(expected)["books"]["documents"]


def until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s: not {what}"
        time.sleep(0.02)


def start(corpus: Path, output: Path, cluster: Cluster) -> subprocess.Popen[str]:
    command = runs.command("--input", corpus, "--output", output, "--tokenizer", tokenizer_path())
    return subprocess.Popen(
        [*command, *SMALL_SHARDS, *on(cluster)], cwd=runs.ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def written(output: Path) -> int:
    return len(list((output / "fingerprints").glob("*.parquet")))


@pytest.mark.parametrize("mode", [(), ("--streaming", "--checkpointing_interval=1000")], ids=["batch", "streaming"])
def test_the_bytes_are_those_of_direct_runner_and_the_ui_knows_the_steps(
    cluster: Cluster, corpus: Path, expected: Path, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    runs.run(corpus, tmp_path / "out", *SMALL_SHARDS, *on(cluster), *mode)
    assert_same(tmp_path / "out", expected)
    name = f"beam-pipeline-{runs.manifest(tmp_path / 'out')['run']}"
    [job] = [job for job in cluster.ask("/jobs/overview")["jobs"] if job["name"] == name]
    assert job["state"] == "FINISHED"
    steps = "\n".join(vertex["name"] for vertex in cluster.ask(f"/jobs/{job['jid']}")["vertices"])
    for box in ("ListSources", "SplitShards", "ReadDocuments", "Normalize", "VerifyPairs", "Tokenize", "WriteTokens"):
        assert box in steps
    if mode:
        assert cluster.ask(f"/jobs/{job['jid']}/checkpoints")["counts"]["completed"] > 0
    assert max(vertex["parallelism"] for vertex in cluster.ask(f"/jobs/{job['jid']}")["vertices"]) == 2


@pytest.mark.parametrize("victim", ["taskmanager-1", "worker"])
def test_what_dies_is_replaced_and_the_run_goes_on(
    cluster: Cluster, corpus: Path, expected: Path, tmp_path: Path, victim: str
) -> None:
    output = tmp_path / "out"
    process = start(corpus, output, cluster)
    try:
        until(lambda: written(output) >= 2 or process.poll() is not None, "two shards written")
        before = {path: path.stat().st_mtime_ns for path in (output / "fingerprints").glob("*.parquet")}
        assert 2 <= len(before) < written(expected), "the kill would come too late"
        if victim == "worker":
            pool = psutil.Process(cluster.pid("workers-1"))
            os.kill(pool.children()[0].pid, signal.SIGKILL)
        else:
            os.kill(cluster.pid(victim) or 0, signal.SIGKILL)
            until(lambda: not cluster.is_running(victim), "dead")
            cluster.up()
        said, _ = process.communicate(timeout=240)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert_same(output, expected)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a finished shard was worked again"


def test_a_failure_is_one_sentence(cluster: Cluster, corpus: Path, tmp_path: Path) -> None:
    failed = runs.run(corpus, tmp_path / "out", *on(cluster), "--filters", "tests.example_filters:fails", status=1)
    assert "filter tests.example_filters:fails failed at" in failed.stderr
    assert "part-" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "org.apache" not in failed.stderr
