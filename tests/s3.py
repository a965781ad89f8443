"""A real S3 server for the tests: versitygw, built from its Go module once a machine.

The binary is kept in ``~/.cache/beam-pipeline/`` (``$XDG_CACHE_HOME``), outside the tree; building it takes about three
CPU minutes and wants ``go`` on the PATH. The server listens on a free port of this machine, with credentials.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests import building

VERSION = "v1.8.0"
MODULE = "github.com/versity/versitygw"
ACCESS_KEY, SECRET_KEY, REGION = "beam-pipeline-tests", "not-a-secret-of-anyone", "us-east-1"


def binary() -> Path:
    """The server, built now if it isn't there."""
    return building.made(building.cache() / f"s3-server-{VERSION}", _build) / "versitygw"


def _build(work: Path) -> None:
    building.go_module(work / "build", MODULE, VERSION)
    building.go_build(work / "build", work / "versitygw", f"{MODULE}/cmd/versitygw")
    shutil.rmtree(work / "build")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server over a folder, whose subfolders are the buckets; it can be killed and started again."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder, self._flags, self._port = folder, flags, free_port()
        self._log = folder.parent / "versitygw.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = f"http://127.0.0.1:{self._port}"
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        environment = os.environ | {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        command = [str(binary()), "--port", f"127.0.0.1:{self._port}", "--region", REGION, *self._flags]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "posix", str(self.folder)], env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        _wait(self._process, self._port, self._log)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@contextlib.contextmanager
def serve(folder: Path, *flags: str) -> Iterator[str]:
    """Runs a server over ``folder`` and gives its endpoint."""
    server = Server(folder, *flags)
    server.start()
    try:
        yield server.endpoint
    finally:
        server.kill()


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the S3 server didn't come up: {log.read_text()[-2000:]}")


def environment(endpoint: str) -> dict[str, str]:
    """What a process needs in its environment to use the server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
