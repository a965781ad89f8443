"""Ctrl-C at any moment, sent to all processes as a terminal does, ends a command with a sentence."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beam_pipeline.sample import tokenizer_path
from tests import runs


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted")
    runs.write_corpus(folder, files=2, documents=4000)
    return folder


def interrupted(output: Path, source: Path, wait: float, objects: int = 0, again: float = 0.01) -> tuple[int, str]:
    """Exit status and what was said, of a run with two workers that is ended after a time, or so many objects.

    Ctrl-C comes twice, ``again`` seconds apart.
    """
    arguments = ("--input", source, "--output", output, "--tokenizer", tokenizer_path(), "--direct_num_workers", 2)
    running = subprocess.Popen(
        runs.command(*arguments, "--shard_bytes", "100KiB"),
        cwd=runs.ROOT, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 200
        time.sleep(wait)
        while objects and len(list((output / "fingerprints").glob("*.parquet"))) < objects:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGINT)
        with contextlib.suppress(ProcessLookupError):
            time.sleep(again)
            os.killpg(running.pid, signal.SIGINT)  # in the midst of what the first one has begun
        said, _ = running.communicate(timeout=120)
        return running.returncode, said
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


@pytest.mark.parametrize("wait", [0.4, 1.5, 4.0])
def test_early(source: Path, tmp_path: Path, wait: float) -> None:
    status, said = interrupted(tmp_path / "out", source, wait)
    assert status in (1, 130, -signal.SIGINT)
    assert "Traceback" not in said, said
    assert len(said.splitlines()) <= 4, said


def test_in_the_middle_and_again(source: Path, tmp_path: Path) -> None:
    status, said = interrupted(tmp_path / "out", source, 0, objects=3)
    assert status == 1
    assert "was stopped. What is done is kept; run the same command to go on." in said
    assert "Traceback" not in said, said
    assert len([line for line in said.splitlines() if " INFO " not in line]) == 1, said
    assert runs.ask("status", "--output", tmp_path / "out")["state"] == "stopped"


SWALLOWED = """
import sys, time
from beam_pipeline.supervision import supervised

class Interrupted:
    def __del__(self):
        raise KeyboardInterrupt  # as a Ctrl-C that comes while this runs

def command():
    try:
        interrupted = Interrupted()
        del interrupted
        time.sleep(300)
    except KeyboardInterrupt:
        return 7
    return 0

sys.exit(supervised(command))
"""


def test_while_python_ignores_exceptions() -> None:
    done = subprocess.run([sys.executable, "-c", SWALLOWED], cwd=runs.ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (7, "")
