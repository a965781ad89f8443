"""Filters that keep everything and hold a run up or make it fail, as files in a folder tell them.

Their arguments are settings like any, so that a run with a fault and one without are the same run to the pipeline.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from transforms import write_tokens
from transforms.batches import Batch


class Gate:
    """Lets ``passing`` batches pass and holds up all that come later, until there is a file ``open``.

    A file ``waiting-PROCESS`` appears for each worker that is held up.
    """

    def __init__(self, folder: str, passing: int) -> None:
        self._folder, self._passing = Path(folder), passing

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        if not any(self._take(number) for number in range(self._passing)):
            while not (self._folder / "open").exists():
                (self._folder / f"waiting-{os.getpid()}").touch()
                time.sleep(0.05)
        return pa.nulls(len(documents), pa.string())

    def _take(self, number: int) -> bool:
        """Whether this is the batch that gets this pass: a pass is a file, which only one can make."""
        try:
            (self._folder / f"pass-{number}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class Slow:
    """Takes so many seconds for a batch, asleep."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        time.sleep(self._seconds)
        return pa.nulls(len(documents), pa.string())


class Faulty:
    """Raises once if there is a file ``raise-once``; with a file ``raise-always``, for one shard whenever it comes."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        with contextlib.suppress(FileNotFoundError):  # only one worker can rename it
            (self._folder / "raise-once").rename(self._folder / "raised")
            raise RuntimeError("this shard fails once")
        if (self._folder / "raise-always").exists() and self._is_chosen(documents):
            raise RuntimeError("this shard always fails")
        return pa.nulls(len(documents), pa.string())

    def _is_chosen(self, documents: pa.RecordBatch) -> bool:
        """Whether these are the documents of the first batch that was seen with the fault on."""
        chosen, identity = self._folder / "chosen", hashlib.sha256(documents["text"][0].as_buffer()).hexdigest()
        try:
            with chosen.open("x") as file:
                file.write(identity)
        except FileExistsError:
            return chosen.read_text() == identity
        return True


class Aborts:
    """Kills its process, as a broken library would, at a document with this word in it; at most ``times`` times.

    A file ``PROCESS`` in the folder is the trace of each; with a file ``mended`` it never does.
    """

    def __init__(self, word: str, folder: str, times: int) -> None:
        self._word, self._folder, self._times = word, Path(folder), times

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        there = any(self._word in (text or "") for text in documents["text"].to_pylist())
        mended = (self._folder / "mended").exists()
        if there and not mended and len(list(self._folder.iterdir())) < self._times:
            (self._folder / str(os.getpid())).touch()
            os.abort()
        return pa.nulls(len(documents), pa.string())


class AbortsLater:
    """Keeps everything, and breaks what writes tokens: one shard kills its process there."""

    def __init__(self, shard: str) -> None:
        begin = write_tokens._Write.begin

        def fatal(self: write_tokens._Write, batch: Batch) -> Any:
            if batch.shard.name == shard:
                os.abort()
            return begin(self, batch)

        write_tokens._Write.begin = fatal  # type: ignore[method-assign]

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        return pa.nulls(len(documents), pa.string())
