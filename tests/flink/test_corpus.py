"""``watch`` makes its runs on Flink: two deliveries have the rows that they have on DirectRunner, and are promised."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pyarrow.parquet as pq

from beam_pipeline import embedded_postgres
from beam_pipeline.sample import tokenizer_path
from runners.flink_local import Cluster
from tests import flink_runs, runs
from tests.corpus_promises import check


def watched(folder: Path, corpus: Path, *flags: object) -> None:
    """``watch --once`` of a folder."""
    named = ("--corpus", corpus, "--poll", folder, "--once", "--tokenizer", tokenizer_path(), "--shard_bytes", "200KiB")
    done = subprocess.run(
        runs.command("watch", *map(str, (*named, *flags))), cwd=runs.ROOT, capture_output=True, text=True,
        timeout=flink_runs.PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def rows(corpus: Path, name: str) -> list[object]:
    """Of every run the rows of its objects, without the ids that only one corpus has."""
    return [pq.read_table(file).to_pylist() for file in sorted(corpus.glob(f"runs/*/{name}/*.parquet"))]


def test_two_deliveries_that_are_watched(cluster: Cluster, tmp_path: Path) -> None:
    files = runs.write_corpus(tmp_path / "in", files=4, documents=200, seed=5)
    late = [file.rename(tmp_path / file.name) for file in files[2:]]
    flink, direct = tmp_path / "flink", tmp_path / "direct"
    for number in (1, 2):
        watched(tmp_path / "in", flink, *flink_runs.on(cluster), "--streaming")
        watched(tmp_path / "in", direct, "--direct_num_workers", 1)
        assert len(list(flink.glob("runs/*/run.json"))) == number
        for file in late if number == 1 else ():
            file.rename(tmp_path / "in" / file.name)
    for name in ("tokens", "earlier"):
        assert rows(flink, name) == rows(direct, name)
        assert sum(map(len, rows(flink, name)))  # type: ignore[arg-type]
    assert check(flink, embedded_postgres.start())["for an earlier run"] > 10
