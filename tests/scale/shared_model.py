"""Memory of eight workers with a fastText model of 1 GB: what they have of it together.

    python -m tests.scale.shared_model

Twice: of a classifier with two labels, whose rows are multiplied by its output, and of a model with more labels than
dimensions, whose rows are mapped as they are. Memory is that of all processes, shared pages counted once (PSS), less
what they had before.
"""

from __future__ import annotations

import multiprocessing
import os
import struct
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from tests.scale.measured import pss
from transforms.recipe.fasttext_scores import FastText

WORKERS, DIMENSION, BUCKETS, WORDS = 8, 100, 2_400_000, 100_000
MOST = 1.5e9


def write_model(path: Path, labels: int) -> None:
    """A model of bigrams with random weights, in the layout of ``FastText::saveModel``."""
    rows = WORDS + BUCKETS
    with path.open("wb") as file:
        file.write(struct.pack("<2i", 793712314, 12))
        file.write(struct.pack("<12id", DIMENSION, 5, 5, 1, 5, 2, 3, 3, BUCKETS, 0, 0, 100, 1e-4))
        file.write(struct.pack("<3i2q", WORDS + labels, WORDS, labels, 999, -1))
        for number in range(WORDS):
            file.write(b"word%d\0" % number + struct.pack("<qb", 3, 0))
        for number in range(labels):
            file.write(b"__label__l%d\0" % number + struct.pack("<qb", 9, 1))
        random = np.random.default_rng(labels)
        some = random.normal(scale=0.1, size=(10_000, DIMENSION)).astype("<f4")
        file.write(struct.pack("<?2q", False, rows, DIMENSION))
        for start in range(0, rows, len(some)):
            file.write(some[: rows - start].tobytes())
        file.write(struct.pack("<?2q", False, labels, DIMENSION) + some[:labels].tobytes())


def texts(seed: int) -> pa.RecordBatch:
    """Two million words, so that most of the buckets are asked for."""
    numbers = np.random.default_rng(seed).integers(0, WORDS, (2_000, 1_000))
    return pa.RecordBatch.from_pydict({"text": [" ".join(f"word{n}" for n in row) for row in numbers.tolist()]})


def work(path: str, seed: int, pipe: Connection) -> None:
    """A worker: before, and after it has scored texts."""
    documents = texts(seed)
    step = FastText(path, type="float32")
    pipe.send("ready")
    pipe.recv()
    step.setup()
    step(documents)
    pipe.send("done")
    pipe.recv()


def measure(labels: int, folder: Path) -> tuple[float, float, float]:
    """Bytes of the model's file, and of the memory of all workers before and with it."""
    path = folder / f"{labels}.bin"
    write_model(path, labels)
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for seed in range(WORKERS):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(str(path), seed, theirs), daemon=True)
            process.start()
            theirs.close()  # so that a worker's death ends the wait for it
            pipes.append(ours)
            processes.append(process)
        memory = []
        for _ in range(2):
            for pipe in pipes:
                pipe.recv()
            memory.append(sum(pss(process.pid or 0) for process in processes))
            for pipe in pipes:
                pipe.send("go on")
        return path.stat().st_size, memory[0], memory[1]
    finally:
        for process in processes:
            process.kill()
            process.join()
        path.unlink()


def main() -> int:
    """Measures; returns the exit status."""
    most = 0.0
    with tempfile.TemporaryDirectory() as name:
        os.environ["TMPDIR"] = tempfile.tempdir = name  # the rows are made anew, and removed
        for labels in (2, 300):
            size, before, after = measure(labels, Path(name))
            most = max(most, after - before)
            Console(highlight=False, soft_wrap=True).print(
                f"{WORKERS} workers, a model of {size / 1e9:.2f} GB with {labels} labels: {(after - before) / 1e9:.2f} "
                f"GB for it together, beside {before / 1e9:.2f} GB that they had before"
            )
    return int(most > MOST)


if __name__ == "__main__":
    sys.exit(main())
