"""``extract`` on Flink, in both modes: the bytes of DirectRunner, and the same counts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runners.flink_local import Cluster
from tests import flink_runs, runs
from tests.web.test_extract_command import MISSING, archive, digests
from tests.web.warcs import by_record


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    for name in "abc":
        (folder / f"{name}.warc.gz").write_bytes(archive(name, 40) + by_record(MISSING))
    return folder


def extract(archives: Path, output: Path, *flags: object) -> None:
    done = subprocess.run(
        runs.command("extract", "--input", archives, "--output", output, *flags),
        cwd=runs.ROOT, capture_output=True, text=True, timeout=flink_runs.PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def here(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("here") / "out"
    extract(archives, output, "--direct_num_workers", 1)
    return output


@pytest.mark.parametrize("mode", ["--no-streaming", "--streaming"])
def test_pages_extracted_on_flink_are_the_same_bytes(
    cluster: Cluster, archives: Path, here: Path, tmp_path: Path, mode: str
) -> None:
    extract(archives, tmp_path / "out", *flink_runs.on(cluster), mode)
    assert len(digests(here)) == 6
    assert digests(tmp_path / "out") == digests(here)
    counted = ("records", "extracted", "without_text")
    assert [runs.manifest(tmp_path / "out")[name] for name in counted] == [
        runs.manifest(here)[name] for name in counted
    ]
