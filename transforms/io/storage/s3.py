"""S3 and what speaks its protocol, by boto3: ranges pinned by If-Match, commits by one PUT or one multipart upload.

Endpoint, region, credentials and retries come from the standard AWS environment and configuration files
(``AWS_ENDPOINT_URL``, ``AWS_PROFILE``, ...). Requests are retried with jitter on 500, 503 SlowDown, resets, timeouts
and bodies cut short, never on 403 or 404.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from transforms.io.storage import globs, requests
from transforms.io.storage.errors import NotFound, StorageError
from transforms.io.storage.info import ObjectInfo, Unfinished
from transforms.io.storage.s3_client import client, errors_name, split_object_uri, split_uri
from transforms.io.storage.s3_files import S3Input, S3Output, etag_of


def stat(uri: str) -> ObjectInfo | None:
    """The object's size and ETag by HEAD, or None if there is no such object."""
    bucket, key = split_object_uri(uri)
    try:
        with errors_name(uri):
            head = client().head_object(Bucket=bucket, Key=key)
    except NotFound:
        return None
    return ObjectInfo(uri, etag_of(head, uri), head["ContentLength"])


def list_objects(uri: str, left_out: Callable[[str], None]) -> Iterator[ObjectInfo]:
    """The object itself, the objects below a prefix taken as a folder, or those that match a pattern."""
    bucket, key = split_uri(uri)
    if key and not key.endswith("/"):
        itself = stat(uri)
        if itself is not None:
            yield itself
            return
    if globs.is_glob(key):
        prefix, rest = globs.split_glob(key)
        pattern = globs.translate(rest)
    else:
        prefix, pattern = key if not key or key.endswith("/") else key + "/", None
    found, last_hidden = False, ""
    for info in _listing(uri, bucket, prefix):
        relative = info.uri[len(f"s3://{bucket}/{prefix}") :]
        wanted = not globs.is_hidden(relative) if pattern is None else pattern.fullmatch(relative) is not None
        if pattern is None and not wanted and (hidden := globs.hidden_part(relative)) != last_hidden:
            left_out(f"s3://{bucket}/{prefix}{hidden}")
            last_hidden = hidden
        if wanted and relative and not relative.endswith("/"):
            found = True
            yield info
    if not found:
        what = "no object matches" if pattern else "no such object, and none below it as a folder"
        raise NotFound(uri, f"{what} (names that start with '_' or '.' don't count)")


def _listing(uri: str, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
    with errors_name(uri):
        for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                name = f"s3://{bucket}/{item['Key']}"
                yield ObjectInfo(name, etag_of(item, name), item["Size"])


def open_input(uri: str, etag: str | None, size: int | None) -> BinaryIO:
    """The object open for reading."""
    return cast(BinaryIO, S3Input(uri, etag, size))


@contextlib.contextmanager
def open_output(uri: str) -> Iterator[BinaryIO]:
    """A new object that appears when the block ends without an exception."""
    output = S3Output(uri)
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


def write(uri: str, data: Any) -> None:
    """Writes a whole object at once, or nothing."""
    with open_output(uri) as output:
        output.write(data)


def create(uri: str, data: bytes) -> bool:
    """Writes a whole object if there is none of that name (If-None-Match); returns whether it did.

    A server that doesn't know the condition gets a look and then a write, which two at the same instant both pass.
    """
    bucket, key = split_object_uri(uri)
    try:
        with errors_name(uri):
            client().put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
    except StorageError as error:
        refused = getattr(error.__cause__, "response", {})
        status = refused.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status in (409, 412):
            # Of a request that was repeated because its answer was lost, it may be our own that is there.
            with S3Input(uri, None, None) as found:
                return found.read() == data
        if status != 501:
            raise
        if stat(uri) is not None:
            return False
        write(uri, data)
    requests.count(bytes_written=len(data))
    return True


def delete(uri: str) -> None:
    """Removes an object; one that isn't there is no error."""
    bucket, key = split_object_uri(uri)
    with errors_name(uri):
        client().delete_object(Bucket=bucket, Key=key)


def list_unfinished(uri: str) -> Iterator[Unfinished]:
    """Multipart uploads below a prefix that were neither completed nor aborted."""
    bucket, prefix = split_uri(uri)
    with errors_name(uri):
        pages = client().get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for item in page.get("Uploads", ()):
                yield Unfinished(f"s3://{bucket}/{item['Key']}", item["UploadId"], item["Initiated"])


def discard(unfinished: Unfinished) -> None:
    """Aborts an upload; its parts are freed."""
    bucket, key = split_object_uri(unfinished.uri)
    with contextlib.suppress(NotFound), errors_name(unfinished.uri):
        client().abort_multipart_upload(Bucket=bucket, Key=key, UploadId=unfinished.upload)
