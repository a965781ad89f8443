"""What a command costs: CPU seconds of all its processes, the embedded PostgreSQL's too, and memory.

``python -m benchmarks.cpu COMMAND ...`` runs the command and prints one line of JSON after all else.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_POLL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one command.

    Attributes:
      wall: seconds until its last process ended.
      cpu: user and system seconds of all its processes, also of those that left their parent (a database server).
      peak_bytes: the largest resident memory of any one Python process.
    """

    wall: float
    cpu: float
    peak_bytes: int


class CommandFailed(Exception):
    """A measured command didn't end with status 0."""


def measure(command: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None) -> tuple[Cost, str]:
    """Runs a command; returns its cost and what it printed.

    Raises:
      CommandFailed: with the end of what it printed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cpu", *command],
        env={**os.environ, **environment}, cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}")
    *printed, last = done.stdout.splitlines()
    return Cost(**json.loads(last)), "\n".join(printed)


def _main(command: Sequence[str]) -> int:
    # Orphans become children of this process, so that their time is counted when they end.
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    peaks: dict[int, int] = {}
    stop = threading.Event()
    poll = threading.Thread(target=_watch_memory, args=(peaks, stop))
    poll.start()
    started = time.perf_counter()
    with subprocess.Popen(command) as process:
        status = process.wait()
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass
    wall = time.perf_counter() - started
    stop.set()
    poll.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = Cost(wall, used.ru_utime + used.ru_stime, max(peaks.values(), default=0))
    print(json.dumps(dataclasses.asdict(cost)), flush=True)
    return status


def _watch_memory(peaks: dict[int, int], stop: threading.Event) -> None:
    while not stop.wait(_POLL_SECONDS):
        for pid in _descendants(os.getpid()):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue  # it has just ended
            fields = dict(line.split(":", 1) for line in status.splitlines())
            if fields["Name"].strip().startswith(("python", "beam-")) and "VmHWM" in fields:
                peaks[pid] = int(fields["VmHWM"].split()[0]) * 1024


def _descendants(pid: int) -> list[int]:
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return found + [below for child in found for below in _descendants(child)]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command decides what an interrupt means
    sys.exit(_main(sys.argv[1:]))
