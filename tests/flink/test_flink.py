"""On a real Flink cluster, closer than ``tests/test_flink.py``: both modes, and what the web UI and the command say."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.flink_local import Cluster
from tests import flink_runs, runs
from tests.flink_runs import PATIENCE_SECONDS, SMALL_SHARDS, on


@pytest.mark.parametrize("mode", [(), ("--streaming", "--checkpointing_interval=1000")], ids=["batch", "streaming"])
def test_the_bytes_are_those_of_direct_runner_and_the_ui_knows_the_steps(
    cluster: Cluster, corpus: Path, expected: Path, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    runs.run(corpus, tmp_path / "out", *SMALL_SHARDS, *on(cluster), *mode, timeout=PATIENCE_SECONDS)
    flink_runs.assert_same(tmp_path / "out", expected)
    name = f"beam-pipeline-{runs.manifest(tmp_path / 'out')['run']}"
    [job] = [job for job in cluster.ask("/jobs/overview")["jobs"] if job["name"] == name]
    assert job["state"] == "FINISHED"
    steps = "\n".join(vertex["name"] for vertex in cluster.ask(f"/jobs/{job['jid']}")["vertices"])
    for box in ("ListSources", "SplitShards", "ReadDocuments", "Normalize", "VerifyPairs", "Tokenize", "WriteTokens"):
        assert box in steps
    if mode:
        assert cluster.ask(f"/jobs/{job['jid']}/checkpoints")["counts"]["completed"] > 0
    assert max(vertex["parallelism"] for vertex in cluster.ask(f"/jobs/{job['jid']}")["vertices"]) == 2


def test_a_failure_is_one_sentence(cluster: Cluster, corpus: Path, tmp_path: Path) -> None:
    failing = ("--filters", "tests.example_filters:fails")
    failed = runs.run(corpus, tmp_path / "out", *on(cluster), *failing, status=1, timeout=PATIENCE_SECONDS)
    assert "filter tests.example_filters:fails failed at shard 0000" in failed.stderr
    assert "part-" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "org.apache" not in failed.stderr
