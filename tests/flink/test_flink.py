"""On a real Flink cluster, closer than ``tests/test_flink.py``: both modes, and what the web UI and the command say."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import yaml

from runners.flink_local import Cluster
from tests import flink_runs, runs
from tests.fault_filters import Gate
from tests.flink_runs import PATIENCE_SECONDS, SMALL_SHARDS, on

SHARDS, DOCUMENTS = 18, 1800


@pytest.mark.parametrize("mode", ["--no-streaming", "--streaming"])
def test_the_bytes_are_those_of_direct_runner_and_the_ui_knows_the_steps(
    cluster: Cluster, corpus: Path, expected: Path, tmp_path: Path, mode: str
) -> None:
    flags = (*SMALL_SHARDS, *on(cluster), mode, "--checkpointing_interval=1000")
    runs.run(corpus, tmp_path / "out", *flags, timeout=PATIENCE_SECONDS)
    flink_runs.assert_same(tmp_path / "out", expected)
    [job] = flink_runs.jobs(cluster, tmp_path / "out")
    assert job["state"] == "FINISHED"
    vertices = cluster.ask(f"/jobs/{job['jid']}")["vertices"]
    steps = "\n".join(vertex["name"] for vertex in vertices)
    for box in ("ListSources", "SplitShards", "ReadDocuments", "Normalize", "VerifyPairs", "Tokenize", "WriteTokens"):
        assert box in steps
    assert max(vertex["parallelism"] for vertex in vertices) == 2
    if mode == "--streaming":
        assert cluster.ask(f"/jobs/{job['jid']}/checkpoints")["counts"]["completed"] > 0


def test_a_run_is_watched_left_and_waited_for_again(
    cluster: Cluster, corpus: Path, expected: Path, tmp_path: Path
) -> None:
    """Through the job server that runs: metrics while it works, ctrl-C, the same command again, metrics at the end."""
    output, gate = tmp_path / "out", tmp_path / "gate"
    gate.mkdir()
    config = tmp_path / "config.yaml"
    filters = [{"use": f"{Gate.__module__}:Gate", "arguments": {"folder": str(gate), "passing": 4}}]
    config.write_text(yaml.safe_dump({"check_steps": False, "filters": filters}))
    portable = ("--runner", "PortableRunner", "--job_endpoint", cluster.job_endpoint, "--streaming")
    flags = (*SMALL_SHARDS, "--config", config, *portable)
    first = flink_runs.start(corpus, output, *flags)
    try:
        flink_runs.until(lambda: flink_runs.shown(cluster).get("shards_done", 0) >= 2, "the UI shows shards", first)
        assert flink_runs.shown(cluster)["documents"] >= 200
        first.send_signal(signal.SIGINT)
        said, _ = first.communicate(timeout=PATIENCE_SECONDS)
    finally:
        first.kill()
        first.wait()
    [job] = [job for job in cluster.ask("/jobs/overview")["jobs"] if job["state"] == "RUNNING"]
    assert first.returncode == 1
    assert "To wait for it again, run the same command." in said
    assert f"curl -X PATCH 'http://{cluster.rest_address}/jobs/{job['jid']}?mode=cancel'" in said

    again = flink_runs.start(corpus, output, *flags)
    try:
        assert again.stdout is not None
        for line in again.stdout:
            if f"/#/job/{job['jid']}" in line:
                break  # it waits for that job, which has to have something left to do until then
        (gate / "open").touch()
        said, _ = again.communicate(timeout=PATIENCE_SECONDS)
    finally:
        again.kill()
        again.wait()
    assert again.returncode == 0, said
    assert [each["jid"] for each in flink_runs.jobs(cluster, output)] == [job["jid"]]
    assert runs.manifest(output)["counts"] == runs.manifest(expected)["counts"]

    contents = runs.manifest(output)
    assert flink_runs.counters(cluster, job["jid"]) == {
        "documents": 2 * DOCUMENTS,
        "bytes": flink_runs.counters(cluster, job["jid"])["bytes"],
        "tokens": contents["tokens"],
        "dropped": sum(contents["counts"]["dropped"].values()),
        "shards_done": 2 * SHARDS,
        "retries": 0,
    }
    logs = "".join(file.read_text() for file in (cluster.folder / "logs").glob("taskmanager-*.log"))
    for shard in (file.stem for file in (output / "tokens").iterdir()):
        assert f"run {contents['run']}: tokens of shard {shard} begin" in logs
        assert f"run {contents['run']}: shard {shard} is done, attempt 1" in logs


def test_a_failure_is_one_sentence(cluster: Cluster, corpus: Path, tmp_path: Path) -> None:
    failing = ("--filters", "tests.example_filters:fails", "--no-check_steps")
    failed = runs.run(corpus, tmp_path / "out", *on(cluster), *failing, status=1, timeout=PATIENCE_SECONDS)
    assert "step fails failed at shard 0000" in failed.stderr
    assert "part-" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "org.apache" not in failed.stderr
