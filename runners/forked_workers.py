"""Worker processes of any runner, forked from a process that has imported what they need (``runners.fork_server``).

A worker with an interpreter of its own takes three CPU seconds until it works, nearly all of them for imports.

There are two ways to start the server. ``fork_early`` forks it from this process, which costs nothing, but has to be
done while there is one thread. Otherwise ``start_worker`` starts it with an interpreter of its own.

Who ends with whom:

- the server, when the process that started it has ended, in whatever way. It kills its workers first;
- a worker, when the server is killed, or when nobody holds its ``Worker`` any more;
- whoever has asked for a worker is told its exit status. Signals to it go through the server, which alone knows
  whether a process id is still the worker's.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runners.fork_server import NUMBER, has_one_thread, import_needed, received, serve
from runners.own_processes import module_command

_lock = threading.Lock()
_server: _Server | None = None


class Worker:
    """A worker process, with what callers use of ``subprocess.Popen``.

    Attributes:
      pid: its process id.
    """

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self._channel = channel
        self._code: int | None = None
        self._reading = threading.Lock()
        weakref.finalize(self, channel.close)  # holds the channel, so that it isn't collected before it is closed

    def wait(self, seconds: float | None = None) -> int:
        """The exit status, negative for a signal, once it has ended. If the server has died, so has the worker.

        Raises:
          subprocess.TimeoutExpired: it hasn't within so many seconds.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            if not selector.select(seconds):  # the end of a channel stays readable, for all threads that wait
                raise subprocess.TimeoutExpired(f"worker {self.pid}", seconds or 0)
        with self._reading:
            if self._code is None:
                code = received(self._channel)
                self._code = -signal.SIGKILL if code is None else code
            return self._code

    def terminate(self) -> None:
        """Asks it to end; nothing if it has ended."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it; nothing if it has ended."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(OSError):
            self._channel.send(bytes([number]))


def fork_early() -> None:
    """Forks the server from this process, with all that it has imported; nothing if it has more than one thread."""
    global _server
    import_needed()
    with _lock:
        if _server is not None or not has_one_thread():
            return
        _open_streams()
        ours, theirs = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        pid = os.fork()
        if not pid:
            ours.close()
            serve(theirs)
        theirs.close()
        _server = _Server(ours, pid, lambda: os.waitpid(pid, 0))


def load_early(load: Callable[[], object]) -> None:
    """Has the server, if there is one, call a function before it forks the next worker.

    What the function raises isn't told: a worker will come to it, too.

    Args:
      load: can be pickled; it starts no threads.
    """
    with _lock:
        if _server is not None:
            with contextlib.suppress(OSError):
                _server.ask("load", load).close()


def start_worker(environment: Mapping[str, str], quiet: bool = False, log: Path | None = None) -> Worker:
    """Starts a worker (``runners.worker_main``) in this process's working directory.

    Args:
      environment: variables by which Beam's worker knows its job, added to those of this process.
      quiet: as of ``worker_main.work``.
      log: a file to which its stdout and stderr are added; None: they are this process's.

    Raises:
      OSError: the log can't be written, or there are no processes to be had.
    """
    global _server
    request = {"environment": dict(os.environ) | dict(environment), "directory": Path.cwd(), "quiet": quiet}
    with _lock, contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab")).fileno() if log else None
        streams = (1, 2) if output is None else (output, output)
        for _ in range(2):  # the first server may have been killed since
            if _server is None:
                _server = _fresh()
            channel = _server.ask("start", request, *streams)
            pid = received(channel)
            if pid is not None and pid > 0:
                return Worker(pid, channel)
            channel.close()
            if pid is not None:
                raise OSError(-pid, f"no worker can be started: {os.strerror(-pid)}")
            _server.close()
            _server = None
    raise OSError("no worker can be started: the process that forks them has ended, or has said above why it can't")


class _Server:
    """The client's side of a server."""

    def __init__(self, control: socket.socket, pid: int, wait: Callable[[], object]) -> None:
        self._control = control
        self._pid = pid
        self._wait = wait
        self._ours = os.getpid()
        atexit.register(self.close)

    def ask(self, what: str, argument: Any, *streams: int) -> socket.socket:
        """Sends a request; returns the channel for its answers."""
        ours, theirs = socket.socketpair()
        message = pickle.dumps((what, argument))
        with theirs, contextlib.suppress(BrokenPipeError, ConnectionResetError):  # no answer will come
            socket.send_fds(self._control, [b"?"], [theirs.fileno(), *streams])
            theirs.close()
            ours.sendall(NUMBER.pack(len(message)) + message)
        return ours

    def forget(self) -> None:
        """Closes a copy of the connection; the server stays."""
        self._control.close()

    def close(self) -> None:
        """Ends the server and its workers, and waits for them: their CPU time is among that of this one's children."""
        self._control.close()
        atexit.unregister(self.close)
        if os.getpid() == self._ours:
            with contextlib.suppress(ChildProcessError, ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)  # it may be loading
                self._wait()


def _forget() -> None:
    """In a process that was forked from one with a server: it isn't its own."""
    global _server, _lock
    _lock = threading.Lock()
    if _server is not None:
        _server.forget()
        _server = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _open_streams() -> None:
    """Opens stdin, stdout and stderr where this process has none: a socket would get the number, and go to workers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _fresh() -> _Server:
    _open_streams()
    ours, theirs = socket.socketpair()
    with theirs:
        command = module_command("runners.fork_server", str(theirs.fileno()))
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    return _Server(ours, process.pid, process.wait)
