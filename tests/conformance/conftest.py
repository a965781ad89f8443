"""What is compared on: the folders of CORPUS, or generated text; the tokenizers of TOKENIZERS, and the sample's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline.sample import tokenizer_path
from benchmarks import inputs
from transforms.kernels.text.normalization import normalize

GENERATED_BYTES = 10_000_000
BATCH_ROWS = 1000


class Corpus:
    """Parquet files with a column ``text``, read in batches, so that a corpus needn't fit into memory."""

    def __init__(self, folders: list[Path]) -> None:
        self.files = sorted(file for folder in folders for file in folder.rglob("*.parquet"))
        assert self.files, f"CORPUS: there is no Parquet file in {', '.join(map(str, folders))}"

    def raw(self) -> Iterator[pa.StringArray]:
        """The texts as they are."""
        for file in self.files:
            for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=["text"]):
                yield batch["text"].drop_null()

    def clean(self) -> Iterator[pa.StringArray]:
        """The texts as all but the first step of a run get them."""
        return map(normalize, self.raw())


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    named = os.environ.get("CORPUS", "").split()
    if not named:
        folder = tmp_path_factory.mktemp("corpus")
        inputs.generate(folder, GENERATED_BYTES)
        named = [str(folder)]
    return Corpus([Path(folder) for folder in named])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with ``tokenizer`` runs for the sample's tokenizer and each ``NAME/**/tokenizer.json`` in TOKENIZERS."""
    if "tokenizer" in metafunc.fixturenames:
        folder = os.environ.get("TOKENIZERS", "")
        found = sorted(Path(folder).rglob("tokenizer.json")) if folder else []
        by_name = {path.relative_to(folder).parts[0]: path for path in found}
        metafunc.parametrize("tokenizer", [tokenizer_path(), *by_name.values()], ids=["sample", *by_name])
