"""Runs on a Flink cluster of this machine: how tests start them, wait for what happens in them, and check them."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from apache_beam.coders import VarIntCoder

from beam_pipeline import embedded_postgres
from beam_pipeline.sample import tokenizer_path
from runners.flink_local import Cluster
from tests import runs
from transforms.counters import RUN_NAMESPACE

SMALL_SHARDS = ("--shard_bytes", "100KiB")
"""Eighteen shards of ``corpus``: some are done, some in work and some waiting when a machine is killed."""

PATIENCE_SECONDS = 900
"""For what takes a minute on a machine that does nothing else; only a run that hangs takes that long."""


@contextlib.contextmanager
def cluster_up() -> Iterator[Cluster]:
    """Two TaskManagers with one slot each, as ``flink-local up`` makes them; nothing of them is left afterwards."""
    cluster = Cluster.at()
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
    assert not any(cluster.is_running(name) for name in cluster.names())


def on(cluster: Cluster) -> tuple[str, ...]:
    """The flags of a run on this cluster."""
    return ("--runner", "FlinkRunner", "--flink_master", cluster.rest_address)


def start(source: Path, output: Path, *flags: object) -> subprocess.Popen[str]:
    """Starts the command and doesn't wait for it."""
    return subprocess.Popen(
        runs.command("--input", source, "--output", output, "--tokenizer", tokenizer_path(), *flags),
        cwd=runs.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def until(condition: Callable[[], bool], what: str, process: subprocess.Popen[str] | None = None) -> None:
    """Waits until it is so; fails at once if the process ends before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the command has ended before {what}:\n{process.communicate()[0]}")
        assert time.monotonic() < deadline, f"after {PATIENCE_SECONDS} s: not {what}"
        time.sleep(0.05)


def written(output: Path) -> dict[Path, int]:
    """The objects of pass 1 that are there, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in (output / "fingerprints").glob("*.parquet")}


def jobs(cluster: Cluster, output: Path) -> list[dict[str, Any]]:
    """The Flink jobs of a run that is done, as the REST API lists them."""
    name = f"beam-pipeline-{runs.manifest(output)['run']}"
    return [job for job in cluster.ask("/jobs/overview")["jobs"] if job["name"] == name]


def shown(cluster: Cluster) -> dict[str, int]:
    """The run's counters as the UI shows them while the one job works, all steps and workers together."""
    found: dict[str, int] = {}
    for job in cluster.ask("/jobs/overview")["jobs"]:
        for vertex in cluster.ask(f"/jobs/{job['jid']}")["vertices"] if job["state"] == "RUNNING" else ():
            url = f"/jobs/{job['jid']}/vertices/{vertex['id']}/subtasks/metrics"
            names = [metric["id"] for metric in cluster.ask(url) if f".{RUN_NAMESPACE}_" in metric["id"]]
            for name in names:
                [metric] = cluster.ask(f"{url}?agg=sum&get={urllib.parse.quote(name)}")
                counter = name.rpartition(f".{RUN_NAMESPACE}_")[2]
                found[counter] = found.get(counter, 0) + int(metric["sum"])
    return found


def counters(cluster: Cluster, job: str) -> dict[str, int]:
    """The run's counters in the accumulators of a job that has ended, all steps together."""
    [accumulator] = cluster.ask(f"/jobs/{job}/accumulators")["user-task-accumulators"]
    found: dict[str, int] = {}
    for metric in json.loads(accumulator["value"])["metrics"]["attempted"]:
        labels = metric["labels"]
        if labels.get("NAMESPACE") == RUN_NAMESPACE:
            amount = VarIntCoder().decode(base64.b64decode(metric["payload"]))
            found[labels["NAME"]] = found.get(labels["NAME"], 0) + amount
    return found


def assert_same(output: Path, expected: Path) -> None:
    """Byte-identical, and in the lineage every document once."""
    assert runs.digests(output) == runs.digests(expected)
    assert runs.manifest(output)["counts"] == runs.manifest(expected)["counts"]
    with psycopg.connect(embedded_postgres.start()) as connection:
        [(rows, places)] = connection.execute(
            "SELECT count(*), count(DISTINCT (source_uri, source_row)) FROM lineage WHERE run = %s",
            [runs.manifest(output)["run"]],
        ).fetchall()
    assert rows == places == runs.manifest(expected)["counts"]["documents"]
