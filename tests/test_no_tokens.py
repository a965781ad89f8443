"""A run without a tokenizer: the same decisions, and normalized text in place of tokens."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beam_pipeline.options import UsageError, resolve_part
from beam_pipeline.settings import Settings
from tests import runs
from tests.conftest import SHARDS


@pytest.fixture(scope="module")
def written(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run over ``corpus`` that writes text."""
    output = tmp_path_factory.mktemp("text") / "out"
    start(corpus, output)
    return output


def start(source: Path, output: Path, *flags: object, status: int = 0) -> str:
    done = subprocess.run(
        runs.command("--input", source, "--output", output, "--no-tokens", *SHARDS, "--direct_num_workers", 1, *flags),
        cwd=runs.ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr


def test_the_documents_are_those_of_a_run_with_tokens(written: Path, finished: Path) -> None:
    assert runs.manifest(written)["counts"] == runs.manifest(finished)["counts"]
    assert runs.manifest(written)["tokens"] == 0 and runs.manifest(written)["tokenizer"] is None
    assert not (written / "tokens").exists()
    tokenizer = runs.reference_tokenizer()
    for file in sorted((finished / "tokens").iterdir()):
        tokens, texts = pq.read_table(file), pq.read_table(written / "text" / file.name)
        shared = [name for name in tokens.schema.names if name in texts.schema.names]
        assert tokens.select(shared).equals(texts.select(shared))
        assert set(tokens.schema.names) - set(shared) == {"input_ids", "n_tokens"}
        decoded = [tokenizer.decode(ids) for ids in tokens["input_ids"].to_pylist()]
        assert texts["text"].to_pylist() == decoded


def test_the_same_command_goes_on(written: Path, corpus: Path) -> None:
    before = {file.name: file.read_bytes() for file in (written / "text").iterdir()}
    lost = sorted(before)[1]
    (written / "text" / lost).unlink()
    kept = (written / "text" / sorted(before)[0]).stat().st_mtime_ns
    start(corpus, written)
    assert {file.name: file.read_bytes() for file in (written / "text").iterdir()} == before
    assert (written / "text" / sorted(before)[0]).stat().st_mtime_ns == kept


def test_a_row_is_traced_with_its_source_text(written: Path) -> None:
    file = sorted((written / "text").iterdir())[0]
    found = runs.ask("trace", "--output", written, "--object", file, "--row", 3, "--text")
    assert found["outcome"] == "kept"
    assert json.dumps(pq.read_table(file)["text"][3].as_py())[1:20] in json.dumps(found)
    assert runs.ask("status", "--output", written)["state"] == "done"


def test_what_needs_a_tokenizer_is_refused(corpus: Path, written: Path, tmp_path: Path) -> None:
    places = {"input": [str(corpus)], "output": str(tmp_path / "out")}
    with pytest.raises(UsageError, match=r"--tokenizer is missing; --no-tokens"):
        resolve_part(Settings, places)
    with pytest.raises(UsageError, match="max_unknown_tokens"):
        resolve_part(Settings, places | {"tokens": False, "max_unknown_tokens": 0.1})
    tokenized = runs.run(corpus, written, *SHARDS, "--direct_num_workers", 1, status=2)
    assert "tokens: False there, True now" in tokenized.stderr


def test_the_card_names_the_texts(written: Path) -> None:
    assert "data_files: text/*.parquet" in (written / "README.md").read_text()
