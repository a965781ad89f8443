"""An export on Flink, in both modes: the bytes of DirectRunner."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from runners.flink_local import Cluster
from tests import exports, flink_runs, runs


@pytest.mark.parametrize("mode", ["--no-streaming", "--streaming"])
def test_an_export_on_flink_has_the_same_bytes(cluster: Cluster, tmp_path: Path, mode: str) -> None:
    generator = np.random.default_rng(8)
    documents = [generator.integers(10, 1000, length).tolist() for length in generator.integers(0, 300, 2000)]
    run = exports.make_run(tmp_path / "run", documents)
    settings = {"packing": "best-fit", "sequence_length": 256, "shard_tokens": 20_000, "parts": 2}
    exports.export(tmp_path / "here", run, "mds", **settings)
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    command = runs.command("export", "--run", run, "--output", tmp_path / "flink", "--format", "mds", *flags)
    done = subprocess.run(
        [*command, *map(str, flink_runs.on(cluster)), mode],
        cwd=runs.ROOT, capture_output=True, text=True, timeout=flink_runs.PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    folders = ("train", "provenance", "README.md")
    assert exports.digests(tmp_path / "flink", *folders) == exports.digests(tmp_path / "here", *folders)
