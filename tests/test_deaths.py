"""The notes of shards that kill their workers: real processes that die, and notes in folders and buckets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import runs, s3
from transforms.io import storage
from transforms.io.deaths import Deaths

AT_WORK = """
import ctypes, os, signal, sys, threading
from transforms.io.deaths import Deaths, at_work
deaths = Deaths(sys.argv[1], 2)
with at_work(deaths, "0000000-00000", "s3://in/first"):
    pass
with at_work(deaths, "0000007-00003", "s3://in/harmful"):
"""

ENDS = {
    "SIGABRT": "os.abort()",
    "SIGSEGV": "ctypes.string_at(0)",
    "SIGBUS": "os.kill(os.getpid(), signal.SIGBUS)",
    "another thread": "t = threading.Thread(target=os.abort); t.start(); t.join()",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "an exception": "raise ValueError",
    "an exit": "os._exit(3)",
    "the machine": "os.killpg(0, signal.SIGKILL)",
}
SETTLED_SECONDS = 3.0
"""A witness that has nothing to note says so by doing nothing."""


@pytest.fixture(scope="module", params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("place")
    if request.param == "folder":
        yield str(folder)
        return
    (folder / "out").mkdir()
    with s3.serve(folder) as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment(endpoint).items():
            patch.setenv(name, value)
        yield "s3://out"


def _die(deaths: Deaths, end: str) -> int:
    """Lets a process die at work; returns its exit status."""
    script = f"{AT_WORK}    {end}\n"
    return subprocess.run(
        [sys.executable, "-c", script, deaths.uri], cwd=runs.ROOT, start_new_session=True, check=False,
        stderr=subprocess.DEVNULL,
    ).returncode  # fmt: skip


def _until(deaths: Deaths, count: int) -> None:
    deadline = time.monotonic() + 60
    while deaths.count() < count:
        assert time.monotonic() < deadline, f"{count} deaths aren't noted"
        time.sleep(0.1)


@pytest.mark.parametrize("end", ["SIGABRT", "SIGSEGV", "SIGBUS", "another thread"])
def test_what_a_shard_does_itself_is_noted(place: str, end: str) -> None:
    deaths = Deaths(storage.join(place, end.replace(" ", "-"), "deaths"), 2)
    number = signal.SIGABRT if end == "another thread" else signal.Signals[end]
    assert deaths.reason("0000007-00003") == ""
    assert _die(deaths, ENDS[end]) == -number
    _until(deaths, 1)
    [uri] = deaths.by_name()["0000007-00003"]
    note = json.loads(storage.read_bytes(uri))
    assert (note["name"], note["source"], note["signal"]) == ("0000007-00003", "s3://in/harmful", number.name)
    assert note["stack"]
    time.sleep(1.1)  # the list is fresh for a second
    assert deaths.reason("0000007-00003") == ""
    _die(deaths, ENDS[end])
    _until(deaths, 2)
    time.sleep(1.1)
    assert f"set aside: 2 workers were killed by {number.name} at work on it" in deaths.reason("0000007-00003")
    assert Deaths(deaths.uri, 0).reason("0000007-00003") == ""
    assert deaths.reason("0000000-00000") == ""
    assert [f"death {number} of max_deaths 2" in told for number, told in enumerate(deaths.tell(), 1)] == [True, True]


def test_what_others_do_is_not(tmp_path: Path) -> None:
    deaths = Deaths(str(tmp_path / "deaths"), 2)
    for end in ("SIGKILL", "SIGTERM", "an exception", "an exit", "the machine"):
        assert _die(deaths, ENDS[end]) != 0, end
    time.sleep(SETTLED_SECONDS)
    assert deaths.count() == 0


def test_a_witness_that_is_gone_is_replaced(tmp_path: Path) -> None:
    deaths = Deaths(str(tmp_path / "deaths"), 2)
    kill = "import psutil; [c.kill() or c.wait() for c in psutil.Process().children()]"
    again = f"{kill}\nwith at_work(deaths, '0000009-00000', 's3://in/second'): os.abort()"
    script = f"{AT_WORK}    pass\n{again}\n"
    subprocess.run([sys.executable, "-c", script, deaths.uri], cwd=runs.ROOT, check=False, stderr=subprocess.DEVNULL)
    _until(deaths, 1)
    assert list(deaths.by_name()) == ["0000009-00000"]
