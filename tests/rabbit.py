"""A real RabbitMQ for the tests: the machine's, or Debian's packages unpacked once a machine, outside the system.

The unpacked server is kept in ``~/.cache/beam-pipeline/`` (``tests.building``): 35 MB from Debian's registry, without
root or systemd. The server listens on free ports of 127.0.0.1. It can be killed, and started again with what it has
stored.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pika
import pika.exceptions

from tests import building
from tests.postgres import public_folder
from tests.s3 import free_port

_ERLANG = ("base", "asn1", "crypto", "eldap", "inets", "mnesia", "os-mon", "parsetools", "public-key", "runtime-tools",
           "ssl", "syntax-tools", "tools", "xmerl", "ftp", "tftp", "snmp")  # fmt: skip
_PACKAGES = ("rabbitmq-server", *(f"erlang-{name}" for name in _ERLANG))
_START_SECONDS = 180


def programs() -> Path:
    """The folder that has ``usr/lib/rabbitmq`` and ``usr/lib/erlang`` below it."""
    if all(Path("/usr/lib", name).exists() for name in ("rabbitmq/bin/rabbitmq-server", "erlang/bin/erl")):
        return Path("/")
    return building.made(building.cache() / "rabbitmq-debian", _unpack)


def _unpack(work: Path) -> None:
    packages = work / "packages"
    packages.mkdir()
    try:
        building.call(["apt-get", "download", "-q", *_PACKAGES], packages)
    except RuntimeError:
        if os.geteuid():
            raise
        building.call(["apt-get", "update", "-q"], packages)  # a fresh container has no lists
        building.call(["apt-get", "download", "-q", *_PACKAGES], packages)
    for package in packages.glob("*.deb"):
        building.call(["dpkg", "-x", str(package), str(work)], work)
    shutil.rmtree(packages)
    final = building.cache() / "rabbitmq-debian"
    for script in (work / "usr/lib/erlang").glob("**/bin/erl"):
        text = script.read_text()
        script.write_text(text.replace("ROOTDIR=/usr/lib/erlang", f"ROOTDIR={final}/usr/lib/erlang"))


class Rabbit:
    """A broker in a folder of its own: ``url`` has guest's credentials; ``kill`` and ``start`` as often as wanted."""

    def __init__(self, folder: Path, tls: Path | None = None) -> None:
        self._folder, self._tls = folder, tls
        self._process: subprocess.Popen[bytes] | None = None
        self._names: subprocess.Popen[bytes] | None = None
        self._choose_ports()

    def _choose_ports(self) -> None:
        self.port, self.tls_port, self._distribution, self._epmd = (free_port() for _ in range(4))

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Starts it and waits until it takes connections; on other ports if somebody has taken these meanwhile."""
        for attempt in (1, 2, 3):
            if self._started():
                return
            self.close()
            if attempt < 3 and not (self._folder / "mnesia").exists():
                self._choose_ports()
        raise RuntimeError(f"RabbitMQ didn't come up: {(self._folder / 'out').read_text()[-3000:]}")

    def _started(self) -> bool:
        root = programs()
        configuration = self._folder / "rabbitmq.conf"
        lines = [f"listeners.tcp.default = 127.0.0.1:{self.port}"]
        if self._tls:
            lines += [
                f"listeners.ssl.default = 127.0.0.1:{self.tls_port}",
                f"ssl_options.cacertfile = {self._tls}/ca.pem",
                f"ssl_options.certfile = {self._tls}/cert.pem",
                f"ssl_options.keyfile = {self._tls}/key.pem",
                "ssl_options.verify = verify_peer",
                "ssl_options.fail_if_no_peer_cert = true",
            ]
        configuration.write_text("\n".join(lines) + "\n")
        (self._folder / "enabled_plugins").write_text("[].\n")
        environment = os.environ | {
            "PATH": f"{root / 'usr/lib/erlang/bin'}:{os.environ['PATH']}",
            "HOME": str(self._folder),
            "RABBITMQ_BASE": str(self._folder),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_NODENAME": "tests@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        with (self._folder / "out").open("ab") as out:
            if self._names is None:  # Erlang's name server: the one that erl starts by itself outlives all
                self._names = subprocess.Popen(
                    [root / "usr/lib/erlang/bin/epmd", "-port", str(self._epmd), "-address", "127.0.0.1"],
                    stdout=out, stderr=subprocess.STDOUT,
                )  # fmt: skip
            self._process = subprocess.Popen(
                [root / "usr/lib/rabbitmq/bin/rabbitmq-server"],
                cwd=self._folder, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, pika.exceptions.AMQPError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()  # which pika says with a stack
                with self.connected():
                    return True
            time.sleep(0.2)
        return False

    def stop(self) -> None:
        """Ends it in order."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(60)
            self.kill()

    def kill(self) -> None:
        """Ends it at once, as a crash does; what it has confirmed stays.

        RabbitMQ 3.10 writes down a new quorum queue half a second late: one that is younger is broken for good.
        """
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None
            _until_free(self.port)

    @contextlib.contextmanager
    def asleep(self) -> Iterator[None]:
        """Keeps its connections, but answers nothing."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + 120
            while not _stopped(self._process.pid):  # each thread stops when it is told so
                assert time.monotonic() < deadline, "RabbitMQ isn't stopped"
                time.sleep(0.01)
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """Ends all that it has started."""
        self.kill()
        if self._names is not None:
            self._names.kill()
            self._names.wait(30)
            self._names = None

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextlib.contextmanager
    def connected(self) -> Iterator[pika.BlockingConnection]:
        connection = pika.BlockingConnection(pika.URLParameters(f"{self.url}?socket_timeout=20&stack_timeout=30"))
        try:
            yield connection
        finally:
            with contextlib.suppress(pika.exceptions.AMQPError):
                connection.close()


def _stopped(group: int) -> bool:
    """Whether all threads of a group of processes are stopped, or have ended."""
    for task in Path("/proc").glob("[0-9]*/task/*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, of = task.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state not in "TZX":
                return False
    return True


def _until_free(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return
        time.sleep(0.1)


@contextlib.contextmanager
def broker(tls: Path | None = None) -> Iterator[Rabbit]:
    """Runs a broker that is gone, with all it has stored, when the block ends.

    Args:
      tls: folder of ``ca.pem``, ``cert.pem`` and ``key.pem``: it listens with TLS, too, and wants a certificate.
    """
    with public_folder() as folder:
        server = Rabbit(folder, tls)
        try:
            server.start()
            yield server
        finally:
            server.close()
