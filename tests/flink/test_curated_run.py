"""A recipe of functions, an editor and rules makes on Flink the bytes that it makes on DirectRunner."""

from __future__ import annotations

from pathlib import Path

from runners.flink_local import Cluster
from tests import curated, flink_runs, runs
from tests.flink_runs import PATIENCE_SECONDS, on


def test_a_recipe_makes_the_bytes_of_direct_runner(cluster: Cluster, tmp_path: Path) -> None:
    sources = curated.write_sources(tmp_path / "in")
    flags = (*curated.SMALL_SHARDS, "--config", curated.write_config(tmp_path, "tests.example_steps"), "--with_text")
    runs.run(sources, tmp_path / "expected", *flags, timeout=PATIENCE_SECONDS)
    runs.run(sources, tmp_path / "out", *flags, *on(cluster), "--streaming", timeout=PATIENCE_SECONDS)
    flink_runs.assert_same(tmp_path / "out", tmp_path / "expected")
    assert runs.manifest(tmp_path / "out")["edits"] == runs.manifest(tmp_path / "expected")["edits"]
