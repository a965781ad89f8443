"""A run that keeps nothing has a status of its own and says why; mostly invalid sources are the last thing said."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from tests import runs

TEXT = "The ferry leaves at seven from the old harbour, and number {} is painted on its side in white letters."
ONE = ("--direct_num_workers", 1)


def write(path: Path, rows: list[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_run_that_keeps_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": TEXT.format(row)} for row in range(5)] + [{"text": ""}])
    done = runs.run(source, tmp_path / "out", *ONE, "--languages", "de", status=4)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("WARNING: nothing was kept of 6 documents: 5 dropped: language_not_wanted; 1 invalid: empty")
    assert last.endswith("the languages kept are de")
    manifest = runs.manifest(tmp_path / "out")
    assert manifest["counts"]["kept"] == 0
    assert manifest["warnings"][-1] in last
    again = runs.run(source, tmp_path / "out", *ONE, "--languages", "de", status=4)
    assert again.stderr.splitlines()[-1] == last


def test_nothing_to_keep(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "empty.jsonl", [])
    done = runs.run(folder, tmp_path / "out", *ONE, status=4)
    assert done.stderr.splitlines()[-1] == "WARNING: nothing was kept of 0 documents: the sources hold no documents"


@pytest.mark.parametrize("shard_bytes", ["128MiB", 1])  # all sources in one shard, or a shard of each
def test_mostly_invalid_sources_are_named_last(tmp_path: Path, shard_bytes: str | int) -> None:
    good = [{"text": TEXT.format(row)} for row in range(10)]
    write(tmp_path / "in" / "good.jsonl", [*good, {"text": None}, {"text": ""}, "half"])
    write(tmp_path / "in" / "bad.jsonl", [*({"text": 7} for _ in range(9)), {"text": TEXT.format("nine")}])
    write(tmp_path / "in" / "mixed.jsonl", [{"text": 7}, {"text": None}, {"text": TEXT.format("ten")}])
    write(tmp_path / "in" / "empty.jsonl", [])
    done = runs.run(tmp_path / "in", tmp_path / "out", *ONE, "--shard_bytes", shard_bytes)
    warnings = runs.manifest(tmp_path / "out")["warnings"]
    assert warnings == [f"9 of 10 documents of {tmp_path / 'in' / 'bad.jsonl'} can't be used: text_not_a_string"]
    assert done.stderr.splitlines()[-1] == f"WARNING: {warnings[0]}"


def train(*arguments: object, status: int) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        runs.command("train-tokenizer", "--vocab_size", 300, *arguments),
        cwd=runs.ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done


class TestTrainTokenizer:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write(tmp_path / "in" / "texts.jsonl", [{"text": TEXT.format(row)} for row in range(2000)])

    def test_replaces_nothing_without_being_told(self, source: Path, tmp_path: Path) -> None:
        output = tmp_path / "tokenizer.json"
        output.write_text("precious")
        refused = train("--input", source, "--output", output, status=2)
        assert f"{output} is there already; --overwrite replaces it" in refused.stderr
        assert output.read_text() == "precious"
        train("--input", source, "--output", output, "--overwrite", status=0)
        assert json.loads(output.read_text())["model"]["type"] == "BPE"

    def test_a_cut_gzip_is_named(self, source: Path, tmp_path: Path) -> None:
        cut = source.parent / "cut.jsonl.gz"
        cut.write_bytes(gzip.compress(source.read_bytes())[:-500])
        done = train("--input", source.parent, "--output", tmp_path / "tokenizer.json", status=3)
        [line] = done.stderr.splitlines()
        assert line.startswith(f"left out: {cut}: the gzip stream is cut short")
        assert (tmp_path / "tokenizer.json").exists()

    def test_a_misspelt_column(self, source: Path, tmp_path: Path) -> None:
        refused = train("--input", source, "--output", tmp_path / "t.json", "--text_column", "txt", status=2)
        assert "did you mean 'text'?" in refused.stderr
        assert not (tmp_path / "t.json").exists()
