"""A real S3 server for the tests: versitygw, built from its Go module once a machine.

The binary is kept in ``~/.cache/beam-pipeline/`` (``$XDG_CACHE_HOME``), outside the tree; building it takes about three
CPU minutes and wants ``go`` on the PATH. The server listens on a free port of this machine, with credentials.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

VERSION = "v1.8.0"
MODULE = "github.com/versity/versitygw"
ACCESS_KEY, SECRET_KEY, REGION = "beam-pipeline-tests", "not-a-secret-of-anyone", "us-east-1"


def binary() -> Path:
    """The server, built now if it isn't there."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beam-pipeline"
    target = folder / f"versitygw-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "versitygw.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(folder, target)
    return target


def _build(folder: Path, target: Path) -> None:
    if shutil.which("go") is None:
        raise RuntimeError(f"the S3 tests need Go on the PATH to build {MODULE}, or the server at {target}")
    build = folder / "versitygw-build"
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir()
    # A module of its own: `go install module@version` is refused for modules with replace directives.
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false"}
    (build / "go.mod").write_text(f"module local.test/server\n\ngo 1.24\n\nrequire {MODULE} {VERSION}\n")
    done = subprocess.run(
        ["go", "build", "-o", str(target) + ".new", f"{MODULE}/cmd/versitygw"],
        cwd=build,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"building {MODULE} {VERSION} failed:\n{done.stderr[-3000:]}")
    Path(str(target) + ".new").replace(target)
    shutil.rmtree(build, ignore_errors=True)


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
