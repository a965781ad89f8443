"""Which engine does the work of a run: the reference for what the fast one doesn't know, or gets wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from beam_pipeline.sample import tokenizer_path
from tests import runs
from tests.kernels.test_tokenization import UNIGRAM, WORD_PIECE
from transforms.kernels.text.normalization import normalize_reference
from transforms.kernels.tokenization.tokenizer import encode_reference

ONE_WRONG_ID = """
import sys
from transforms.kernels.tokenization.engines import GigatokenEngine
right = GigatokenEngine.encode
def wrong(self, data, offsets):
    ids, bounds = right(self, data, offsets)
    ids = ids.copy()
    ids[len(ids) // 2] ^= 1
    return ids, bounds
GigatokenEngine.encode = wrong
from beam_pipeline.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few documents of the sample, one of them holding control tokens as text."""
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    some = [*runs.sample_texts()[::12], "[CLS] and </s> and <|endoftext|> are only words here"]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in some))
    return file


def check_ids(output: Path, file: Path, tokenizer: bytes) -> None:
    """Every kept document has the ids of the reference, and the manifest says that it made them."""
    written = [json.loads(line)["text"] for line in file.read_text().splitlines()]
    rows = runs.tokens(output).to_pylist()
    assert len(rows) > 10
    assert rows[-1]["source_row"] == len(written) - 1
    for row in rows:
        assert row["input_ids"] == encode_reference(tokenizer, normalize_reference(written[row["source_row"]]))
    assert runs.manifest(output)["tokenizer"]["shards_by_engine"] == {"tokenizers": 1}


@pytest.mark.parametrize("tokenizer", [WORD_PIECE, UNIGRAM], ids=["WordPiece", "Unigram"])
def test_the_reference_encodes_what_the_fast_engine_does_not_know(
    texts: Path, tokenizer: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(tokenizer)
    runs.run(texts, tmp_path / "out", "--tokenizer", file, "--eos", "none", "--direct_num_workers", 1)
    check_ids(tmp_path / "out", texts, tokenizer)


def test_one_wrong_id_switches_engines_and_says_so(texts: Path, tmp_path: Path) -> None:
    arguments = ["--input", texts, "--output", tmp_path / "out", "--tokenizer", tokenizer_path(), "--eos", "none"]
    done = subprocess.run(
        [sys.executable, "-c", ONE_WRONG_ID, *map(str, arguments), "--direct_num_workers", "1"],
        cwd=runs.ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if "gigatoken and tokenizers made different ids" in line]
    assert len(lines) == 1, done.stderr
    check_ids(tmp_path / "out", texts, tokenizer_path().read_bytes())
    assert runs.manifest(tmp_path / "out")["tokenizer"]["compared"]["differing"] > 0
