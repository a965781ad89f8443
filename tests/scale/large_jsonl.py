"""One large file of JSON Lines on two workers and on one: time, the token rows of the same documents in Parquet, kills.

    python -m tests.scale.large_jsonl [MB] [--kills N] [--at_most SHARE]

Plain text, and zstd of 100 frames. The documents are generated.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import zstandard
from rich.console import Console

from beam_pipeline import embedded_postgres
from beam_pipeline.sample import tokenizer_path
from benchmarks import inputs
from tests import runs
from tests.postgres import public_folder

FRAMES = 100
ROWS = ["input_ids", "n_tokens", "language", "cluster_size"]


def generate(folder: Path, megabytes: int) -> dict[str, Path]:
    """The same documents in three forms."""
    forms = {"parquet": folder / "parquet", "plain": folder / "plain.jsonl", "zstd": folder / "frames.jsonl.zst"}
    inputs.generate(forms["parquet"], megabytes * 1_000_000, files=FRAMES)
    with forms["plain"].open("wb") as plain, forms["zstd"].open("wb") as frames:
        for file in sorted(forms["parquet"].iterdir()):
            lines = b"".join(json.dumps(row).encode() + b"\n" for row in pq.read_table(file).to_pylist())
            plain.write(lines)
            frames.write(zstandard.compress(lines))
    return forms


def command(source: Path, output: Path, workers: int) -> list[str]:
    """A run over one source. Shards are a hundredth of the file: what two workers share out must be many pieces."""
    size = max(4, source.stat().st_size // (FRAMES * 1_000_000)) if source.is_file() else 128
    return runs.command(
        "--input", source, "--output", output, "--tokenizer", tokenizer_path(), "--direct_num_workers", workers,
        "--shard_bytes", f"{min(128, size)}MB",
    )  # fmt: skip


def run(source: Path, output: Path, workers: int) -> float:
    """Seconds of a run."""
    started = time.monotonic()
    subprocess.run(command(source, output, workers), cwd=runs.ROOT, check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - started


def digest(output: Path) -> str:
    """Of all token rows in the order of the documents; one object is held at a time."""
    found = hashlib.sha256()
    for path in sorted((output / "tokens").glob("*.parquet")):
        for row in zip(*(column.to_pylist() for column in pq.read_table(path, columns=ROWS).columns), strict=True):
            found.update(repr(row).encode())
    return found.hexdigest()


def killed(source: Path, output: Path, kills: int, seconds: float) -> int:
    """A run that is killed at random moments, and then carried to its end; returns how often it was killed."""
    chance = random.Random(1)
    for kill in range(kills):
        with subprocess.Popen(
            command(source, output, 2), cwd=runs.ROOT, start_new_session=True, stderr=subprocess.DEVNULL
        ) as running:
            try:
                running.wait(chance.uniform(0.1, 0.9) * seconds)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
            else:
                return kill
    return kills


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser("python -m tests.scale.large_jsonl", description=__doc__)
    parser.add_argument("megabytes", type=int, nargs="?", default=500)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--at_most", type=float, default=0.55, help="two workers' share of one's time")
    known = parser.parse_args(arguments)
    console = Console(width=160)
    with tempfile.TemporaryDirectory(prefix="jsonl-", dir=os.environ.get("SCALE_DIR")) as name, public_folder() as data:
        os.environ["BEAM_PIPELINE_DATA_DIR"] = str(data)
        folder = Path(name)
        forms = generate(folder, known.megabytes)
        run(forms["parquet"], folder / "expected", 2)
        expected, failed = digest(folder / "expected"), []
        for form in ("plain", "zstd"):
            seconds = {workers: run(forms[form], folder / f"{form}-{workers}", workers) for workers in (1, 2)}
            share = seconds[2] / seconds[1]
            same = {digest(folder / f"{form}-{workers}") for workers in (1, 2)} == {expected}
            bytes_alike = runs.digests(folder / f"{form}-1") == runs.digests(folder / f"{form}-2")
            console.print(
                f"{form}, {known.megabytes:,} MB of text: {seconds[1]:.0f} s on one worker, {seconds[2]:.0f} s on two, "
                f"{share:.2f} of it; rows {'as' if same else 'NOT as'} in Parquet; "
                f"the bytes {'are the same' if bytes_alike else 'DIFFER'} on one and two"
            )
            kills = killed(forms[form], folder / f"{form}-killed", known.kills, seconds[2])
            run(forms[form], folder / f"{form}-killed", 2)
            alike = runs.digests(folder / f"{form}-killed") == runs.digests(folder / f"{form}-2")
            said = "the same bytes" if alike else "OTHER BYTES"
            console.print(f"{form}: killed {kills} times and continued: {said}")
            failed += [form] * (not (same and bytes_alike and alike and share <= known.at_most))
        embedded_postgres.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
