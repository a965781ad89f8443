"""Where on this machine our data is: the embedded PostgreSQL's, and a local Flink cluster's.

``$BEAM_PIPELINE_DATA_DIR``, else the user's data directory (``~/.local/share/beam_pipeline`` on Linux); for root
``/var/lib/beam-pipeline``, as root's home is closed to the user that runs PostgreSQL for root, and stays so. Who has no
home folder, or none that can be written, gets one in ``/var/tmp``, which survives a restart of the machine.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import platformdirs

VARIABLE = "BEAM_PIPELINE_DATA_DIR"

ROOTS = Path("/var/lib/beam-pipeline")
WITHOUT_HOME = Path("/var/tmp")


class NoDataFolder(Exception):
    """There is no folder in which our data can be kept; the message says why and what to set."""


def data_folder(data_dir: Path | None = None) -> Path:
    """The folder given, else that of the environment, else the default one. Nothing is made.

    Raises:
      NoDataFolder: it begins with ``~``, and there is no home folder.
    """
    if data_dir is None:
        named = os.environ.get(VARIABLE)
        data_dir = Path(named) if named else _default()
    try:
        return data_dir.expanduser().resolve()
    except RuntimeError as error:
        raise NoDataFolder(f"{data_dir}: user {os.geteuid()} has no home folder; set {VARIABLE} to a path") from error


def make(folder: Path) -> None:
    """Makes a data folder if it isn't there; one in a place that everybody may write must be ours alone.

    Raises:
      NoDataFolder: it can't be made, or is somebody else's.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700)
        found = folder.stat()
        others_may_write = bool(folder.parent.stat().st_mode & stat.S_IWOTH)
    except OSError as error:
        raise cannot_be_used(folder, error) from error
    if not stat.S_ISDIR(found.st_mode) or (others_may_write and found.st_uid != os.geteuid()):
        raise NoDataFolder(f"{folder}: isn't a folder of user {os.geteuid()}; set {VARIABLE} to one")


def cannot_be_used(folder: Path, error: OSError) -> NoDataFolder:
    """The error of a folder in which something can't be made, read or written."""
    return NoDataFolder(
        f"{error.filename or folder}: {error.strerror} (user {os.geteuid()}). The lineage's own PostgreSQL is kept in "
        f"{folder}: set {VARIABLE} to a folder of yours, or give a database by --lineage_dsn"
    )


def fallen_back(folder: Path) -> str:
    """Why a folder isn't the one that a user would expect; empty if it is."""
    if folder != _without_home():
        return ""
    return f"there is no home folder that can be written; set {VARIABLE} to a folder of yours to have it elsewhere"


def former() -> Path:
    """Where earlier versions kept root's data."""
    return Path(platformdirs.user_data_dir("beam_pipeline", appauthor=False))


def _default() -> Path:
    users = former()
    if os.geteuid() == 0:
        kept_there = (users / "postgresql" / "PG_VERSION").exists() and not (ROOTS / "postgresql").exists()
        users = users if kept_there else ROOTS
    return users if users.is_absolute() and _can_be_written(users) else _without_home()


def _without_home() -> Path:
    return WITHOUT_HOME / f"beam-pipeline-{os.geteuid()}"


def _can_be_written(folder: Path) -> bool:
    """Whether a folder, or the first above it that is there, can be written."""
    for place in (folder, *folder.parents):
        if place.exists():
            return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return False
