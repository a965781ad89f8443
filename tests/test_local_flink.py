"""``--runner local-flink``: the cluster is there for the run, and gone after it however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil
import pytest
import yaml

from beam_pipeline.options import UsageError, beam_options
from runners import local_flink
from runners.flink_memory import TaskManagerMemory
from tests import flink_runs, runs
from tests.conftest import SHARDS
from tests.fault_filters import Slow
from tests.flink_runs import PATIENCE_SECONDS

ON = ("--runner", "local-flink", "--slots", 1)


def test_slots_for_every_core_in_few_machines() -> None:
    assert [local_flink.layout(slots) for slots in (1, 2, 4, 5, 8, 64)] == [
        (1, 1), (2, 1), (4, 1), (2, 4), (2, 4), (16, 4)
    ]  # fmt: skip
    options = beam_options(["--runner", "local-flink"])
    assert isinstance(options, local_flink.LocalFlinkOptions)
    assert options.slots == len(os.sched_getaffinity(0))
    options = beam_options(["--runner=local-flink", "--slots", "3", "--no-streaming"])
    assert (options.slots, options.others) == (3, ["--no-streaming"])


@pytest.mark.parametrize(("slots", "machine"), [(1, 8 << 30), (4, 8 << 30), (1, 64 << 30)])
def test_every_slot_has_its_memory_and_large_machines_have_larger_heaps(slots: int, machine: int) -> None:
    memory = TaskManagerMemory(slots, task_managers=2, machine=machine)
    given = {name.removeprefix("taskmanager.memory."): value for name, value in memory.settings.items()}
    heap = given["framework.heap.size"] + given["task.heap.size"]
    assert heap == (4 << 30 if machine > 8 << 30 else slots * 512 << 20)
    assert given["network.min"] == given["network.max"] == given["managed.size"] == slots * 256 << 20
    direct = given["framework.off-heap.size"] + given["task.off-heap.size"] + given["network.max"]
    assert memory.java == ("-Xms256m", f"-Xmx{heap}", f"-XX:MaxDirectMemorySize={direct}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--slots", "0"], "--slots: must be a number from 1 on, but is '0'"),
        (["--slots", "many"], "--slots: must be a number from 1 on, but is 'many'"),
        (["--flink_master", "a:1"], "has a cluster of its own: leave out --flink_master"),
    ],
)
def test_what_cannot_be_is_refused(flags: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        beam_options(["--runner", "local-flink", *flags])


def of_clusters(data_dir: Path) -> list[str]:
    """What runs of clusters of runs in a data directory: JVMs, pools and workers."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(f"{data_dir}/flink-of-runs/" in part for part in process.cmdline()):
                found.append(" ".join(process.cmdline())[:200])
    return found


def test_the_same_bytes_and_nothing_left(corpus: Path, finished: Path, data_dir: Path, tmp_path: Path) -> None:
    done = runs.run(corpus, tmp_path / "out", *SHARDS, *ON, timeout=PATIENCE_SECONDS)
    flink_runs.assert_same(tmp_path / "out", finished)
    assert "bringing up Flink: 1 TaskManagers of 1 slots" in done.stderr
    assert of_clusters(data_dir) == []
    assert not list((data_dir / "flink-of-runs").iterdir())


def test_gone_after_ctrl_c(corpus: Path, data_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "slow.yaml"
    slow = {"use": f"{Slow.__module__}:Slow", "arguments": {"seconds": 3}}
    config.write_text(yaml.safe_dump({"check_steps": False, "filters": [slow]}))
    output = tmp_path / "out"
    process = flink_runs.start(corpus, output, *SHARDS, "--config", config, *ON)
    try:
        flink_runs.until(lambda: bool(flink_runs.written(output)), "a shard is done", process)
        assert of_clusters(data_dir)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode not in (0, -signal.SIGKILL)
    assert "was stopped. What is done is kept; run the same command to go on" in said
    assert "works on" not in said
    assert of_clusters(data_dir) == []
