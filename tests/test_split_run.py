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


@pytest.mark.parametrize(("kind", "workers"), [("plain", 2), ("zstd", 1)])
def test_parts_of_one_source_give_the_same_token_rows(
    finished: Path, lines: list[bytes], tmp_path: Path, kind: str, workers: int
) -> None:
    parts = [b"".join(lines[i : i + 100]) for i in range(0, len(lines), 100)]
    source = tmp_path / "all.jsonl"
    source.write_bytes(b"".join(parts if kind == "plain" else map(zstandard.compress, parts)))
    repeat = 1 if kind == "plain" else 3  # zstd makes so little of the corpus that it wouldn't be cut
    source.write_bytes(source.read_bytes() * repeat)
    output = tmp_path / "out"
    runs.run(source, output, *SHARDS, "--direct_num_workers", workers)
    found, expected = runs.tokens(output), runs.tokens(finished)
    if repeat == 1:
        assert found.select(SAME).equals(expected.select(SAME))
    else:
        assert found["input_ids"].equals(expected["input_ids"])
    assert len(list((output / "tokens").glob("*.parquet"))) > 1
    assert runs.manifest(output)["counts"]["documents"] == repeat * len(lines)
    row = int(found["source_row"][-1].as_py())
    traced = runs.ask("trace", "--output", output, "--source", source.name, "--row", row, "--text")
    assert traced["text"]["source"] == json.loads(lines[row % len(lines)])["text"]


def test_killed_in_the_midst_of_the_parts_it_gives_the_same_bytes(lines: list[bytes], tmp_path: Path) -> None:
    source = tmp_path / "all.jsonl"
    source.write_bytes(b"".join(lines))
    runs.run(source, tmp_path / "whole", *SHARDS, "--direct_num_workers", 1)
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
    assert runs.digests(killed) == runs.digests(tmp_path / "whole")
