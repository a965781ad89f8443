"""The result depends on the input and the settings only: not on workers, shards' order, kills or places."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from beam_pipeline import embedded_postgres
from beam_pipeline.sample import tokenizer_path
from tests import runs
from tests.conftest import SHARDS


def test_one_worker_and_another_folder(finished: Path, corpus: Path, tmp_path: Path) -> None:
    runs.run(corpus, tmp_path / "one", *SHARDS, "--direct_num_workers", 1, "--partitions", 5)
    assert runs.digests(tmp_path / "one") == runs.digests(finished)


def test_smaller_shards_give_the_same_rows(finished: Path, corpus: Path, tmp_path: Path) -> None:
    runs.run(corpus, tmp_path / "small", "--shard_bytes", "100KiB", "--direct_num_workers", 2)
    assert len(runs.digests(tmp_path / "small")) > len(runs.digests(finished))
    assert runs.tokens(tmp_path / "small").equals(runs.tokens(finished))


def test_killed_and_continued(finished: Path, corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "killed"
    generator = random.Random(3)
    command = runs.command("--input", corpus, "--output", output, "--tokenizer", tokenizer_path(), *SHARDS)
    for _ in range(4):
        process = subprocess.Popen(
            command, cwd=runs.ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + generator.uniform(4, 14)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            break
        finally:
            process.wait()
    (output / "tokens").mkdir(parents=True, exist_ok=True)
    (output / "tokens" / ".left-over.parquet.part").write_bytes(b"half an object")
    runs.run(corpus, output, *SHARDS)
    (output / "tokens" / ".left-over.parquet.part").unlink()
    left = [path for path in output.rglob("*") if path.is_file() and path.name.startswith(".")]
    for path in left:
        path.unlink()
    assert runs.digests(output) == runs.digests(finished)
    run = runs.manifest(output)["run"]
    with psycopg.connect(embedded_postgres.start()) as connection:
        [(rows, places)] = connection.execute(
            "SELECT count(*), count(DISTINCT (source_uri, source_row)) FROM lineage WHERE run = %s", [run]
        ).fetchall()
    assert rows == places == runs.manifest(finished)["counts"]["documents"]


@pytest.mark.parametrize("lost", ["tokens", "fingerprints", "run.json"])
def test_a_finished_run_mends_what_was_lost(finished: Path, corpus: Path, tmp_path: Path, lost: str) -> None:
    output = tmp_path / "out"
    runs.run(corpus, output, *SHARDS, "--direct_num_workers", 1)
    before = (output / "tokens" / "0000001-00000.parquet").stat().st_mtime_ns
    if lost == "run.json":
        (output / lost).unlink()
    else:
        next((output / lost).glob("0000000-*.parquet")).unlink()
    runs.run(corpus, output, *SHARDS, "--direct_num_workers", 1)
    assert runs.digests(output) == runs.digests(finished)
    assert (output / "tokens" / "0000001-00000.parquet").stat().st_mtime_ns == before, "a finished shard was redone"


def test_relative_places_are_those_of_the_working_directory(finished: Path, corpus: Path, tmp_path: Path) -> None:
    relative = Path(os.path.relpath(corpus, runs.ROOT)), Path(os.path.relpath(tmp_path / "out", runs.ROOT))
    runs.run(*relative, *SHARDS, "--direct_num_workers", 1)
    assert runs.digests(tmp_path / "out") == runs.digests(finished)


def test_other_settings_or_sources_are_refused(finished: Path, corpus: Path, tmp_path: Path) -> None:
    output, sources = tmp_path / "out", tmp_path / "in"
    shutil.copytree(corpus, sources)
    runs.run(sources, output, *SHARDS, "--direct_num_workers", 1)
    before = runs.digests(output)
    refused = runs.run(sources, output, *SHARDS, "--min_similarity", 0.9, status=2)
    assert "min_similarity: 0.8 there, 0.9 now" in refused.stderr
    (sources / "part-1.parquet").write_bytes((sources / "part-2.parquet").read_bytes())
    refused = runs.run(sources, output, *SHARDS, status=2)
    assert "part-1.parquet: changed" in refused.stderr
    assert runs.digests(output) == before
