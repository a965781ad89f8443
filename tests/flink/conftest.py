"""One Flink cluster for all tests here, and what an undisturbed run on DirectRunner has written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runners.flink_local import Cluster
from tests import runs

SMALL_SHARDS = ("--shard_bytes", "100KiB")
"""Eighteen shards of ``corpus``: some are done, some in work and some waiting when a machine is killed."""


@pytest.fixture(scope="session")
def cluster(data_dir: Path) -> Iterator[Cluster]:
    """Two TaskManagers with one slot each, as ``flink-local up`` makes them."""
    cluster = Cluster.at()
    cluster.up()
    yield cluster
    cluster.down()
    assert not any(cluster.is_running(name) for name in cluster.names())


@pytest.fixture(scope="session")
def expected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of DirectRunner."""
    output = tmp_path_factory.mktemp("expected") / "out"
    runs.run(corpus, output, *SMALL_SHARDS)
    return output
