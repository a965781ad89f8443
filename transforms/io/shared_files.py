"""Large files that all workers of a machine use together: fetched once, mapped by all."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from transforms.io import storage


def shared_folder(what: str) -> Path:
    """A folder of this user's for such files, in the machine's folder for temporary files.

    Args:
      what: they are, a part of the folder's name.

    Raises:
      OSError: somebody else has made it.
    """
    folder = Path(tempfile.gettempdir()) / f"beam-pipeline-{what}-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user: remove it, or set TMPDIR to a folder of yours")
    return folder


@dataclasses.dataclass(frozen=True)
class SharedFile:
    """A file for all processes of the machine, while no other process is in ``shared_file`` for it.

    Attributes:
      path: local, with its bytes.
      rows: of what can be made of it for all of them.
    """

    path: Path
    rows: Path

    def sha256(self) -> str:
        """Of its bytes, hexadecimal; found out once on a machine."""
        known = self.rows.with_suffix(".sha256")
        if not known.exists():
            made = known.with_name(f"{known.name}.{os.getpid()}")
            with self.path.open("rb") as file:
                made.write_text(hashlib.file_digest(file, "sha256").hexdigest())
            made.replace(known)
        return known.read_text()


@contextlib.contextmanager
def shared_file(uri: str) -> Iterator[SharedFile]:
    """A file with a local path, and the path of what can be made of it for all workers of the machine.

    A file elsewhere is fetched once. While the block is at work, no other process of the machine is in such a block
    for this file, so one makes what the others find.

    Raises:
      StorageError: the file can't be read.
    """
    info = storage.stat(uri)
    if info is None:
        raise storage.NotFound(uri, "there is no such file")
    known = hashlib.sha256(f"{uri} {info.etag} {info.size}".encode()).hexdigest()[:32]
    folder = shared_folder("models")
    with (folder / f"{known}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = _fetched(info, folder / f"{known}.copy") if "://" in uri else Path(uri)
        yield SharedFile(path, folder / f"{known}.rows")


def _fetched(info: storage.ObjectInfo, place: Path) -> Path:
    if not place.exists():
        made = place.with_name(f"{place.name}.{os.getpid()}")
        with storage.open_input(info.uri, info.etag, info.size) as source, made.open("wb") as target:
            shutil.copyfileobj(source, target, 2**22)
        made.replace(place)
    return place
