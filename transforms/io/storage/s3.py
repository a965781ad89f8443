"""S3 and what speaks its protocol, by boto3: ranges pinned by If-Match, commits by one PUT or one multipart upload.

Endpoint, region, credentials and retries come from the standard AWS environment and configuration files
(``AWS_ENDPOINT_URL``, ``AWS_PROFILE``, ...). Requests are retried with jitter on 500, 503 SlowDown, resets, timeouts
and bodies cut short, never on 403 or 404.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import botocore.exceptions

from transforms.io.storage.errors import CutShort, NotFound, StorageError
from transforms.io.storage.info import ObjectInfo, Unfinished
from transforms.io.storage.remote import WritableStore
from transforms.io.storage.remote_files import LEAST_READ_BYTES
from transforms.io.storage.s3_client import attempts, client, errors_name

# Timeouts and resets are HTTPClientErrors.
_BROKEN_BODY = (botocore.exceptions.HTTPClientError, botocore.exceptions.IncompleteReadError)


class S3(WritableStore):
    """``s3://bucket/key``."""

    form = "s3://bucket/key"

    def stat(self, uri: str) -> ObjectInfo | None:
        """The object's size and ETag by HEAD, or None if there is no such object."""
        try:
            with errors_name(uri):
                head = client().head_object(**self._named(uri))
        except NotFound:
            return None
        return ObjectInfo(uri, _etag_of(head, uri), head["ContentLength"])

    def listing(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose keys begin with the prefix, page by page."""
        name = bucket.removeprefix("s3://")
        with errors_name(f"{bucket}/{prefix}"):
            for page in client().get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=prefix):
                for item in page.get("Contents", ()):
                    uri = f"{bucket}/{item['Key']}"
                    yield ObjectInfo(uri, _etag_of(item, uri), item["Size"])

    def attempts(self) -> int:
        """How often a request is tried, by ``AWS_MAX_ATTEMPTS``."""
        return attempts()

    def look(self, uri: str) -> tuple[bytes, ObjectInfo]:
        """The object's last 64 KiB, which say ETag and size: one request for a Parquet footer or a small object."""
        try:
            data, response = self._get(uri, f"bytes=-{LEAST_READ_BYTES}", None)
        except _EmptyObject:
            with errors_name(uri):
                response = client().head_object(**self._named(uri))
            return b"", ObjectInfo(uri, _etag_of(response, uri), 0)
        _, ranges, total = response.get("ContentRange", "").rpartition("/")
        if data and not ranges:
            raise StorageError(uri, "the server doesn't serve ranges of objects")
        return data, ObjectInfo(uri, _etag_of(response, uri), int(total or 0))

    def get(self, uri: str, start: int, end: int, etag: str) -> tuple[bytes, str]:
        """One range, by If-Match."""
        data, response = self._get(uri, f"bytes={start}-{end - 1}", etag)
        return data, _etag_of(response, uri)

    def _get(self, uri: str, span: str, etag: str | None) -> tuple[bytes, dict[str, Any]]:
        """One GET. botocore's own retries end where the body begins."""
        condition = {"IfMatch": f'"{etag}"'} if etag else {}
        with errors_name(uri, etag):
            try:
                response = client().get_object(**self._named(uri), Range=span, **condition)
            except botocore.exceptions.ClientError as error:
                if error.response.get("Error", {}).get("Code") == "InvalidRange" and etag is None:
                    raise _EmptyObject from None
                raise
            try:
                with contextlib.closing(response["Body"]) as body:
                    return body.read(), response
            except _BROKEN_BODY as error:
                raise CutShort(uri, f"the server's answer broke off: {error}") from error

    def put(self, uri: str, data: bytes | bytearray | memoryview) -> None:
        """One PUT."""
        with errors_name(uri):
            client().put_object(**self._named(uri), Body=data)

    def put_new(self, uri: str, data: bytes) -> bool:
        """One PUT by If-None-Match.

        A server that doesn't know the condition gets a look and then a write, which two at the same instant both pass.
        """
        try:
            with errors_name(uri):
                client().put_object(**self._named(uri), Body=data, IfNoneMatch="*")
        except StorageError as error:
            refused = getattr(error.__cause__, "response", {})
            status = refused.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status in (409, 412):
                return False
            if status != 501:
                raise
            if self.stat(uri) is not None:
                return False
            self.put(uri, data)
        return True

    def upload(self, uri: str) -> _MultipartUpload:
        """A multipart upload."""
        return _MultipartUpload(uri, self._named(uri))

    def delete(self, uri: str) -> None:
        """Removes an object; one that isn't there is no error."""
        with errors_name(uri):
            client().delete_object(**self._named(uri))

    def list_unfinished(self, uri: str) -> Iterator[Unfinished]:
        """Multipart uploads below a prefix that were neither completed nor aborted."""
        bucket, prefix = self.split(uri)
        with errors_name(uri):
            uploads = client().get_paginator("list_multipart_uploads")
            for page in uploads.paginate(Bucket=bucket.removeprefix("s3://"), Prefix=prefix):
                for item in page.get("Uploads", ()):
                    yield Unfinished(f"{bucket}/{item['Key']}", item["UploadId"], item["Initiated"])

    def discard(self, unfinished: Unfinished) -> None:
        """Aborts an upload; its parts are freed."""
        with contextlib.suppress(NotFound), errors_name(unfinished.uri):
            client().abort_multipart_upload(**self._named(unfinished.uri), UploadId=unfinished.upload)

    def _named(self, uri: str) -> dict[str, str]:
        bucket, key = self.split_object(uri)
        return {"Bucket": bucket.removeprefix("s3://"), "Key": key}


class _MultipartUpload:
    """The parts of an object; they take no space under its name until they are completed."""

    def __init__(self, uri: str, named: dict[str, str]):
        self._uri, self._named = uri, named
        self._parts: list[dict[str, Any]] = []
        with errors_name(uri):
            self._id = client().create_multipart_upload(**named)["UploadId"]

    def send(self, data: bytes) -> None:
        """The next part."""
        number = len(self._parts) + 1
        with errors_name(self._uri):
            part = client().upload_part(**self._named, UploadId=self._id, PartNumber=number, Body=data)
        self._parts.append({"ETag": part["ETag"], "PartNumber": number})

    def commit(self, size: int) -> None:
        """Completes the upload."""
        try:
            with errors_name(self._uri):
                client().complete_multipart_upload(
                    **self._named, UploadId=self._id, MultipartUpload={"Parts": self._parts}
                )
        except NotFound:
            # A repeated request finds no upload when the first did complete it and only its answer was lost.
            with errors_name(self._uri):
                found = client().head_object(**self._named)
            if found["ContentLength"] != size:
                raise

    def abort(self) -> None:
        """Aborts the upload."""
        with errors_name(self._uri):
            client().abort_multipart_upload(**self._named, UploadId=self._id)


class _EmptyObject(Exception):
    """There is no range of an object without bytes."""


def _etag_of(response: dict[str, Any], uri: str) -> str:
    """The ETag in an answer, without quotes.

    Raises:
      StorageError: there is none, so the object can't be pinned.
    """
    etag = str(response.get("ETag", "")).strip('"')
    if not etag:
        raise StorageError(uri, "the server gives no ETag for it: what can't be pinned isn't read; upload it by S3")
    return etag
