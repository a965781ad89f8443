"""Where compiled kernels are kept, for users who may not write into the installation."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"

LOGGER = logging.getLogger(__name__)


def choose_folder() -> None:
    """Leaves it to numba, which keeps them beside the sources, unless that folder can't be written.

    Then they are kept in the user's cache folder; where there is none, in a temporary one, and the user is told: what
    is in it may have to be compiled again (a minute). Processes started by this one find the same folder.

    Raises:
      OSError: no folder can be written.
    """
    named = os.environ.get(VARIABLE)
    if (named and _usable(Path(named))) or _usable(Path(__file__).parent / "__pycache__"):
        return
    chosen = _user_folder()
    if chosen is None or not _usable(chosen):
        chosen = _private_temporary()
        LOGGER.warning(
            "compiled kernels are kept in %s for now: neither the installation nor a home folder can be written; "
            "set %s to a folder of yours to keep them",
            chosen,
            VARIABLE,
        )
    os.environ[VARIABLE] = str(chosen)
    if "numba" in sys.modules:  # which has read the environment already
        sys.modules["numba"].config.CACHE_DIR = str(chosen)


def _user_folder() -> Path | None:
    """In the user's cache folder; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path's raises
    return Path(base) / "beam-pipeline" / "kernels" if Path(base).is_absolute() else None


def _usable(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return True
    return False


def _private_temporary() -> Path:
    """A folder that nobody else can write: what lies in it is run."""
    folder = Path(tempfile.gettempdir()) / f"beam-pipeline-kernels-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="beam-pipeline-kernels-"))
