"""Streaming on Flink: checkpoints complete while shards are at work, here or in S3, and the job ends with its work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from benchmarks import inputs
from runners.flink_local import Cluster
from tests import flink_runs, runs, s3
from tests.fault_filters import Slow
from tests.flink_runs import SMALL_SHARDS, on

INTERVAL_SECONDS = 10
MOST_BYTES = 20e6
"""Of what a checkpoint writes anew while a text pass works."""
MOST_BYTES_A_DOCUMENT = 1500
"""Of a checkpoint that is taken in pass 2: it has what is shuffled there. Here 645 and 811 were seen, most of it
sketches: the generated texts share their sentences, so each is a candidate of two shards."""
MOST_SECONDS_TO_END = 15
LEAST_SECONDS = 180
SHARDS, SIZE = 96, 192_000_000
"""Small shards, as a checkpoint waits for the one at work; a minute of tokenizing with the slow engine on two cores."""
SECONDS_A_SHARD = 2.5
"""Asleep in pass 1: two minutes for two workers."""
PATIENCE_SECONDS = 3600


@pytest.fixture(scope="module")
def on_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Path]]:
    """A cluster of one slot whose checkpoints go to an S3 server's bucket ``checkpoints``, and that bucket's folder."""
    folder = tmp_path_factory.mktemp("s3") / "root"
    (folder / "checkpoints").mkdir(parents=True)
    cluster = Cluster.at(tmp_path_factory.mktemp("cluster"))
    with s3.serve(folder) as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment(endpoint).items():
            patch.setenv(name, value)
        try:
            cluster.up(task_managers=1, checkpoints="s3://checkpoints/flink")
            yield cluster, folder / "checkpoints"
        finally:
            cluster.down()


def test_checkpoints_are_kept_in_s3(on_s3: tuple[Cluster, Path], corpus: Path, tmp_path: Path) -> None:
    cluster, bucket = on_s3
    flags = (*SMALL_SHARDS, *_slow(tmp_path, 1), "--streaming", "--checkpointing_interval=1000")
    workers = f"--environment_config={cluster.environment_config}"
    process = flink_runs.start(corpus, tmp_path / "out", *flags, *on(cluster), workers)
    try:
        flink_runs.until(lambda: any(bucket.glob("flink/*/chk-*/_metadata")), "a checkpoint is there", process)
        said, _ = process.communicate(timeout=flink_runs.PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    conf = cluster.folder / "conf" / "config.yaml"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in conf.read_text()


def test_checkpoints_complete_while_both_text_passes_work(cluster: Cluster, tmp_path: Path) -> None:
    inputs.generate(tmp_path / "in", SIZE, files=SHARDS)
    slow = (*_slow(tmp_path, SECONDS_A_SHARD), "--no-fast_tokenizer")
    flags = (*slow, "--streaming", f"--checkpointing_interval={INTERVAL_SECONDS * 1000}", "--shard_bytes", "4MiB")
    done = runs.run(tmp_path / "in", tmp_path / "out", *flags, *on(cluster), timeout=PATIENCE_SECONDS)
    assert "checkpoints, the last of" in done.stderr
    [job] = flink_runs.jobs(cluster, tmp_path / "out")
    taken = cluster.ask(f"/jobs/{job['jid']}/checkpoints")["history"]
    completed = [each for each in taken if each["status"] == "COMPLETED"]
    config = cluster.ask(f"/jobs/{job['jid']}/checkpoints/config")
    assert config["tolerable_failed_checkpoints"] > 1e6  # one that fails doesn't make the job begin again
    said = [f"{job['duration'] / 1000:.0f} s, {len(completed)} of {len(taken)} checkpoints completed"]
    shares, spans = [], []
    for name in ("fingerprints", "tokens"):
        written = sorted(file.stat().st_mtime for file in (tmp_path / "out" / name).iterdir())
        first, last = written[0], written[-1]
        spans.append((first, last))
        there = sum(first <= each["latest_ack_timestamp"] / 1000 <= last for each in completed)
        shares.append(there * INTERVAL_SECONDS / (last - first))
        said.append(f"{name}: {there} of {(last - first) / INTERVAL_SECONDS:.1f} due in {last - first:.0f} s")
    (_, pass_2), (pass_3, end) = spans
    largest = {"a text pass": 0, "pass 2": 0}
    for each in completed:
        name = "pass 2" if pass_2 < each["trigger_timestamp"] / 1000 < pass_3 else "a text pass"
        largest[name] = max(largest[name], each["checkpointed_size"])
    documents = runs.manifest(tmp_path / "out")["counts"]["documents"]
    seconds_to_end = job["end-time"] / 1000 - end
    said += [f"the largest in {name}: {size / 1e6:.2f} MB" for name, size in largest.items()]
    said.append(f"{documents:,} documents; FINISHED {seconds_to_end:.1f} s after the last object")
    Console().print("\n" + "\n".join(said), highlight=False, soft_wrap=True)
    assert job["state"] == "FINISHED"
    assert job["duration"] >= LEAST_SECONDS * 1000
    assert min(shares) >= 0.5
    assert largest["a text pass"] < MOST_BYTES
    assert largest["pass 2"] < MOST_BYTES_A_DOCUMENT * documents
    assert seconds_to_end <= MOST_SECONDS_TO_END


def _slow(folder: Path, seconds: float) -> tuple[object, ...]:
    """The flags of a run whose pass 1 takes at least so long for a shard."""
    config = folder / "slow.yaml"
    filters = [{"use": f"{Slow.__module__}:Slow", "arguments": {"seconds": seconds}}]
    config.write_text(yaml.safe_dump({"check_steps": False, "filters": filters}))
    return ("--config", config)
