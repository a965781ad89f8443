"""What all remote stores have in common: folders and patterns over keys, files of ranges, commits, creation by one.

A store is a subclass with a few requests of its own. Its errors are storage errors that name the object.
"""

from __future__ import annotations

import abc
import contextlib
import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import ModuleType
from typing import BinaryIO, cast

from transforms.io.storage import globs, requests
from transforms.io.storage.errors import NotFound, StorageError, WrongUri
from transforms.io.storage.info import ObjectInfo, Unfinished
from transforms.io.storage.remote_files import RemoteInput, RemoteOutput, Upload

ATTEMPTS = 20
"""Attempts for a request. The waits between them are random in [0, 2**n] s, and in [0, 20] s from the fifth on: 155 s
in the mean, with a standard deviation of 27 s. So a minute's outage is survived, and a longer one found out in
minutes."""


class RemoteStore(abc.ABC):
    """A store that is asked over the network; without more, one for reading only.

    Attributes:
      form: how its URIs look, for errors.
    """

    form: str

    def split(self, uri: str) -> tuple[str, str]:
        """The bucket with its scheme, and the key, which may be empty or a prefix."""
        scheme, _, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        if not bucket:
            raise WrongUri(uri, f"names no bucket; the form is {self.form}")
        return f"{scheme}://{bucket}", key

    def split_object(self, uri: str) -> tuple[str, str]:
        """The bucket with its scheme, and the key of an object."""
        bucket, key = self.split(uri)
        if not key or key.endswith("/"):
            raise WrongUri(uri, f"names no object; the form is {self.form}")
        return bucket, key

    @abc.abstractmethod
    def stat(self, uri: str) -> ObjectInfo | None:
        """The object's ETag and size, or None if there is no such object."""

    @abc.abstractmethod
    def listing(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose keys begin with the prefix, page by page."""

    @abc.abstractmethod
    def get(self, uri: str, start: int, end: int, etag: str) -> tuple[bytes, str]:
        """One range of the pinned object, and the ETag that the answer has.

        Raises:
          CutShort: the answer broke off; it is asked for again.
          SourceChanged: the object isn't the pinned one.
        """

    def attempts(self) -> int:
        """How often a request is tried."""
        return ATTEMPTS

    def look(self, uri: str) -> tuple[bytes, ObjectInfo]:
        """What an object is that is opened without ETag or size, and its last bytes if they come with the answer."""
        info = self.stat(uri)
        if info is None:
            raise NotFound(uri, "there is no such object")
        return b"", info

    def list_objects(self, uri: str, left_out: Callable[[str], None]) -> Iterator[ObjectInfo]:
        """The object itself, the objects below a prefix taken as a folder, or those that match a pattern."""
        bucket, key = self.split(uri)
        if key and not key.endswith("/"):
            itself = self.stat(uri)
            if itself is not None:
                yield itself
                return
        if globs.is_glob(key):
            prefix, rest = globs.split_glob(key)
            pattern = globs.translate(rest)
        else:
            prefix, pattern = key if not key or key.endswith("/") else key + "/", None
        found, last_hidden = False, ""
        for info in self.listing(bucket, prefix):
            relative = info.uri[len(f"{bucket}/{prefix}") :]
            wanted = not globs.is_hidden(relative) if pattern is None else pattern.fullmatch(relative) is not None
            if pattern is None and not wanted and (hidden := globs.hidden_part(relative)) != last_hidden:
                left_out(f"{bucket}/{prefix}{hidden}")
                last_hidden = hidden
            if wanted and relative and not relative.endswith("/"):
                found = True
                yield info
        if not found:
            what = "no object matches" if pattern else "no such object, and none below it as a folder"
            raise NotFound(uri, f"{what} (names that start with '_' or '.' don't count)")

    def open_input(self, uri: str, etag: str | None, size: int | None) -> BinaryIO:
        """The object open for reading."""
        self.split_object(uri)
        return cast(BinaryIO, RemoteInput(self, uri, etag, size))

    def open_output(self, uri: str) -> AbstractContextManager[BinaryIO]:
        """Refused: such a store is for reading only."""
        raise self._refused(uri)

    def write(self, uri: str, data: bytes | bytearray | memoryview) -> None:
        """Refused."""
        raise self._refused(uri)

    def create(self, uri: str, data: bytes) -> bool:
        """Refused."""
        raise self._refused(uri)

    def delete(self, uri: str) -> None:
        """Refused."""
        raise self._refused(uri)

    def _refused(self, uri: str) -> WrongUri:
        scheme = uri.partition("://")[0]
        return WrongUri(uri, f"{scheme}:// is for reading only; write to a local path, s3://, gs:// or az://")

    def list_unfinished(self, uri: str) -> Iterator[Unfinished]:
        """Nothing, where the store itself removes what was never committed."""
        yield from ()

    def discard(self, unfinished: Unfinished) -> None:  # noqa: B027 - there is nothing to discard
        """Nothing, as nothing was listed."""


class WritableStore(RemoteStore):
    """A remote store to which objects are written, too."""

    @abc.abstractmethod
    def put(self, uri: str, data: bytes | bytearray | memoryview) -> None:
        """Writes an object by one request."""

    @abc.abstractmethod
    def put_new(self, uri: str, data: bytes) -> bool:
        """Writes an object unless there is one of that name; returns whether it did."""

    @abc.abstractmethod
    def upload(self, uri: str) -> Upload:
        """Begins an object that comes in parts."""

    @abc.abstractmethod
    def delete(self, uri: str) -> None:
        """Removes an object; one that isn't there is no error."""

    @contextlib.contextmanager
    def open_output(self, uri: str) -> Iterator[BinaryIO]:
        """A new object that appears when the block ends without an exception."""
        self.split_object(uri)
        output = RemoteOutput(self, uri)
        try:
            yield cast(BinaryIO, output)
            output.commit()
        except BaseException:
            # What the block or the commit raised is what matters, even where the abort fails as well.
            with contextlib.suppress(StorageError):
                output.abort()
            raise
        finally:
            output.close()

    def write(self, uri: str, data: bytes | bytearray | memoryview) -> None:
        """Writes a whole object at once, or nothing."""
        with self.open_output(uri) as output:
            output.write(data)

    def create(self, uri: str, data: bytes) -> bool:
        """Writes a whole object if there is none of that name; returns whether it is this one's."""
        self.split_object(uri)
        if not self.put_new(uri, data):
            # Of a request that was repeated because its answer was lost, it may be our own that is there.
            with self.open_input(uri, None, None) as found:
                return found.read() == data
        requests.count(bytes_written=len(data))
        return True


def installed(uri: str, module: str, extra: str) -> ModuleType:
    """A module of a package that only this store needs.

    Raises:
      WrongUri: it isn't installed, with what to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        scheme = uri.partition("://")[0]
        raise WrongUri(
            uri,
            f"{scheme}:// needs {error.name}, which isn't installed: "
            f"pip install --constraint constraints.txt '.[{extra}]'",
        ) from None
