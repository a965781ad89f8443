"""A run without a tokenizer: the same decisions, and normalized text in place of tokens."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

import beam_pipeline
from beam_pipeline.options import UsageError, resolve_part
from beam_pipeline.settings import Settings
from tests import runs
from tests.conftest import SHARDS

KINDS = {"text": ".parquet", "jsonl": ".jsonl.zst"}


@pytest.fixture(scope="module")
def written(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run over ``corpus`` that writes text."""
    output = tmp_path_factory.mktemp("text") / "out"
    start(corpus, output, "--text_jsonl")
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
    def files() -> dict[str, bytes]:
        return {f"{kind}/{file.name}": file.read_bytes() for kind in KINDS for file in (written / kind).iterdir()}

    before = files()
    first, second, third = sorted(file.name.partition(".")[0] for file in (written / "text").iterdir())[:3]
    (written / "text" / f"{second}.parquet").unlink()
    (written / "jsonl" / f"{third}.jsonl.zst").unlink()
    stamps = [(written / kind / f"{first}{end}").stat().st_mtime_ns for kind, end in KINDS.items()]
    start(corpus, written, "--text_jsonl")
    assert files() == before
    assert stamps == [(written / kind / f"{first}{end}").stat().st_mtime_ns for kind, end in KINDS.items()]


def test_json_lines_have_the_rows_of_the_parquet_files(written: Path) -> None:
    """Said by zstd and JSON of others, and by the project's own reader, which splits them by their frames."""
    assert {file.name.partition(".")[0] for file in (written / "text").iterdir()} == {
        file.name.partition(".")[0] for file in (written / "jsonl").iterdir()
    }
    for file in sorted((written / "jsonl").iterdir()):
        with zstandard.open(file, "rt", encoding="utf-8", newline="\n") as lines:
            found = [json.loads(line) for line in lines]
        assert found == pq.read_table(written / "text" / f"{file.name.partition('.')[0]}.parquet").to_pylist()
    read = beam_pipeline.read_documents(str(written / "jsonl"))
    texts = [pq.read_table(file) for file in sorted((written / "text").iterdir())]
    assert read["text"].to_pylist() == [text for table in texts for text in table["text"].to_pylist()]
    assert read["id"].to_pylist() == [str(number) for table in texts for number in table["id"].to_pylist()]


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
    with pytest.raises(UsageError, match="text_jsonl: is for runs that write text"):
        resolve_part(Settings, places | {"tokenizer": "t.json", "text_jsonl": True})
    assert "text_jsonl: True there, None now" in start(corpus, written, status=2)
    tokenized = runs.run(corpus, written, *SHARDS, "--direct_num_workers", 1, status=2)
    assert "tokens: False there, True now" in tokenized.stderr


def test_the_card_names_the_texts(written: Path) -> None:
    assert "data_files: text/*.parquet" in (written / "README.md").read_text()
