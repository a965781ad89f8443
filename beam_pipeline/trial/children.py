"""Work in a child process: a step that hangs, crashes or fills the memory ends the child, and is named.

The child is a fork, so it begins with all that was imported and read. What it is doing stands in memory that both share
(``Beat``); by that the parent knows at which document of which step the child was.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import mmap
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from schemas.errors import ToldError

HARD_SECONDS = 30.0
"""A child that is so long at one document, and can't be interrupted, is killed."""
START_SECONDS = 300.0
"""A child that is so long at nothing that is known is killed: its own work takes no minute."""
MEMORY_BYTES = 2 << 30
"""What a child may use beside what it began with."""
NOTED = 200
_POLL_SECONDS = 0.005
_PR_SET_PDEATHSIG = 1
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(eq=False)
class Death(ToldError):
    """A child has ended without an answer.

    Attributes:
      how: in words, for a sentence that begins with the step.
      kind: ``hangs``, ``memory`` or ``crashes``.
      step: number of the step that it was at, -1 if none.
      first, last: places of the documents that it was at; -1 if none.
    """

    how: str
    kind: str
    step: int
    first: int
    last: int

    def __str__(self) -> str:
        return f"recipe: the import of its steps, or their setup, {self.how}: look there first"


class Beat:
    """What a child is at: a step, the places of documents, and since when; in shared memory.

    It also holds the first ``NOTED`` documents at which steps took too long, for the case that the child dies.
    """

    def __init__(self) -> None:
        self._values = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
        self.step = -1

    @property
    def step(self) -> int:
        """Number of the step at work; -1: none."""
        return int(self._values[0])

    @step.setter
    def step(self, number: int) -> None:
        self._values[0] = number
        self._values[3] = 0.0
        self._values[1] = self._values[2] = -1
        self._values[5] = time.monotonic()

    def begin(self, first: int, last: int) -> None:
        """The step is called with the documents between these places."""
        values = self._values
        values[1], values[2] = first, last
        values[4] = time.process_time()
        values[3] = values[5] = time.monotonic()

    def end(self) -> None:
        """The step has answered."""
        self._values[3] = 0.0

    @property
    def seen(self) -> float:
        """When a step was begun or called last (``time.monotonic``)."""
        return self._values[5]

    def note_slow(self, place: int) -> None:
        """The step at work took too long at a document."""
        number = int(self._values[7])
        if number < NOTED:
            self._values[8 + 2 * number], self._values[9 + 2 * number] = self.step, place
            self._values[7] = number + 1

    @property
    def slow(self) -> list[tuple[int, int]]:
        """Steps and places of documents at which they took too long."""
        at = range(8, 8 + 2 * int(self._values[7]), 2)
        return [(int(self._values[number]), int(self._values[number + 1])) for number in at]

    @property
    def places(self) -> tuple[int, int]:
        """First and last place of the documents that a step is called with."""
        return int(self._values[1]), int(self._values[2])

    @property
    def began(self) -> tuple[float, float] | None:
        """When the call began (``time.monotonic``), and the child's CPU seconds then; None between calls."""
        return (self._values[3], self._values[4]) if self._values[3] else None


def apart(work: Callable[[], Any], beat: Beat, output: Path, outer: Beat | None = None) -> Any:
    """What a function returns that is called in a child process.

    Args:
      work: what to do; its answer can be pickled.
      beat: what the child says it is at.
      output: takes what the child prints, to stdout and stderr; the answer is held beside it for a while.
      outer: the beat of this process, if it is itself a child; it is kept alive.

    Raises:
      Death: the child has ended without an answer.
      Exception: what the function raised.
    """
    beat.step = -1
    with tempfile.TemporaryDirectory(prefix="answer-", dir=output.parent) as folder:
        answer = Path(folder) / "answer"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, if Arrow has threads: they are idle
            parent, pid = os.getpid(), os.fork()
        if pid == 0:
            _child(work, answer, output, parent)
        try:
            _watch(pid, beat, outer)
        finally:
            _end(pid)
            if outer is not None:
                outer.end()
        with answer.open("rb") as file:
            kind, value = pickle.load(file)
    if kind == "raised":
        raise value
    return value


def _child(work: Callable[[], Any], answer: Path, output: Path, parent: int) -> None:
    """The child's whole life."""
    status = 1
    try:
        _settle(output, parent)
        gc.freeze()  # what was there before needn't be looked through again
        try:
            found = ("returned", work())
        except Exception as error:  # noqa: BLE001 - it is the parent's to tell
            found = ("raised", error)
        with answer.open("wb") as file:
            pickle.dump(found, file, protocol=5)
        status = 0
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _settle(output: Path, parent: int) -> None:
    """Makes the forked process one of its own: its output, its signals, its limits."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the parent ends its children
    end_with(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115


def end_with(parent: int) -> None:
    """Has this process end when its parent does, however that ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _watch(pid: int, beat: Beat, outer: Beat | None) -> None:
    """Waits for the child; ends it if it is over a limit."""
    began, least = time.monotonic(), resident_bytes(pid)
    while True:
        if outer is not None:
            outer.begin(-1, -1)
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            if status == 0:
                return
            raise Death(_ending(status), "crashes", beat.step, *beat.places)
        now = time.monotonic()
        call = beat.began
        if call is not None and now - call[0] > HARD_SECONDS:
            how = f"doesn't come back: it was ended after {HARD_SECONDS:.0f} s"
            raise Death(how, "hangs", beat.step, *beat.places)
        began = max(began, beat.seen)
        if call is not None:
            began = now
        elif now - began > START_SECONDS:
            raise Death("doesn't come back", "hangs", beat.step, *beat.places)
        if resident_bytes(pid) - least > MEMORY_BYTES:
            how = f"takes more than {MEMORY_BYTES >> 20:,} MiB of memory, and was ended"
            raise Death(how, "memory", beat.step, *beat.places)
        time.sleep(_POLL_SECONDS if now - began < 1 else 10 * _POLL_SECONDS)


def _end(pid: int) -> None:
    """Ends the child if it is there still."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        done, _ = os.waitpid(pid, os.WNOHANG)  # refused if it was waited for: its number may be another's by now
        if not done:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"ends its process by {signal.Signals(-code).name}"
    return f"ends its process with status {code}"


def resident_bytes(pid: int) -> int:
    """Memory of a process; 0 where the system doesn't say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


class TooSlow(BaseException):
    """A step has been at one call for too long. Not an ``Exception``: user code may catch those."""


DOCUMENT_SECONDS, WAIT_SECONDS = 10.0, 20.0
"""CPU time of a document; and time on the wall, for one at which a step waits."""


@contextlib.contextmanager
def interrupted(beat: Beat) -> Iterator[None]:
    """In the block, a call that takes too long is interrupted by ``TooSlow``: Python code, and regular expressions."""

    def look(number: int, frame: object) -> None:
        call = beat.began
        if call is not None and (
            time.process_time() - call[1] > DOCUMENT_SECONDS or time.monotonic() - call[0] > WAIT_SECONDS
        ):
            beat.end()
            raise TooSlow

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.25, 0.25)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
