"""What all tests share: an embedded PostgreSQL of their own, and one finished run to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline import embedded_postgres
from tests import runs

pytest_plugins = ["tests.postgres"]


@pytest.fixture(scope="session", autouse=True)
def data_dir() -> Iterator[Path]:
    """Keeps the tests' embedded PostgreSQL away from the user's, for this process and those it starts."""
    from tests.postgres import public_folder  # a plugin: pytest wants to be the first to import it

    with public_folder() as folder:
        os.environ["BEAM_PIPELINE_DATA_DIR"] = str(folder)
        yield folder
        embedded_postgres.stop()
        del os.environ["BEAM_PIPELINE_DATA_DIR"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three Parquet files of 600 documents, six row groups each."""
    folder = tmp_path_factory.mktemp("corpus")
    runs.write_corpus(folder)
    return folder


@pytest.fixture(scope="session")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an undisturbed run over ``corpus``, two shards a file, two workers."""
    output = tmp_path_factory.mktemp("finished") / "out"
    runs.run(corpus, output, *SHARDS, "--direct_num_workers", 2)
    return output


SHARDS = ("--shard_bytes", "300KiB")
