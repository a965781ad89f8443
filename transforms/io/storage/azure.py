"""Azure Blob Storage and Data Lake Gen2 by Microsoft's library: ranges pinned by If-Match, commits by lists of blocks.

Credentials come from the environment only: ``AZURE_STORAGE_CONNECTION_STRING``; or the account (in the URI or
``AZURE_STORAGE_ACCOUNT_NAME``) with ``AZURE_STORAGE_ACCOUNT_KEY``, ``AZURE_STORAGE_SAS_TOKEN``, or what azure-identity
finds (``AZURE_CLIENT_ID``, managed and workload identities, ...).
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
from collections.abc import Iterator
from typing import Any

from transforms.io.storage import requests
from transforms.io.storage.errors import AccessDenied, CutShort, NotFound, StorageError, WrongUri, changed
from transforms.io.storage.info import ObjectInfo
from transforms.io.storage.remote import ATTEMPTS, WritableStore, installed
from transforms.io.storage.remote_files import ONE_PUT_BYTES

_ONE_GET_BYTES = 1 << 30  # the library cuts larger reads into several requests
_MEAN_WAIT_SECONDS = 8  # between attempts: 152 s in all, as long as for S3
_CREDENTIALS = (
    "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID"
)


class Azure(WritableStore):
    """``az://container/key``, or ``abfss://container@account.dfs.core.windows.net/key``."""

    form = "az://container/key or abfss://container@account.dfs.core.windows.net/key"

    def stat(self, uri: str) -> ObjectInfo | None:
        """The blob's size and ETag, or None if there is no such blob."""
        try:
            with _errors_name(uri):
                requests.count(get=1)
                found = self._blob(uri).get_blob_properties()
        except NotFound:
            return None
        if _is_folder(found):
            return None
        return ObjectInfo(uri, _plain(found.etag), found.size)

    def listing(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """All blobs whose names begin with the prefix, page by page."""
        with _errors_name(f"{bucket}/{prefix}"):
            blobs = self._container(bucket).list_blobs(name_starts_with=prefix, include=["metadata"])
            for page in blobs.by_page():
                requests.count(list=1)
                for blob in page:
                    if not _is_folder(blob):
                        yield ObjectInfo(f"{bucket}/{blob.name}", _plain(blob.etag), blob.size)

    def get(self, uri: str, start: int, end: int, etag: str) -> tuple[bytes, str]:
        """One range, by If-Match."""
        with _errors_name(uri, etag):
            from azure.core import MatchConditions

            requests.count(get=1)
            answer = self._blob(uri).download_blob(
                offset=start,
                length=end - start,
                etag=f'"{etag}"',
                match_condition=MatchConditions.IfNotModified,
                max_concurrency=1,
            )
            data: bytes = answer.readall()
        return data, _plain(answer.properties.etag)

    def put(self, uri: str, data: bytes | bytearray | memoryview) -> None:
        """One PUT."""
        with _errors_name(uri):
            requests.count(put=1)
            self._blob(uri).upload_blob(bytes(data), overwrite=True)

    def put_new(self, uri: str, data: bytes) -> bool:
        """One PUT by If-None-Match."""
        with _errors_name(uri):
            from azure.core.exceptions import ResourceExistsError

            requests.count(put=1)
            try:
                self._blob(uri).upload_blob(data, overwrite=False)
            except ResourceExistsError:
                return False
        return True

    def upload(self, uri: str) -> _Blocks:
        """Blocks of the blob."""
        return _Blocks(self, uri, self._blob(uri))

    def delete(self, uri: str) -> None:
        """Removes a blob; one that isn't there is no error."""
        with contextlib.suppress(NotFound), _errors_name(uri):
            self._blob(uri).delete_blob(delete_snapshots="include")

    def _blob(self, uri: str) -> Any:
        bucket, key = self.split_object(uri)
        return self._container(bucket).get_blob_client(key)

    def _container(self, bucket: str) -> Any:
        scheme, _, rest = bucket.partition("://")
        container, _, host = rest.partition("@")
        return _client_of(scheme, host, os.getpid()).get_container_client(container)


class _Blocks:
    """Blocks wait beside the blob and become it by one request; what is never committed vanishes after a week."""

    def __init__(self, store: Azure, uri: str, blob: Any):
        self._store, self._uri, self._blob = store, uri, blob
        self._writer = secrets.token_hex(8)  # of two writers of one name, neither puts a block in the other's place
        self._names: list[str] = []

    def send(self, data: bytes) -> None:
        """The next block."""
        name = f"{self._writer}-{len(self._names):06}"
        with _errors_name(self._uri):
            requests.count(put=1)
            self._blob.stage_block(name, data, length=len(data))
        self._names.append(name)

    def commit(self, size: int) -> None:
        """Makes them the blob."""
        from azure.core.exceptions import HttpResponseError
        from azure.storage.blob import BlobBlock

        with _errors_name(self._uri):
            requests.count(put=1)
            try:
                self._blob.commit_block_list([BlobBlock(name) for name in self._names])
            except HttpResponseError as error:
                # Another writer of the same shard has committed, which drops the blocks of all others; or it was this
                # one, and only the answer was lost. Both write the same bytes.
                found = self._store.stat(self._uri)
                if getattr(error, "error_code", "") != "InvalidBlockList" or found is None or found.size != size:
                    raise

    def abort(self) -> None:
        """Leaves the blocks to the server: an empty list would put an empty blob in the place of one that is there."""


@functools.cache
def _client_of(scheme: str, host: str, process: int) -> Any:
    """One client a process and account: connections don't survive a fork."""
    uri = f"{scheme}://{host}"
    library = installed(uri, "azure.storage.blob", "azure")
    kinds = ("retry_total", "retry_connect", "retry_read", "retry_status")  # 3 of each if not told
    how = {
        "retry_policy": library.LinearRetry(
            backoff=_MEAN_WAIT_SECONDS,
            random_jitter_range=_MEAN_WAIT_SECONDS,
            **dict.fromkeys(kinds, ATTEMPTS - 1),
        ),
        "connection_timeout": 10,
        "read_timeout": 60,
        "max_single_put_size": ONE_PUT_BYTES,
        "max_single_get_size": _ONE_GET_BYTES,
    }
    variables = os.environ.get
    account = host.partition(".")[0] or variables("AZURE_STORAGE_ACCOUNT_NAME", "")
    connection = variables("AZURE_STORAGE_CONNECTION_STRING", "")
    try:
        if connection and (not host or f"AccountName={account};" in connection + ";"):
            return library.BlobServiceClient.from_connection_string(connection, **how)
        if not account:
            raise WrongUri(uri, "no account: set AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_NAME")
        credential = variables("AZURE_STORAGE_ACCOUNT_KEY") or variables("AZURE_STORAGE_SAS_TOKEN")
        if not credential:
            credential = installed(uri, "azure.identity", "azure").DefaultAzureCredential()
        server = host.replace(".dfs.", ".blob.") or f"{account}.blob.core.windows.net"
        return library.BlobServiceClient(f"https://{server}", credential, **how)
    except ValueError as error:
        if isinstance(error, StorageError):
            raise
        # Not what the library says: it may quote the connection string.
        raise WrongUri(uri, "the library doesn't accept AZURE_STORAGE_CONNECTION_STRING or the account") from None


def close() -> None:
    """Forgets the clients, for an environment that has changed."""
    _client_of.cache_clear()


def _is_folder(blob: Any) -> bool:
    """Whether it is a folder of a Data Lake account, which is listed as an empty blob."""
    return (blob.metadata or {}).get("hdi_isfolder") == "true"


def _plain(etag: str) -> str:
    return etag.strip('"')


@contextlib.contextmanager
def _errors_name(uri: str, etag: str | None = None) -> Iterator[None]:
    """Turns the library's errors into storage errors that name the blob."""
    errors = installed(uri, "azure.core.exceptions", "azure")
    try:
        yield
    except errors.ResourceNotFoundError as error:
        what = "container" if error.error_code == "ContainerNotFound" else "blob"
        raise NotFound(uri, f"there is no such {what}") from error
    except errors.ClientAuthenticationError as error:
        code = getattr(error, "error_code", None) or "no credentials that the server takes"
        raise AccessDenied(uri, f"access denied ({code}); set {_CREDENTIALS}") from error
    except errors.IncompleteReadError as error:
        raise CutShort(uri, "the server's answer broke off") from error
    except errors.HttpResponseError as error:
        if error.status_code == 412:
            raise changed(uri, etag, "another") from error
        if isinstance(error.inner_exception, (errors.IncompleteReadError, errors.ServiceResponseError)):
            # The library reads a body three times by itself.
            raise CutShort(uri, "the server's answer broke off") from error
        if error.status_code == 403:
            raise AccessDenied(uri, f"access denied ({error.error_code}); set {_CREDENTIALS}") from error
        code = getattr(error, "error_code", None)
        raise StorageError(uri, f"the request failed with {code} (HTTP {error.status_code})") from error
    except errors.AzureError as error:
        raise StorageError(uri, f"the server can't be reached, tried {ATTEMPTS} times: {error}") from error
