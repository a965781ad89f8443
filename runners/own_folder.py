"""A folder for the temporary files of this process and of Beam in it, gone when the process has ended.

Beam makes a folder for every pipeline and one for its job server. Where the process is killed, or a pipeline isn't run,
they would stay. So they are made in this folder (importing this module sees to it). It is held by a lock that ends with
the process; ``remove_abandoned`` removes those that nobody holds. TMPDIR says where they are.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

PREFIX = "beam-pipeline-process-"
_HELD = "held"
_TRIES, _PAUSE_SECONDS = 20, 0.1
_lock = threading.Lock()
_folder: Path | None = None
_descriptor: int | None = None


def own_folder() -> Path:
    """The folder of this process; made when this is called first, and those of processes that were killed are removed.

    Raises:
      OSError: no folder can be made.
    """
    global _folder, _descriptor
    with _lock:
        if _folder is not None:
            return _folder
        remove_abandoned()
        while _descriptor is None:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            _descriptor = _held(folder, os.O_CREAT)  # None: another process takes it for an abandoned one
        _folder = folder
        atexit.register(_remove, folder)  # what is registered later, as the end of Beam's job server, comes first
        return folder


def remove_abandoned() -> None:
    """Removes the folders of processes that are no more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # of another user; or it has just been removed
            descriptor = _held(folder)
            if descriptor is not None:
                _remove(folder)
                os.close(descriptor)


def _held(folder: Path, flags: int = 0) -> int | None:
    """Holds a folder until the descriptor is closed; None if another process does, or has just removed it."""
    descriptor = os.open(folder / _HELD, os.O_RDWR | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (folder / _HELD).exists():
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _remove(folder: Path) -> None:
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(_PAUSE_SECONDS)  # workers that are being killed may still write


def _leave() -> None:
    """In a process that was forked from one with a folder: that isn't its own."""
    global _folder, _descriptor, _lock
    _lock = threading.Lock()
    if _descriptor is not None and _folder is not None:
        os.close(_descriptor)
        atexit.unregister(_remove)
    _folder = _descriptor = None


os.register_at_fork(after_in_child=_leave)
