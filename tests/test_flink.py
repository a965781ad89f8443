"""On a real Flink cluster: the same bytes as on DirectRunner, also if a machine is killed.

Two minutes on two cores, most of it the fixed cost of a job in each mode. ``make test-flink`` looks closer, ``make
test-faults`` kills everything that can be killed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runners.flink_local import Cluster
from tests import flink_runs, runs
from tests.fault_filters import Gate
from tests.flink_runs import PATIENCE_SECONDS, on

PASSING = 4


@pytest.fixture(scope="module")
def cluster(data_dir: Path) -> Iterator[Cluster]:
    with flink_runs.cluster_up() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a file ``open`` lets the shards pass."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "open").touch()
    return folder


@pytest.fixture(scope="module")
def flags(gate: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """Eighteen small shards, each through the gate."""
    config = tmp_path_factory.mktemp("config") / "config.yaml"
    arguments = {"folder": str(gate), "passing": PASSING}
    config.write_text(
        yaml.safe_dump({"check_steps": False, "filters": [{"use": f"{Gate.__module__}:Gate", "arguments": arguments}]})
    )
    return (*flink_runs.SMALL_SHARDS, "--config", config)


@pytest.fixture(scope="module")
def expected(corpus: Path, flags: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of DirectRunner."""
    output = tmp_path_factory.mktemp("expected") / "out"
    runs.run(corpus, output, *flags, timeout=PATIENCE_SECONDS)
    return output


def test_batch_writes_the_bytes_of_direct_runner(
    cluster: Cluster, corpus: Path, flags: tuple[object, ...], expected: Path, tmp_path: Path
) -> None:
    runs.run(corpus, tmp_path / "out", *flags, *on(cluster), "--no-streaming", timeout=PATIENCE_SECONDS)
    flink_runs.assert_same(tmp_path / "out", expected)


def test_a_killed_machine_costs_no_finished_shard(
    cluster: Cluster, corpus: Path, flags: tuple[object, ...], expected: Path, gate: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    for file in gate.iterdir():
        file.unlink()
    process = flink_runs.start(corpus, output, *flags, *on(cluster))
    try:
        flink_runs.until(
            lambda: any(gate.glob("waiting-*")) and len(flink_runs.written(output)) > 1,
            "some shards are done, one is held up, the others wait",
            process,
        )
        before = flink_runs.written(output)
        os.kill(cluster.pid("taskmanager-1") or 0, signal.SIGKILL)
        flink_runs.until(lambda: not cluster.is_running("taskmanager-1"), "the TaskManager is dead")
        (gate / "open").touch()
        cluster.up()
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        (gate / "open").touch()
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    flink_runs.assert_same(output, expected)
    after = flink_runs.written(output)
    assert len(before) < len(after)
    assert {path: after[path] for path in before} == before, "a finished shard was done again"
