"""Google Cloud Storage, by Google's library: an object is pinned by its generation, which every write changes.

Credentials are Google's application default ones (``GOOGLE_APPLICATION_CREDENTIALS``, the metadata server, ...);
without any, only what everybody may read can be read. ``STORAGE_EMULATOR_HOST`` names another server.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Iterator
from typing import Any

from transforms.io.storage import requests
from transforms.io.storage.errors import AccessDenied, NotFound, StorageError, changed, without_queries
from transforms.io.storage.info import ObjectInfo
from transforms.io.storage.remote import WritableStore, installed
from transforms.io.storage.remote_files import PART_BYTES

_PATIENCE_SECONDS = 155  # for one request with its retries: as long as for S3
_TIMEOUT = (10, 60)


class Google(WritableStore):
    """``gs://bucket/key``."""

    form = "gs://bucket/key"

    def stat(self, uri: str) -> ObjectInfo | None:
        """The object's generation and size, or None if there is no such object."""
        try:
            with _errors_name(uri):
                requests.count(get=1)
                blob = self._blob(uri)
                blob.reload(**_how())
        except NotFound:
            return None
        return ObjectInfo(uri, str(blob.generation), int(blob.size))

    def listing(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose keys begin with the prefix, page by page."""
        uri = f"{bucket}/{prefix}"
        with _errors_name(uri):
            fields = "items(name,size,generation),nextPageToken"
            found = _client(uri).list_blobs(bucket.removeprefix("gs://"), prefix=prefix, fields=fields, **_how())
            for page in found.pages:
                requests.count(list=1)
                for blob in page:
                    yield ObjectInfo(f"{bucket}/{blob.name}", str(blob.generation), int(blob.size))

    def get(self, uri: str, start: int, end: int, etag: str) -> tuple[bytes, str]:
        """One range, if the generation matches; as stored, even if it was uploaded as gzip."""
        with _errors_name(uri, etag):
            requests.count(get=1)
            blob = self._blob(uri)
            data: bytes = blob.download_as_bytes(
                start=start, end=end - 1, if_generation_match=int(etag), raw_download=True, checksum=None, **_how()
            )
        return data, str(blob.generation or etag)

    def put(self, uri: str, data: bytes | bytearray | memoryview) -> None:
        """One upload, which the server checks against its CRC32C."""
        with _errors_name(uri):
            requests.count(put=1)
            self._blob(uri).upload_from_file(io.BytesIO(data), size=len(data), checksum="crc32c", **_how())

    def put_new(self, uri: str, data: bytes) -> bool:
        """One upload, if there is no generation of that name."""
        with _errors_name(uri):
            requests.count(put=1)
            try:
                self._blob(uri).upload_from_file(
                    io.BytesIO(data), size=len(data), if_generation_match=0, checksum="crc32c", **_how()
                )
            except _api().PreconditionFailed:
                return False
        return True

    def upload(self, uri: str) -> _ResumableUpload:
        """A resumable upload; one that isn't finished vanishes after a week."""
        return _ResumableUpload(uri, self._blob(uri))

    def delete(self, uri: str) -> None:
        """Removes an object; one that isn't there is no error."""
        with _errors_name(uri), contextlib.suppress(_api().NotFound):
            self._blob(uri).delete(**_how())

    def _blob(self, uri: str) -> Any:
        bucket, key = self.split_object(uri)
        return _client(uri).bucket(bucket.removeprefix("gs://")).blob(key, chunk_size=None)


class _ResumableUpload:
    """An object that the server puts together; its name is given with the last part."""

    def __init__(self, uri: str, blob: Any):
        self._uri = uri
        with _errors_name(uri):
            self._writer = blob.open("wb", chunk_size=PART_BYTES, ignore_flush=True, checksum="crc32c", **_how())

    def send(self, data: bytes) -> None:
        """The next part."""
        with _errors_name(self._uri):
            requests.count(put=1)
            self._writer.write(data)

    def commit(self, size: int) -> None:
        """Sends the end."""
        with _errors_name(self._uri):
            requests.count(put=1)
            self._writer.close()

    def abort(self) -> None:
        """Leaves the upload to the server."""
        with _errors_name(self._uri):
            self._writer.terminate()


def _client(uri: str) -> Any:
    return _client_of(uri.partition("://")[0], os.getpid())


@functools.cache
def _client_of(scheme: str, process: int) -> Any:
    """One client a process: connections don't survive a fork."""
    library = installed(f"{scheme}://", "google.cloud.storage", "google")
    import google.auth
    import google.auth.exceptions

    try:
        return library.Client(project="none") if os.environ.get("STORAGE_EMULATOR_HOST") else library.Client()
    except google.auth.exceptions.DefaultCredentialsError as error:
        if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            raise AccessDenied(
                f"{scheme}://", f"GOOGLE_APPLICATION_CREDENTIALS names no file with credentials: {error}"
            ) from error
        return library.Client.create_anonymous_client()


def close() -> None:
    """Forgets the client, for an environment that has changed."""
    _client_of.cache_clear()


def _how() -> dict[str, Any]:
    """How long a request is waited for and tried again."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return {"timeout": _TIMEOUT, "retry": DEFAULT_RETRY.with_timeout(_PATIENCE_SECONDS)}


def _api() -> Any:
    import google.api_core.exceptions

    return google.api_core.exceptions


@contextlib.contextmanager
def _errors_name(uri: str, etag: str | None = None) -> Iterator[None]:
    """Turns the library's errors into storage errors that name the object."""
    installed(uri, "google.cloud.storage", "google")
    import google.auth.exceptions
    import requests as http

    api = _api()
    try:
        yield
    except api.NotFound as error:
        raise NotFound(uri, f"there is no such object or bucket ({_credential_source()})") from error
    except (api.Unauthorized, api.Forbidden) as error:
        raise AccessDenied(uri, f"access denied (HTTP {error.code}), with {_credential_source()}") from error
    except api.PreconditionFailed as error:
        raise changed(uri, etag, "another") from error
    except api.GoogleAPICallError as error:
        raise StorageError(uri, f"the request failed with HTTP {error.code}: {error.message[:200]}") from error
    except api.RetryError as error:
        said = without_queries(error.cause)  # the URL of an upload lets anybody write to it
        raise StorageError(uri, f"the server can't be reached for {_PATIENCE_SECONDS} s: {said}") from None
    except (http.RequestException, google.auth.exceptions.GoogleAuthError) as error:
        raise StorageError(uri, f"the server can't be reached: {without_queries(error)}") from None


def _credential_source() -> str:
    """What the credentials are, never the credentials."""
    client = _client("gs://")
    kind = type(client._credentials).__name__
    return "no credentials found" if kind == "AnonymousCredentials" else f"credentials of the kind {kind}"
