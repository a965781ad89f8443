"""A run over one large JSON Lines source is the run over the same documents in Parquet, whatever the compression."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

from beam_pipeline.sample import tokenizer_path
from tests import runs
from tests.conftest import SHARDS

SAME = ["input_ids", "n_tokens", "language", "cluster_size"]


@pytest.fixture(scope="module")
def lines(corpus: Path) -> list[bytes]:
    """The documents of ``corpus``, a line each."""
    return [
        json.dumps(row).encode() + b"\n"
        for path in sorted(corpus.iterdir())
        for row in pq.read_table(path, columns=["id", "text"]).to_pylist()
    ]


@pytest.fixture(scope="module")
def plain(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """All in one file that isn't compressed, and the output of an undisturbed run over it."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "all.jsonl").write_bytes(b"".join(lines))
    runs.run(folder / "all.jsonl", folder / "out", *SHARDS, "--direct_num_workers", 2)
    return folder / "all.jsonl", folder / "out"


def check(source: Path, output: Path, lines: list[bytes], documents: int) -> None:
    """There are several parts, and the last row is traced to its text."""
    assert len(list((output / "tokens").glob("*.parquet"))) > 1
    assert runs.manifest(output)["counts"]["documents"] == documents
    row = int(runs.tokens(output)["source_row"][-1].as_py())
    traced = runs.ask("trace", "--output", output, "--source", source.name, "--row", row, "--text")
    assert traced["text"]["source"] == json.loads(lines[row % len(lines)])["text"]


def test_parts_of_plain_text_give_the_same_token_rows(
    finished: Path, lines: list[bytes], plain: tuple[Path, Path]
) -> None:
    source, output = plain
    assert runs.tokens(output).select(SAME).equals(runs.tokens(finished).select(SAME))
    check(source, output, lines, len(lines))


def test_frames_give_the_same_token_rows(finished: Path, lines: list[bytes], tmp_path: Path) -> None:
    source, repeat = tmp_path / "all.jsonl", 3  # zstd makes so little of the corpus that it wouldn't be cut
    parts = [b"".join(lines[i : i + 100]) for i in range(0, len(lines), 100)]
    source.write_bytes(b"".join(map(zstandard.compress, parts)) * repeat)
    runs.run(source, tmp_path / "out", *SHARDS, "--direct_num_workers", 1)
    assert runs.tokens(tmp_path / "out")["input_ids"].equals(runs.tokens(finished)["input_ids"])
    check(source, tmp_path / "out", lines, repeat * len(lines))


def test_killed_in_the_midst_of_the_parts_it_gives_the_same_bytes(plain: tuple[Path, Path], tmp_path: Path) -> None:
    source, whole = plain
    killed = tmp_path / "killed"
    command = runs.command("--input", source, "--output", killed, "--tokenizer", tokenizer_path(), *SHARDS)
    for stage in ("fingerprints", "tokens"):
        with subprocess.Popen(
            [*command, "--direct_num_workers", "2"], cwd=runs.ROOT, start_new_session=True, stderr=subprocess.DEVNULL
        ) as running:
            deadline = time.monotonic() + 120
            while (
                not list(killed.glob(f"{stage}/*.parquet")) and time.monotonic() < deadline and running.poll() is None
            ):
                time.sleep(0.05)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    runs.run(source, killed, *SHARDS, "--direct_num_workers", 2)
    assert len(runs.digests(killed)) > 4
    assert runs.digests(killed) == runs.digests(whole)
