"""Runs of the command over the data with known truth, and what they decided."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline import cli
from tests import runs
from transforms.kernels.deduplication.fingerprinting import shingles_reference
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.text.normalization import normalize

Shingles = frozenset[int]


@dataclasses.dataclass(frozen=True, eq=False)
class Decided:
    """A run's documents, in the order of their places, and what became of each.

    Attributes:
      ids: the data's own.
      texts: normalized; None where the document was invalid.
      witness: position of the document it was dropped for, by position.
      exact: positions of the exact duplicates.
    """

    ids: list[str]
    texts: list[str | None]
    witness: dict[int, int]
    exact: frozenset[int]

    @functools.cache  # noqa: B019 - lives as long as the session
    def shingles(self, position: int) -> Shingles:
        """The documented shingles, by the slow reference."""
        return frozenset(map(hash, shingles_reference(self.texts[position] or "", MinHash())))

    def jaccard(self, a: int, b: int) -> float:
        """True similarity of two documents."""
        first, second = self.shingles(a), self.shingles(b)
        return len(first & second) / max(1, len(first | second))


def decide(folder: Path, output: Path, *flags: object) -> Decided:
    """Runs the command over Parquet files with ``id`` and ``text``, and reads what ``dedup`` says it decided."""
    runs.run(folder, output / "run", *flags, timeout=1200)
    assert cli.main(["dedup", "--run", str(output / "run"), "--output", str(output / "decided")]) == 0
    files = [folder] if folder.is_file() else sorted(folder.iterdir())
    tables = [pq.read_table(file, columns=["id", "text"]) for file in files]
    first, count = {}, 0
    for file, table in zip(files, tables, strict=True):
        first[str(file)] = count
        count += len(table)
    table = pa.concat_tables(tables)
    decisions = pa.concat_tables([pq.read_table(file) for file in sorted((output / "decided/decisions").iterdir())])
    assert len(decisions) == count
    rows = decisions.to_pylist()
    assert sum(row["outcome"] == "kept" for row in rows) == runs.manifest(output / "run")["counts"]["kept"]
    witness, exact = {}, set()
    for row in rows:
        if row["outcome"] == "dropped":
            position = first[row["source"]] + row["source_row"]
            witness[position] = first[row["witness_source"]] + row["witness_row"]
            if row["reason"] == "exact_duplicate":
                exact.add(position)
    return Decided(
        table["id"].to_pylist(), normalize(table["text"].combine_chunks()).to_pylist(), witness, frozenset(exact)
    )


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder that ``make dedup-truth`` was given: ``neardup/`` and ``corpus/`` are in it."""
    return Path(os.environ["DATA"]).resolve()


@pytest.fixture(scope="session")
def neardup(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Decided:
    """The decisions on ``neardup/docs.parquet``."""
    return decide(data / "neardup/docs.parquet", tmp_path_factory.mktemp("neardup"))


@pytest.fixture(scope="session")
def corpus(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Decided:
    """The decisions on ``corpus/``."""
    return decide(data / "corpus", tmp_path_factory.mktemp("corpus"))
