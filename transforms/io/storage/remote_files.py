"""Remote objects as files: read in ranges of the pinned object, committed by one request or one upload in parts."""

from __future__ import annotations

import io
import os
import random
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from transforms.io.storage import requests
from transforms.io.storage.errors import CutShort, StorageError, changed
from transforms.io.storage.info import ObjectInfo

MIB = 1 << 20
LEAST_READ_BYTES = 64 * 1024  # what is fetched for a smaller read: a footer or a head comes whole
READ_AHEAD_BYTES = 8 * MIB  # what is fetched for small reads one after another
ONE_PUT_BYTES = 64 * MIB  # up to here an object is held and sent by one request: the tokens of a shard take 40 MB
PART_BYTES = 16 * MIB  # 10,000 parts make 160 GB, far more than a shard's object
LONGEST_WAIT_SECONDS = 20.0

_Said = TypeVar("_Said")


class Reads(Protocol):
    """What a file open for reading asks of its store."""

    def attempts(self) -> int: ...  # noqa: D102
    def look(self, uri: str) -> tuple[bytes, ObjectInfo]: ...  # noqa: D102
    def get(self, uri: str, start: int, end: int, etag: str) -> tuple[bytes, str]: ...  # noqa: D102


class RemoteInput(io.RawIOBase):
    """An object open for reading in ranges; every range insists on the ETag with which it was opened or pinned.

    Opened with ETag and size, nothing is asked before the first read. Without, the store is asked for both, and may
    give the object's last bytes with them.
    """

    def __init__(self, store: Reads, uri: str, etag: str | None, size: int | None):
        super().__init__()
        self._store, self._uri = store, uri
        self._requests = requests.current()
        self._position = 0
        self._held = b""  # the latest range, for small reads
        self._held_start = 0
        self._next = -1  # where a read one after another would begin
        self._etag, self._size = etag or "", size or 0
        if etag is None or size is None:
            self._held, info = self._again(lambda: store.look(uri))
            self._etag, self._size = info.etag, info.size
            self._held_start = self._size - len(self._held)
            if etag is not None and self._etag != etag:
                raise changed(uri, etag, self._etag)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position; nothing is fetched."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset} in {self._uri}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer up to the end of the object."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """What is left, in one request."""
        return self.read(-1)

    def read(self, size: int | None = -1) -> bytes:
        """As many bytes as asked for, or all that are left."""
        if self.closed:
            raise ValueError("read of a closed file")
        start = self._position
        end = self._size if size is None or size < 0 else min(self._size, start + size)
        if end <= start:
            return b""
        parts = [self._take(start, end)]
        start += len(parts[0])
        if start < end:
            least = READ_AHEAD_BYTES if start == self._next else LEAST_READ_BYTES
            last = max(end, min(self._size, start + least))
            # At the end of the object, the bytes before are what is wanted next: a footer stands before its length.
            first = max(0, min(start, last - LEAST_READ_BYTES)) if last == self._size else start
            if self._size <= 2 * LEAST_READ_BYTES:
                first, last = 0, self._size
            if self._held_start < last <= self._held_start + len(self._held):
                tail = self._held[: last - self._held_start]  # held already, all but what is before
                data = self._fetch(first, self._held_start) + tail if first < self._held_start else tail
            else:
                data = self._fetch(first, last)
            parts.append(data[start - first : end - first])
            self._held, self._held_start = (data, first) if len(data) > end - start else (b"", 0)
            self._next = last
        self._position = end
        return b"".join(parts)

    def _take(self, start: int, end: int) -> bytes:
        """What is held of a range from its beginning."""
        if not self._held_start <= start < self._held_start + len(self._held):
            return b""
        return self._held[start - self._held_start : end - self._held_start]

    def _fetch(self, start: int, end: int) -> bytes:
        """One range of the pinned object."""
        data, etag = self._again(lambda: self._store.get(self._uri, start, end, self._etag))
        # For servers that don't know the condition or ranges.
        if etag != self._etag:
            raise changed(self._uri, self._etag, etag)
        if len(data) != end - start:
            raise StorageError(self._uri, f"the server sent {len(data)} bytes for a range of {end - start}")
        return data

    def _again(self, ask: Callable[[], tuple[bytes, _Said]]) -> tuple[bytes, _Said]:
        """What the store answers; an answer that breaks off is asked for again."""
        last_attempt = self._store.attempts()
        with requests.on_behalf_of(self._requests):
            for attempt in range(1, last_attempt + 1):
                try:
                    data, said = ask()
                    break
                except CutShort:
                    if attempt == last_attempt:
                        raise
                wait(attempt)
            requests.count(bytes_read=len(data) * attempt, bytes_reread=len(data) * (attempt - 1))
        return data, said


def wait(attempt: int) -> None:
    """Waits after an attempt that has failed."""
    time.sleep(random.uniform(0, min(LONGEST_WAIT_SECONDS, 0.1 * 2**attempt)))


class Upload(Protocol):
    """An object that is being written in parts."""

    def send(self, data: bytes) -> None:
        """Sends the next part: ``PART_BYTES``, the last one less."""

    def commit(self, size: int) -> None:
        """Makes the object of ``size`` bytes appear, whole."""

    def abort(self) -> None:
        """Forgets all that was sent."""


class Writes(Protocol):
    """What a file being written asks of its store."""

    def put(self, uri: str, data: bytes | bytearray | memoryview) -> None: ...  # noqa: D102
    def upload(self, uri: str) -> Upload: ...  # noqa: D102


class RemoteOutput(io.RawIOBase):
    """An object being written: by one request up to ``ONE_PUT_BYTES``, beyond in parts."""

    def __init__(self, store: Writes, uri: str):
        super().__init__()
        self._store, self._uri = store, uri
        self._pending = bytearray()
        self._upload: Upload | None = None
        self._written = 0

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes written."""
        return self._written

    def write(self, data: Any) -> int:
        """Takes all of the data."""
        if self.closed:
            raise ValueError("write to a closed file")
        view = memoryview(data).cast("B")
        self._pending += view
        self._written += len(view)
        while len(self._pending) > (PART_BYTES if self._upload else ONE_PUT_BYTES):
            self._send_part()
        return len(view)

    def _send_part(self) -> None:
        if self._upload is None:
            self._upload = self._store.upload(self._uri)
        part = bytes(memoryview(self._pending)[:PART_BYTES])
        self._upload.send(part)
        requests.count(bytes_written=len(part))
        del self._pending[:PART_BYTES]

    def commit(self) -> None:
        """Makes the object appear."""
        if self._upload is None:
            self._store.put(self._uri, self._pending)
            requests.count(bytes_written=len(self._pending))
            return
        while self._pending:
            self._send_part()
        self._upload.commit(self._written)

    def abort(self) -> None:
        """Forgets all that was written."""
        if self._upload is not None:
            self._upload.abort()
