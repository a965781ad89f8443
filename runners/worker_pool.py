"""The pool of Python workers beside a Flink TaskManager, as Beam's EXTERNAL environment asks for them.

Each TaskManager has one of its own (a sidecar container in Kubernetes): TaskManagers number their workers alike, and a
pool that served two would stop the wrong ones. Compared with Beam's ``worker_pool_main``, this one

- forks workers (``runners.forked_workers``), and doesn't start whatever ``python`` is on the PATH,
- gives them the options of the job and sends what they log to the TaskManager,
- listens on one address, so that several TaskManagers of one machine can have one each,
- ends the worker of a TaskManager that died when the next one asks for a worker of the same number.

    python -m runners.worker_pool --address 127.0.0.1:50000 [--logs FOLDER]
"""

# ruff: noqa: E402 - Beam is imported once it is said how

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runners import light_beam

light_beam.prefer()

import grpc
from apache_beam.portability.api import beam_fn_api_pb2 as api
from apache_beam.portability.api import beam_fn_api_pb2_grpc as api_grpc
from apache_beam.portability.api import beam_provision_api_pb2 as provision
from apache_beam.portability.api import beam_provision_api_pb2_grpc as provision_grpc
from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance
from google.protobuf import json_format, text_format

from runners import forked_workers, worker_main

LOGGER = logging.getLogger(__name__)

_PROVISION_SECONDS = 60
_STOP_SECONDS = 10


class WorkerPool(api_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts and stops worker processes at the request of one TaskManager.

    Args:
      logs: where each worker's stdout and stderr go; None: to the pool's own.
    """

    def __init__(self, logs: Path | None = None):
        self._logs = logs
        self._workers: dict[str, forked_workers.Worker] = {}
        self._lock = threading.Lock()

    def StartWorker(self, request: api.StartWorkerRequest, context: Any) -> api.StartWorkerResponse:  # noqa: N802
        """Starts a worker process that reports to the endpoints in the request."""
        try:
            environment = worker_environment(request)
            with self._lock:
                _end(self._workers.pop(request.worker_id, None), 0)  # of a TaskManager that is no more
                log = self._logs / f"worker-{request.worker_id}.log" if self._logs else None
                self._workers[request.worker_id] = forked_workers.start_worker(environment, log=log)
        except Exception as error:
            LOGGER.exception("worker %s can't be started", request.worker_id)
            return api.StartWorkerResponse(error=f"worker {request.worker_id} can't be started: {error!r}")
        LOGGER.info("worker %s is process %d", request.worker_id, self._workers[request.worker_id].pid)
        return api.StartWorkerResponse()

    def StopWorker(self, request: api.StopWorkerRequest, context: Any) -> api.StopWorkerResponse:  # noqa: N802
        """Ends a worker process; it may have ended by itself."""
        with self._lock:
            worker = self._workers.pop(request.worker_id, None)
        _end(worker, _STOP_SECONDS)
        LOGGER.info("worker %s has ended", request.worker_id)
        return api.StopWorkerResponse()

    def stop(self) -> None:
        """Ends all workers."""
        with self._lock:
            for worker in self._workers.values():
                _end(worker, 0)
            self._workers.clear()


def worker_environment(request: api.StartWorkerRequest) -> dict[str, str]:
    """The variables by which Beam's worker knows its job; asks the TaskManager for the job's options."""
    channel = grpc.intercept_channel(
        grpc.insecure_channel(request.provision_endpoint.url), WorkerIdInterceptor(request.worker_id)
    )
    with contextlib.closing(channel):
        stub = provision_grpc.ProvisionServiceStub(channel)
        info = stub.GetProvisionInfo(provision.GetProvisionInfoRequest(), timeout=_PROVISION_SECONDS).info
    environment = {
        "WORKER_ID": request.worker_id,
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(request.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(request.logging_endpoint),
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.HasField("status_endpoint"):
        environment["STATUS_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(info.status_endpoint)
    return environment


def _end(worker: forked_workers.Worker | None, seconds: float) -> None:
    """Asks a process to end, and ends it after so many seconds."""
    if worker is None:
        return
    try:
        if seconds:
            worker.terminate()
            worker.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    worker.kill()
    worker.wait()


def serve(pool: WorkerPool, address: str) -> grpc.Server:
    """Starts to serve the pool on ``host:port``; ``stop`` it when done.

    Raises:
      RuntimeError: the address is taken.
    """
    options = [
        ("grpc.so_reuseport", 0),  # two pools at one address would get each other's requests
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.max_ping_strikes", 0),
    ]
    server = grpc.server(shared_unbounded_instance(), options=options)
    api_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    if not server.add_insecure_port(address):
        raise RuntimeError(f"address {address} is taken")
    server.start()
    return server


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is told to end (SIGTERM, SIGINT), and ends its workers."""
    parser = argparse.ArgumentParser("python -m runners.worker_pool", description=__doc__)
    parser.add_argument("--address", default="0.0.0.0:50000", metavar="HOST:PORT")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="a file for each worker's output")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    worker_main.set_up()
    forked_workers.fork_early()  # before gRPC starts threads
    pool = WorkerPool(args.logs)
    server = serve(pool, args.address)
    LOGGER.info("workers can be had at %s", args.address)
    told.wait()
    server.stop(None)
    pool.stop()


if __name__ == "__main__":
    main()
