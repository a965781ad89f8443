"""``--runner local-flink`` after a kill and a failure."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import yaml

from tests import flink_runs, runs
from tests.conftest import SHARDS
from tests.fault_filters import Slow
from tests.flink_runs import PATIENCE_SECONDS
from tests.test_local_flink import ON, of_clusters


def test_the_cluster_of_a_killed_command_goes_with_the_next_which_fails(
    corpus: Path, data_dir: Path, tmp_path: Path
) -> None:
    config = tmp_path / "slow.yaml"
    slow = {"use": f"{Slow.__module__}:Slow", "arguments": {"seconds": 3}}
    config.write_text(yaml.safe_dump({"check_steps": False, "filters": [slow]}))
    process = flink_runs.start(corpus, tmp_path / "killed", *SHARDS, "--config", config, *ON)
    flink_runs.until(lambda: bool(flink_runs.written(tmp_path / "killed")), "a shard is done", process)
    process.kill()
    process.communicate()
    assert of_clusters(data_dir)
    failing = tmp_path / "failing.yaml"
    failing.write_text(
        yaml.safe_dump({"check_steps": False, "filters": [{"use": "tests.flink.test_local_cluster:always_fails"}]})
    )
    done = runs.run(
        corpus, tmp_path / "failed", *SHARDS, "--config", failing, *ON, "--no-streaming",
        status=1, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert "this filter never works" in done.stderr
    assert of_clusters(data_dir) == []


def always_fails(documents: pa.RecordBatch) -> pa.Array:
    raise ValueError("this filter never works")
