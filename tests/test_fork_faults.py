"""What may go wrong between a command, the process that its workers are forked from, and the workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runners import own_folder
from tests import runs
from tests.test_forked_workers import EARLY, SECONDS, SERVICE, python, starter

STARTS = pytest.mark.parametrize("early", [EARLY, ""], ids=["forked", "with an interpreter of its own"])


def test_a_worker_that_has_ended_may_be_killed_at_the_same_moment(tmp_path: Path) -> None:
    """The server, which was busy, finds its end and the signal together."""
    said = python(
        """
import functools, os, signal
worker, other = (forked_workers.start_worker(environment, quiet=True, log=log) for _ in range(2))
forked_workers.load_early(functools.partial(time.sleep, 2))
time.sleep(0.5)
os.kill(worker.pid, signal.SIGKILL)
time.sleep(0.5)
worker.kill()
print(worker.wait())
other.terminate()
print(other.wait())
""",
        tmp_path / "log",
    )
    assert said == ["-9", "-15"]


def test_an_owner_can_end_while_its_server_loads(tmp_path: Path) -> None:
    code = "import functools; forked_workers.load_early(functools.partial(time.sleep, 10_000)); time.sleep(0.5)"
    python(code, tmp_path / "log", EARLY + "\n")


def test_where_no_process_is_to_be_had_the_others_stay(tmp_path: Path) -> None:
    said = python(
        """
import functools
worker = forked_workers.start_worker(environment, quiet=True, log=log)
failing = "import os; os.real, os.fork = os.fork, lambda: os.open('.', os.O_RDWR)"  # an error of the kernel's
forked_workers.load_early(functools.partial(exec, failing))
try:
    forked_workers.start_worker(environment, quiet=True, log=log)
except OSError as error:
    print(error)
forked_workers.load_early(functools.partial(exec, "import os; os.fork = os.real"))
again = forked_workers.start_worker(environment, quiet=True, log=log)
for each in (worker, again):
    each.terminate()
    print(each.wait())
""",
        tmp_path / "log",
    )
    assert said == ["[Errno 21] no worker can be started: Is a directory", "-15", "-15"]


@STARTS
def test_what_a_command_ignores_its_workers_ignore(tmp_path: Path, early: str) -> None:
    """As SIGHUP under nohup, when the terminal is closed."""
    before = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {early}\n{SERVICE}"
    said = python(
        """
import os
worker = forked_workers.start_worker(environment, log=log)
until = time.monotonic() + 250
while "Python sdk harness starting" not in log.read_text() and time.monotonic() < until:
    time.sleep(0.05)
os.kill(worker.pid, signal.SIGHUP)
worker.terminate()
print(worker.wait())
""",
        tmp_path / "log",
        before,
    )
    assert said == ["-15"]


@STARTS
def test_a_command_needs_no_stdin_stdout_and_stderr(tmp_path: Path, early: str) -> None:
    code = """
worker = forked_workers.start_worker({"WORKER_ID": "2"})  # it ends at once
Path(sys.argv[1]).write_text(str(worker.wait()))
"""
    log = tmp_path / "log"
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *starter(code, log, early)]
    subprocess.run(closed, cwd=runs.ROOT, timeout=SECONDS, check=True)
    assert log.read_text() == "1"


def test_workers_draw_different_numbers(tmp_path: Path) -> None:
    """Although they are copies: code of users may name files by them."""
    python(
        """
import functools
draw = "import random, numpy; from runners import worker_main; " \\
    "worker_main.work = lambda quiet: print(random.random(), numpy.random.random(), sep='\\\\n')"
forked_workers.load_early(functools.partial(exec, draw, {}))
for _ in range(2):
    assert forked_workers.start_worker({}, log=log).wait() == 0
""",
        tmp_path / "log",
        EARLY + "; log = Path(sys.argv[1])",
    )
    assert len(set((tmp_path / "log").read_text().split())) == 4


def test_a_folder_that_another_process_has_just_removed_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take a folder for an abandoned one between its making and its lock."""
    flock = own_folder.fcntl.flock

    def late(*arguments: int) -> None:
        shutil.rmtree(tmp_path / "a")
        flock(*arguments)

    monkeypatch.setattr(own_folder.fcntl, "flock", late)
    (tmp_path / "a").mkdir()
    assert own_folder._held(tmp_path / "a", os.O_CREAT) is None


def test_a_run_goes_on_where_sighup_is_ignored() -> None:
    """As nohup has it."""
    code = """
import signal
from beam_pipeline import execution

signal.signal(signal.SIGHUP, signal.{before})
execution._stop_when_told()
print([signal.getsignal(number) == signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)])
"""
    for before, ignored in (("SIG_IGN", True), ("SIG_DFL", False)):
        command = [sys.executable, "-c", code.format(before=before)]
        done = subprocess.run(command, cwd=runs.ROOT, capture_output=True, text=True, timeout=SECONDS, check=True)
        assert done.stdout == f"[False, False, {ignored}]\n"
