"""One Flink cluster for all tests here, and what an undisturbed run on DirectRunner has written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runners.flink_local import Cluster
from tests import flink_runs, runs


@pytest.fixture(scope="session")
def cluster(data_dir: Path) -> Iterator[Cluster]:
    with flink_runs.cluster_up() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def expected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of DirectRunner."""
    output = tmp_path_factory.mktemp("expected") / "out"
    runs.run(corpus, output, *flink_runs.SMALL_SHARDS, timeout=flink_runs.PATIENCE_SECONDS)
    return output
