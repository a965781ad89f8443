"""Runs on a Flink cluster of this machine: how tests start them, wait for what happens in them, and check them."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from beam_pipeline import embedded_postgres
from beam_pipeline.sample import tokenizer_path
from runners.flink_local import Cluster
from tests import runs

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
