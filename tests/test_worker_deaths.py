"""Workers of DirectRunner that die, or can't be reached: the run ends at once and says why, or goes on."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml

from beam_pipeline.sample import tokenizer_path
from runners.direct import how_it_ended
from tests import runs
from tests.fault_filters import Slow

TWO_WORKERS = ("--direct_num_workers", 2)
MOST_SECONDS = 60
NOBODY = "http://127.0.0.1:9"
"""A proxy that isn't there."""


def _start(corpus: Path, output: Path, *flags: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        runs.command("--input", corpus, "--output", output, "--tokenizer", tokenizer_path(), *flags),
        cwd=runs.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _workers(command: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes of a command, once there is one."""
    while command.poll() is None:
        children = psutil.Process(command.pid).children(recursive=True)
        found = [child for child in children if "runners.worker_main" in " ".join(child.cmdline())]
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"the command has ended before it had workers:\n{command.communicate()[0]}")


def test_localhost_never_goes_through_a_proxy(
    corpus: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOBODY)
    done = runs.run(corpus, tmp_path / "out", "--shard_bytes", "300KiB", *TWO_WORKERS)
    assert runs.digests(tmp_path / "out") == runs.digests(finished)
    # What it says are our lines, each once: nothing of Beam's, in whose workers a lot is said.
    lines = done.stderr.splitlines()
    assert [line for line in lines if "INFO" in line or "WARNING" in line] == lines[:1]
    assert "3 sources" in lines[0]


@pytest.mark.parametrize("when", ["as it starts", "in the middle"])
def test_a_worker_that_is_killed_ends_the_run(corpus: Path, tmp_path: Path, when: str) -> None:
    config = tmp_path / "slow.yaml"
    config.write_text(yaml.safe_dump({"filters": [{"use": f"{Slow.__module__}:Slow", "arguments": {"seconds": 2.0}}]}))
    output = tmp_path / "out"
    command = _start(corpus, output, "--config", config, "--shard_bytes", "100KiB", *TWO_WORKERS)
    try:
        workers = _workers(command)
        while when != "as it starts" and not list((output / "fingerprints").glob("*.parquet")):
            assert command.poll() is None, command.communicate()[0]
            time.sleep(0.05)
        workers[0].kill()
        killed = time.monotonic()
        said, _ = command.communicate(timeout=MOST_SECONDS)
    finally:
        command.kill()
        command.wait()
    assert time.monotonic() - killed < MOST_SECONDS
    assert command.returncode == 1
    assert f"worker process {workers[0].pid} was killed by signal 9 (SIGKILL): out of memory?" in said
    assert "run the same command to go on" in said
    assert "Traceback" not in said
    assert runs.ask("status", "--output", output)["state"] == "failed"
    assert not any(worker.is_running() for worker in workers)


def test_the_end_of_a_process_in_words() -> None:
    assert how_it_ended(3) == "has ended with exit status 3"
    assert how_it_ended(-signal.SIGSEGV) == "was killed by signal 11 (SIGSEGV)"
