"""A process that forks workers (``runners.forked_workers`` asks it to).

It has one thread and has imported what workers need, once. What that leaves in memory, all of them share.

Where it has more than one thread, because of what it was told to load, it starts interpreters instead: a copy of one
thread may wait for ever for a lock that another one held. So it does on macOS, whose libraries don't bear it.

    python -m runners.fork_server SOCKET
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import gc
import importlib
import logging
import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

from runners import worker_main
from runners.own_processes import module_command

NEEDED = ("apache_beam.runners.worker.sdk_worker_main", "transforms.warm_up")
"""Beam's worker, and what ours need, by its name."""
WORKER_NAME, SERVER_NAME = b"beam-worker", b"beam-fork"
"""What ``ps -o comm`` shows; the command line is that of the process that was forked."""
NUMBER = struct.Struct("<q")
"""How process ids, exit statuses and lengths are sent; instead of a process id, an error's number, negative."""

_LINUX = sys.platform.startswith("linux")
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_TOLD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def import_needed() -> None:
    """Imports what is in ``NEEDED``."""
    for name in NEEDED:
        importlib.import_module(name)


def received(channel: socket.socket) -> int | None:
    """A number from the other end; None if that has ended."""
    with contextlib.suppress(ConnectionResetError):
        data = channel.recv(NUMBER.size, socket.MSG_WAITALL)
        if len(data) == NUMBER.size:
            return int(NUMBER.unpack(data)[0])
    return None


def has_one_thread() -> bool:
    """Whether this process can be forked."""
    return _LINUX and len(list(Path("/proc/self/task").iterdir())) == 1


def _prctl(option: int, value: int | bytes) -> None:
    ctypes.CDLL(None).prctl(option, value)


def serve(control: socket.socket) -> NoReturn:
    """The server, until the other end of the connection is closed."""
    try:
        _Serving(control).serve()
    except Exception:  # noqa: BLE001 - nothing of this process's caller may run here
        traceback.print_exc()
    finally:
        os._exit(1)


class _Serving:
    """The server's side. It has one thread: whatever is asked is done in its turn."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._ended, self._told = os.pipe()
        os.set_blocking(self._told, False)

    def serve(self) -> NoReturn:
        """Answers requests. It ends when its client does; SIGTERM makes it look for that at once."""
        if _LINUX:
            _prctl(_PR_SET_NAME, SERVER_NAME)
        self._ignored = [number for number in _TOLD if signal.getsignal(number) == signal.SIG_IGN]  # as by nohup
        for number in _TOLD:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._end_without_client())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        self._selector.register(self._control, selectors.EVENT_READ, self._take)
        self._selector.register(self._ended, selectors.EVENT_READ, self._reap)
        while True:
            for key, _ in self._selector.select():
                key.data()

    def _take(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self._control, 1, 3)
        if not message:
            self._end()
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        channel, *streams = descriptors
        self._answer(socket.socket(fileno=channel), streams)
        for descriptor in streams:
            os.close(descriptor)

    def _answer(self, channel: socket.socket, streams: list[int]) -> None:
        size = received(channel)
        if size is None:
            channel.close()
            return
        with channel.makefile("rb") as file:
            request = file.read(size)
        if len(request) < size:
            channel.close()
            return
        try:
            match pickle.loads(request):
                case "load", load:
                    with contextlib.suppress(Exception):  # of what is loaded: a worker will come to it
                        load()
                    channel.close()
                case "start", asked:
                    self._start(channel, streams, **asked)
        except OSError as error:  # no process to be had, or no folder
            with channel, contextlib.suppress(OSError):
                channel.sendall(NUMBER.pack(-(error.errno or errno.EIO)))
        except Exception:  # noqa: BLE001 - the next one may be started
            traceback.print_exc()
            channel.close()

    def _start(
        self, channel: socket.socket, streams: list[int], environment: dict[str, str], directory: Path, quiet: bool
    ) -> None:
        os.chdir(directory)
        if has_one_thread():
            gc.freeze()  # pages with objects that no collection visits stay shared
            server = os.getpid()
            pid = os.fork()
            if not pid:
                self._become_worker(server, channel, streams, environment, quiet)
        else:
            command = module_command("runners.worker_main", *(["--quiet"] if quiet else []))
            into = [
                (os.POSIX_SPAWN_DUP2, descriptor, stream) for descriptor, stream in zip(streams, (1, 2), strict=True)
            ]
            default = [number for number in _TOLD if number not in self._ignored]
            pid = os.posix_spawn(command[0], command, environment, file_actions=into, setsigdef=default)
        self._workers[pid] = channel
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._signal(pid, channel))
        with contextlib.suppress(OSError):  # if there is no owner any more, that is the next thing to be read
            channel.sendall(NUMBER.pack(pid))

    def _signal(self, pid: int, channel: socket.socket) -> None:
        """Sends a worker what its owner wants; if there is no owner any more, that it is to end."""
        if self._workers.get(pid) is not channel:  # what was asked and its end were found at the same moment
            return
        try:
            numbers = channel.recv(64)
        except ConnectionResetError:
            numbers = b""
        for number in numbers or [signal.SIGKILL]:
            os.kill(pid, number)
        if not numbers:
            self._selector.unregister(channel)

    def _reap(self) -> None:
        os.read(self._ended, 4096)
        for pid, channel in list(self._workers.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            del self._workers[pid]
            with contextlib.suppress(KeyError):
                self._selector.unregister(channel)
            with channel, contextlib.suppress(OSError):
                channel.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))

    def _end_without_client(self) -> None:
        """Whatever is being done, such as loading."""
        try:
            ended = not self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if ended:
            self._end()

    def _end(self) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        for pid in self._workers:
            os.waitpid(pid, 0)
        os._exit(0)

    def _become_worker(
        self, server: int, channel: socket.socket, streams: list[int], environment: dict[str, str], quiet: bool
    ) -> NoReturn:
        """Does a worker's work in a copy of the server, and ends as an interpreter does.

        Args:
          channel: the server's end of the worker's.
          streams: what are to be stdout and stderr.
        """
        status = 1
        try:
            _prctl(_PR_SET_NAME, WORKER_NAME)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != server:
                os._exit(1)
            channel.close()
            self._leave_server()
            for descriptor, stream in zip((os.open(os.devnull, os.O_RDONLY), *streams), (0, 1, 2), strict=True):
                os.dup2(descriptor, stream)
            os.environ.clear()
            os.environ.update(environment)
            if "numpy.random" in sys.modules:  # Python's own generator sees to it by itself
                sys.modules["numpy.random"].seed()
            worker_main.work(quiet)
            status = 0
        except BaseException:  # noqa: BLE001 - as the end of Python does
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the end of Python does
                atexit._run_exitfuncs()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _leave_server(self) -> None:
        """Undoes what the server has set up, and the process before it: handlers of signals, of logs, and at exit."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in _TOLD:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, signal.SIG_IGN if number in self._ignored else default)
        self._selector.close()
        self._control.close()
        os.close(self._ended)
        os.close(self._told)
        for channel in self._workers.values():
            channel.close()
        atexit._clear()
        sys.excepthook, sys.unraisablehook = sys.__excepthook__, sys.__unraisablehook__
        loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
        for logger in loggers:
            logger.setLevel(logging.NOTSET)
        logging.root.handlers.clear()
        logging.root.setLevel(logging.WARNING)


def main() -> None:
    """A server with an interpreter of its own."""
    worker_main.set_up()
    import_needed()
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
