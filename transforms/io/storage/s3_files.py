"""S3 objects as files: read in ranges pinned by If-Match, committed by one PUT or one multipart upload."""

from __future__ import annotations

import contextlib
import io
import os
import random
import time
from typing import Any

import botocore.exceptions

from transforms.io.storage import requests
from transforms.io.storage.errors import NotFound, StorageError
from transforms.io.storage.s3_client import attempts, changed, client, errors_name, split_object_uri

MIB = 1 << 20
LEAST_READ_BYTES = 64 * 1024  # what is fetched for a smaller read: a footer or a head comes whole
READ_AHEAD_BYTES = 8 * MIB  # what is fetched for small reads one after another
ONE_PUT_BYTES = 64 * MIB  # up to here an object is held and sent by one request: the tokens of a shard take 40 MB
PART_BYTES = 16 * MIB  # 10,000 parts make 160 GB, far more than a shard's object
LONGEST_WAIT_SECONDS = 20.0
# Timeouts and resets are HTTPClientErrors.
_BROKEN_BODY = (botocore.exceptions.HTTPClientError, botocore.exceptions.IncompleteReadError)


class S3Input(io.RawIOBase):
    """An object open for reading in ranges; every range insists on the ETag with which it was opened or pinned.

    Opened with ETag and size, nothing is asked before the first read. Without, the object's last 64 KiB are fetched,
    which say both: one request for a Parquet footer or a small object.
    """

    def __init__(self, uri: str, etag: str | None, size: int | None):
        super().__init__()
        self._uri = uri
        self._bucket, self._key = split_object_uri(uri)
        self._requests = requests.current()
        self._position = 0
        self._held = b""  # the latest range, for small reads
        self._held_start = 0
        self._next = -1  # where a read one after another would begin
        self._etag, self._size = etag or "", size or 0
        if etag is None or size is None:
            self._open()
            if etag is not None and self._etag != etag:
                raise changed(uri, etag, self._etag)

    def _open(self) -> None:
        try:
            self._held, response = self._get(f"bytes=-{LEAST_READ_BYTES}", None)
        except _EmptyObject:
            with errors_name(self._uri):
                response = client().head_object(Bucket=self._bucket, Key=self._key)
        self._etag = etag_of(response, self._uri)
        held, _, total = response.get("ContentRange", "").rpartition("/")
        self._size = int(total or 0)
        self._held_start = self._size - len(self._held)
        if self._held and not held:
            raise StorageError(self._uri, "the server doesn't serve ranges of objects")

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
        data, response = self._get(f"bytes={start}-{end - 1}", self._etag)
        # For servers that don't know If-Match or ranges.
        if etag_of(response, self._uri) != self._etag:
            raise changed(self._uri, self._etag, etag_of(response, self._uri))
        if len(data) != end - start:
            raise StorageError(self._uri, f"the server sent {len(data)} bytes for a range of {end - start}")
        return data

    def _get(self, span: str, etag: str | None) -> tuple[bytes, dict[str, Any]]:
        """One GET. botocore's own retries end where the body begins; a body that breaks off is asked for again."""
        condition = {"IfMatch": f'"{etag}"'} if etag else {}
        last_attempt = attempts()
        with requests.on_behalf_of(self._requests):
            for attempt in range(1, last_attempt + 1):
                with errors_name(self._uri, etag):
                    try:
                        response = client().get_object(Bucket=self._bucket, Key=self._key, Range=span, **condition)
                    except botocore.exceptions.ClientError as error:
                        if error.response.get("Error", {}).get("Code") == "InvalidRange" and etag is None:
                            raise _EmptyObject from None
                        raise
                    try:
                        with contextlib.closing(response["Body"]) as body:
                            data: bytes = body.read()
                        break
                    except _BROKEN_BODY:
                        if attempt == last_attempt:
                            raise
                time.sleep(random.uniform(0, min(LONGEST_WAIT_SECONDS, 0.1 * 2**attempt)))
            requests.count(bytes_read=len(data) * attempt, bytes_reread=len(data) * (attempt - 1))
        return data, response


class _EmptyObject(Exception):
    """There is no range of an object without bytes."""


class S3Output(io.RawIOBase):
    """An object being written: by one PUT up to ``ONE_PUT_BYTES``, beyond by a multipart upload."""

    def __init__(self, uri: str):
        super().__init__()
        self._uri = uri
        self._bucket, self._key = split_object_uri(uri)
        self._pending = bytearray()
        self._upload: str | None = None
        self._parts: list[dict[str, Any]] = []
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
            self._send_part(bytes(memoryview(self._pending)[:PART_BYTES]))
            del self._pending[:PART_BYTES]
        return len(view)

    def _send_part(self, data: bytes) -> None:
        with errors_name(self._uri):
            if self._upload is None:
                created = client().create_multipart_upload(Bucket=self._bucket, Key=self._key)
                self._upload = created["UploadId"]
            number = len(self._parts) + 1
            part = client().upload_part(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload, PartNumber=number, Body=data
            )
            requests.count(bytes_written=len(data))
            self._parts.append({"ETag": part["ETag"], "PartNumber": number})

    def commit(self) -> None:
        """Makes the object appear."""
        if self._upload is None:
            with errors_name(self._uri):
                client().put_object(Bucket=self._bucket, Key=self._key, Body=self._pending)
            requests.count(bytes_written=len(self._pending))
            return
        while self._pending:
            self._send_part(bytes(memoryview(self._pending)[:PART_BYTES]))
            del self._pending[:PART_BYTES]
        try:
            with errors_name(self._uri):
                client().complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=self._key,
                    UploadId=self._upload,
                    MultipartUpload={"Parts": self._parts},
                )
        except NotFound:
            # A repeated request finds no upload when the first did complete it and only its answer was lost.
            with errors_name(self._uri):
                found = client().head_object(Bucket=self._bucket, Key=self._key)
            if found["ContentLength"] != self._written:
                raise

    def abort(self) -> None:
        """Forgets all that was written."""
        if self._upload is not None:
            with errors_name(self._uri):
                client().abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload)


def etag_of(response: dict[str, Any], uri: str) -> str:
    """The ETag in an answer, without quotes.

    Raises:
      StorageError: there is none, so the object can't be pinned.
    """
    etag = str(response.get("ETag", "")).strip('"')
    if not etag:
        raise StorageError(uri, "the server gives no ETag for it: what can't be pinned isn't read; upload it by S3")
    return etag
