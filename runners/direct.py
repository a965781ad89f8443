"""Workers of DirectRunner in processes of their own, each watched: one that dies ends the pipeline at once.

Beam's handler of such workers waits for ever for one that was killed before it had reported, and has no word for what
killed it. This one takes its place when the module is imported. It says what our code logs in a worker, too, by our
loggers, and nothing else.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2 as api
from apache_beam.portability.api import beam_fn_api_pb2_grpc as api_grpc
from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    LOGENTRY_TO_LOG_LEVEL_MAP,
    BeamFnControlServicer,
    ControlConnection,
    ControlFuture,
    GrpcWorkerHandler,
    WorkerHandler,
)
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance
from google.protobuf import json_format, text_format

from runners import forked_workers

LOGGER = logging.getLogger(__name__)

_OURS = {f"{Path(__file__).parents[1] / name}/": name for name in ("beam_pipeline", "transforms", "runners")}
"""Whose log records in a worker are said again by the command, by the folder they come from."""

_OWN_FAULTS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_END_SECONDS = 10
_ASKED_MEANWHILE, _PAUSE_SECONDS = 3, 0.5  # who was about to ask when the worker died gets an error, too
_lock = threading.Lock()
_at_work: list[WatchedWorker] = []
_died: list[WorkerDied] = []


class WorkerDied(Exception):
    """A worker process has ended before its work was done; the message says by what.

    Attributes:
      by_itself: whether by a signal that a process raises itself, by a fault in what it does.
    """

    def __init__(self, message: str, by_itself: bool = False) -> None:
        super().__init__(message)
        self.by_itself = by_itself


def worker_death() -> WorkerDied | None:
    """The first worker that died since this was asked last, if any did."""
    with _lock:
        first = _died[0] if _died else None
        _died.clear()
    return first


def end_workers() -> None:
    """Ends all worker processes of this one at once; what they were at work on is done again another time.

    It takes locks: a signal handler, which may have interrupted their holder, calls it in a thread.
    """
    with _lock:
        workers = list(_at_work)
    for worker in workers:
        worker.end()


def how_it_ended(code: int) -> str:
    """The end of a process in words: ``was killed by signal 9 (SIGKILL): out of memory?``."""
    if code >= 0:
        return f"has ended with exit status {code}"
    name = signal.Signals(-code).name if -code in signal.valid_signals() else "unknown"
    return f"was killed by signal {-code} ({name})" + (": out of memory?" if -code == signal.SIGKILL else "")


@WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class WatchedWorker(GrpcWorkerHandler):
    """A worker process. When it dies all the others are ended, and whoever waits for one of them gets an error."""

    def __init__(self, command: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._stopping = False

    def start_worker(self) -> None:
        """Starts the process, and the thread that waits for its end."""
        self._logs = grpc.server(shared_unbounded_instance())
        port = self._logs.add_insecure_port("localhost:0")
        api_grpc.add_BeamFnLoggingServicer_to_server(_Logs(), self._logs)
        self._logs.start()
        options = self.provision_info.provision_info.pipeline_options
        environment = {
            "WORKER_ID": self.worker_id,
            "CONTROL_API_SERVICE_DESCRIPTOR": _endpoint(self.control_address),
            "LOGGING_API_SERVICE_DESCRIPTOR": _endpoint(f"localhost:{port}"),
            "PIPELINE_OPTIONS": json_format.MessageToJson(options),
        }
        self.process = forked_workers.start_worker(environment, quiet=True)
        with _lock:
            _at_work.append(self)
        self._watch = threading.Thread(target=self._wait, name=f"watch {self.worker_id}", daemon=True)
        self._watch.start()

    def close(self) -> None:
        """There is no more work: from here on the process may end."""
        self._stopping = True
        super().close()

    def stop_worker(self) -> None:
        """Waits until the process has ended, which it does when it is told that there is no more work."""
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        # Not for ever: a Ctrl-C may have left a lock of Beam's held, for which the thread waits.
        self._watch.join(_END_SECONDS)
        self._logs.stop(0)

    def _wait(self) -> None:
        code = self.process.wait()
        with _lock:
            _at_work.remove(self)
            others = list(_at_work)
            stopping = self._stopping
            died = WorkerDied(f"worker process {self.process.pid} {how_it_ended(code)}", -code in _OWN_FAULTS)
            if not stopping:
                _died.append(died)
        if stopping:
            self._fail("the run has ended")
            return
        for other in others:
            other.end()
        for _ in range(_ASKED_MEANWHILE):
            self._fail(str(died))
            time.sleep(_PAUSE_SECONDS)

    def end(self) -> None:
        """Ends the process, as another has died; what it was at work on is done again."""
        self._stopping = True
        self.process.kill()
        self._fail("the run has ended")

    def _fail(self, reason: str) -> None:
        """Whoever waits for an answer of this worker, or asks it later, gets an error."""
        connection: ControlConnection = self.control_conn

        def refuse(request: Any) -> ControlFuture | None:
            if request is BeamFnControlServicer._DONE_MARKER:
                return ControlConnection.push(connection, request)
            return ControlFuture(request.instruction_id, _error(request.instruction_id, reason))

        connection.push = refuse
        for number, future in list(connection._futures_by_id.items()):
            future.set(_error(number, reason))


class _Logs(api_grpc.BeamFnLoggingServicer):
    """Says what our code logs in a worker, by the logger that it has there."""

    def Logging(self, batches: Iterable[Any], context: Any = None) -> Iterator[Any]:  # noqa: N802
        for batch in batches:
            for entry in batch.log_entries:
                package = next((name for folder, name in _OURS.items() if entry.log_location.startswith(folder)), None)
                if package:
                    logging.getLogger(package).log(LOGENTRY_TO_LOG_LEVEL_MAP[entry.severity], "%s", entry.message)
        yield from ()


def _endpoint(url: str) -> str:
    return str(text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url)))


def _error(number: str, reason: str) -> Any:
    return api.InstructionResponse(instruction_id=number, error=reason or "the worker has died")
