"""The command in a process of its own, and one above it that says what became of it.

Files are opened by the command itself before a run starts, and with one worker of DirectRunner it does all the work.
A file that kills the process then kills the command: somebody has to be left to say so and to go on.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from runners.own_folder import remove_abandoned

INTERRUPTED = 130
"""What shells give a command that Ctrl-C has ended."""
_PR_SET_PDEATHSIG = 1
_FROM_THE_TERMINAL = 0x80
"""``si_code`` of a signal that the kernel has sent: to all processes of the terminal, the child included."""
_OWN_FAULTS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_TOLD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TWICE_SECONDS = 2.0

_shared = mmap.mmap(-1, mmap.PAGESIZE)
"""What the command tells the process above it; empty until it has something to tell."""
_AT_WORK = b"at work "
_killed: tuple[int, int] | None = None
_told_to_stop: float | None = None
"""When this process was told to stop, on the monotonic clock."""


def reading(uri: str) -> None:
    """Tells which file the command opens next, to be named should that kill it."""
    _tell(uri.encode(errors="surrogateescape"))


def at_work(deaths: int) -> None:
    """Tells that from here on deaths are noted elsewhere (``transforms.io.deaths``), so many until now."""
    _tell(_AT_WORK + str(deaths).encode())


def killed_before() -> tuple[int, int] | None:
    """The signal that has killed the command's last start at work, and the deaths that were noted before it."""
    return _killed


def supervised(command: Callable[[], int]) -> int:
    """Runs a command in a child process; returns its exit status.

    A child that is killed at work by its own fault is started again (``killed_before``): it has to find out whether
    going on makes sense. Signals to this process are passed on. If this process is killed, so is the child.
    """
    global _killed
    if not sys.platform.startswith("linux"):
        return command()
    while True:
        _tell(b"")
        signal.pthread_sigmask(signal.SIG_BLOCK, (*_TOLD, signal.SIGCHLD))
        parent = os.getpid()
        child = os.fork()
        if not child:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_TOLD, signal.SIGCHLD))
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
            sys.unraisablehook = _interrupt_again
            signal.signal(signal.SIGINT, _interrupt)
            return command()
        status = _end_of(child)
        if os.WIFSIGNALED(status):
            remove_abandoned()
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        number, told = os.WTERMSIG(status), _told()
        if number == signal.SIGINT:  # Python ends itself so after a Ctrl-C, even where the command has handled it
            return INTERRUPTED
        if number not in _OWN_FAULTS or not told.startswith(_AT_WORK):
            _say(number, told)
            return 1
        _killed = number, int(told.removeprefix(_AT_WORK))


def heeded() -> list[signal.Signals]:
    """The signals that tell this process to stop. Not SIGHUP where that is ignored, as nohup has it."""
    return [number for number in _TOLD if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]


def told_before() -> bool:
    """Whether the signal that is handled repeats one: it comes twice from impatience, or by the terminal and passed on.

    Once is enough. Two seconds later it is of somebody who waits for the end, and ends what comes now, too.
    """
    global _told_to_stop
    now = time.monotonic()
    before = _told_to_stop is not None and now - _told_to_stop < _TWICE_SECONDS
    if not before:
        _told_to_stop = now
    return before


def _interrupt(number: int, frame: object) -> None:
    if not told_before():
        raise KeyboardInterrupt


def _interrupt_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Raises a Ctrl-C once more that came where Python ignores exceptions: in a destructor or a callback."""
    global _told_to_stop
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _told_to_stop = None
        main = threading.main_thread().ident
        again = threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT))  # once the callback is over
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)


def _end_of(child: int) -> int:
    """Passes on what this process is told, until the child has ended; returns how it did."""
    while True:
        told = signal.sigwaitinfo((*_TOLD, signal.SIGCHLD))
        if told.si_signo != signal.SIGCHLD:
            if told.si_code != _FROM_THE_TERMINAL:
                os.kill(child, told.si_signo)
            continue
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status


def _say(number: int, told: bytes) -> None:
    name = signal.Signals(number).name
    where = f" reading {os.fsdecode(told)}" if told and not told.startswith(_AT_WORK) else ""
    why = ": out of memory?" if number == signal.SIGKILL else ""
    end = " What is done is kept; run the same command to go on." if told.startswith(_AT_WORK) else ""
    sys.stderr.write(f"beam_pipeline: the command was killed by signal {number} ({name}){where}{why}.{end}\n")


def _tell(message: bytes) -> None:
    message = message[: len(_shared) - 1]
    _shared[: len(message) + 1] = message + b"\0"


def _told() -> bytes:
    return _shared[:].partition(b"\0")[0]
