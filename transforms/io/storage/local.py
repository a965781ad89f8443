"""Local files as objects: pinned by size and modification time, committed by rename."""

from __future__ import annotations

import contextlib
import datetime
import errno
import io
import os
import re
import secrets
import shutil
import stat as stat_module
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from transforms.io.storage import globs, requests
from transforms.io.storage.errors import AccessDenied, NotFound, SourceChanged, StorageError
from transforms.io.storage.info import ObjectInfo, Unfinished

_UNFINISHED = ".unfinished"  # suffix of files not yet committed; they start with "." too, so they are never data


_BUFFER_BYTES = 128 * 1024


def _etag(status: os.stat_result) -> str:
    return f"{status.st_size:x}-{status.st_mtime_ns:x}"


@contextlib.contextmanager
def _errors_name(path: str) -> Iterator[None]:
    """Turns the errors of the operating system into storage errors that name the file."""
    try:
        yield
    except StorageError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(path, "there is no such file") from error
    except PermissionError as error:
        raise AccessDenied(path, f"user {os.getuid()} may not access it ({error.strerror})") from error
    except OSError as error:
        reason = no_space(path) if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise StorageError(path, reason) from error


def no_space(path: str) -> str:
    """What is said of a full disk: how much is free where, and what to do."""
    above = next((str(folder) for folder in Path(path).parents if folder.is_dir()), "/")
    free = shutil.disk_usage(above).free / 1e6
    return f"no space left on the device ({free:,.1f} MB free in {above}); make room, then run the same command again"


def stat(path: str) -> ObjectInfo | None:
    """The file's size and ETag, or None if there is no such file."""
    with _errors_name(path):
        try:
            status = Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat_module.S_ISREG(status.st_mode):
            raise StorageError(path, "is a folder or a device, not a file")
        return ObjectInfo(path, _etag(status), status.st_size)


def list_objects(path: str, left_out: Callable[[str], None]) -> Iterator[ObjectInfo]:
    """The file itself, the files of a folder and its subfolders, or the files that match a pattern."""
    status = None
    with _errors_name(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        status = Path(path).stat()
    if status is not None and not stat_module.S_ISDIR(status.st_mode):
        yield cast(ObjectInfo, stat(path))
        return
    if status is not None:
        root, pattern, depth = path, None, None
    elif globs.is_glob(path):
        folder, rest = globs.split_glob(path)
        root, pattern = folder.rstrip("/") or "/", globs.translate(rest)
        depth = None if "**" in rest.split("/") else rest.count("/")
        if not Path(root).is_dir():
            raise NotFound(path, f"there is no folder {root}")
    else:
        raise NotFound(path, "there is no such file or folder")
    found = False
    for info in _walk(root, "", pattern, depth, (), left_out):
        found = True
        yield info
    if not found:
        what = "no file matches" if pattern else "no file in this folder"
        raise NotFound(path, f"{what} (names that start with '_' or '.' don't count)")


def _walk(
    folder: str,
    relative: str,
    pattern: re.Pattern[str] | None,
    depth: int | None,
    above: tuple[tuple[int, int], ...],
    left_out: Callable[[str], None],
) -> Iterator[ObjectInfo]:
    """The files below a folder in the order of their names; a link back to a folder above isn't followed."""
    with _errors_name(folder):
        status = Path(folder).stat()
        place = (status.st_dev, status.st_ino)
        if place in above:
            return
        with os.scandir(folder) as entries:
            names = sorted((entry.name, entry.is_dir()) for entry in entries)
    for name, is_folder in names:
        path, below = os.path.join(folder, name), relative + name  # noqa: PTH118 - a million files, Path is slow
        if pattern is None and globs.is_hidden(name):
            left_out(path)
            continue
        if is_folder:
            if depth is None or below.count("/") < depth:
                yield from _walk(path, below + "/", pattern, depth, (*above, place), left_out)
        elif pattern is None or pattern.fullmatch(below):
            with _errors_name(path):
                status = Path(path).stat()
            if stat_module.S_ISREG(status.st_mode):
                yield ObjectInfo(path, _etag(status), status.st_size)


class LocalInput(io.RawIOBase):
    """A file open for reading; with an ETag, every read checks that the file is still the pinned one."""

    def __init__(self, path: str, etag: str | None):
        super().__init__()
        self._path = path
        self._etag = etag
        self._requests = requests.current()
        self._file: io.FileIO | None = None
        with _errors_name(path):
            self._file = io.FileIO(path)
        try:
            self._check()
        except StorageError:
            self.close()
            raise

    def _check(self) -> None:
        if self._etag is not None:
            with _errors_name(self._path):
                found = _etag(os.fstat(self.fileno()))
            if found != self._etag:
                raise SourceChanged(
                    self._path,
                    f"the file was changed during the run: pinned as {self._etag}, now {found}; "
                    "put the old file back, or start a new run",
                )

    def fileno(self) -> int:
        """The file descriptor."""
        if self._file is None:
            raise ValueError("read of a closed file")
        return self._file.fileno()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position; a place that can't be is a ValueError, as of Python's other files."""
        with _errors_name(self._path):
            try:
                return os.lseek(self.fileno(), offset, whence)
            except (OverflowError, OSError) as error:
                if isinstance(error, OSError) and error.errno != errno.EINVAL:
                    raise
                raise ValueError(f"there is no position {offset} in {self._path}") from error

    def tell(self) -> int:
        """The position."""
        return self.seek(0, os.SEEK_CUR)

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer up to the end of the file; a single read of the system stops at 2 GiB."""
        view, filled = memoryview(buffer).cast("B"), 0
        while filled < len(view):
            with _errors_name(self._path):
                count = os.readv(self.fileno(), [view[filled:]])
            if count == 0:
                break
            filled += count
        self._check()
        with requests.on_behalf_of(self._requests):
            requests.count(bytes_read=filled)
        return filled

    def readall(self) -> bytes:
        """What is left."""
        with _errors_name(self._path):
            left = os.fstat(self.fileno()).st_size - self.tell()
        data = bytearray(max(0, left))
        return bytes(memoryview(data)[: self.readinto(data)])

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


def open_input(path: str, etag: str | None, size: int | None) -> BinaryIO:
    """The file open for reading; its size is part of the ETag."""
    return cast(BinaryIO, LocalInput(path, etag))


class LocalOutput(io.FileIO):
    """A file open for writing, whose errors name the object that it will be."""

    def __init__(self, descriptor: int, path: str):
        super().__init__(descriptor, "wb", closefd=False)
        self._path = path

    def write(self, data: Any) -> int:
        """Takes what the system takes of the data."""
        with _errors_name(self._path):
            return super().write(data)


@contextlib.contextmanager
def open_output(path: str) -> Iterator[BinaryIO]:
    """A new file that takes its name when the block ends without an exception, and vanishes otherwise."""
    with _written(path, os.replace) as file:
        yield file


@contextlib.contextmanager
def _written(path: str, name: Callable[[Path, str], None]) -> Iterator[BinaryIO]:
    """A file without a name; ``name`` gives it one at the end of the block."""
    folder = Path(path).parent
    temporary = folder / f".{secrets.token_hex(12)}{_UNFINISHED}"
    with _errors_name(path):
        if Path(path).is_dir():
            raise StorageError(path, "is a folder; a file can't be written in its place")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except (FileNotFoundError, FileExistsError, NotADirectoryError) as error:
            raise StorageError(
                path, f"no file can be made in {folder} ({error.strerror}); choose another place"
            ) from error
    try:
        # The descriptor outlives the file object, so a writer that closes it can still be synced.
        with io.BufferedWriter(LocalOutput(descriptor, path), _BUFFER_BYTES) as file:
            yield file
            if not file.closed:
                file.flush()
        with _errors_name(path):
            os.fsync(descriptor)
            requests.count(bytes_written=os.fstat(descriptor).st_size)
            name(temporary, path)
            _sync_folder(folder)
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: str, data: Any) -> None:
    """Writes a whole file at once, or nothing."""
    with open_output(path) as file:
        file.write(data)


def create(path: str, data: bytes) -> bool:
    """Writes a whole file if there is none of that name; returns whether it did."""
    try:
        with _written(path, _link) as file:
            file.write(data)
    except StorageError as error:
        if isinstance(error.__cause__, FileExistsError):
            return False
        raise
    return True


def _link(temporary: Path, path: str) -> None:
    """Gives a file its name unless that is taken: a link, unlike a rename, takes nobody's place."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        # A file system without links. The name is taken first, so that of several who try one succeeds.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        temporary.replace(path)


def delete(path: str) -> None:
    """Removes a file; one that isn't there is no error."""
    with _errors_name(path):
        Path(path).unlink(missing_ok=True)


def list_unfinished(path: str) -> Iterator[Unfinished]:
    """Files below a folder that never took their name."""
    for found in sorted(Path(path).rglob(f".*{_UNFINISHED}")):
        with _errors_name(str(found)), contextlib.suppress(FileNotFoundError):
            written = datetime.datetime.fromtimestamp(found.stat().st_mtime, datetime.UTC)
            yield Unfinished(str(found), "", written)


def discard(unfinished: Unfinished) -> None:
    """Removes the file."""
    delete(unfinished.uri)
