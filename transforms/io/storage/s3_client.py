"""The S3 client of a process, its retries, and its errors with the object's name in them."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import botocore.session

from transforms.io.storage import requests
from transforms.io.storage.errors import AccessDenied, NotFound, StorageError, changed
from transforms.io.storage.remote import ATTEMPTS

_COUNTED_AS = {"GET": "get", "HEAD": "get", "PUT": "put", "POST": "put"}


@functools.cache
def _client_of(process: int) -> Any:
    """One client a process: connections don't survive a fork."""
    settings = botocore.session.get_session()
    mode = settings.get_config_variable("retry_mode")
    retries: dict[str, Any] = {"mode": "standard" if mode == "legacy" else mode}  # legacy is what it says if not told
    if settings.get_config_variable("max_attempts") is None:
        retries["total_max_attempts"] = ATTEMPTS  # AWS_MAX_ATTEMPTS says otherwise
    config = botocore.config.Config(
        retries=retries,
        connect_timeout=10,
        read_timeout=60,
        tcp_keepalive=True,
        # The newer default checksums aren't understood by every server that speaks S3.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        made = boto3.session.Session(botocore_session=settings).client("s3", config=config)
    except ValueError as error:  # an endpoint that is no URL
        raise botocore.exceptions.InvalidConfigError(error_msg=str(error)) from error
    made.meta.events.register("before-send.s3", _count_request)
    return made


def _count_request(request: Any, event_name: str, **_: Any) -> None:
    """Counts every attempt that is sent, retries too, as S3 charges them. DELETE is free."""
    kind = "list" if event_name.rsplit(".", 1)[-1].startswith("List") else _COUNTED_AS.get(request.method)
    if kind:
        requests.count(**{kind: 1})


def client() -> Any:
    """The client of this process.

    Raises:
      BotoCoreError: the environment or the configuration files can't be used. Call it within
        ``errors_name``.
    """
    return _client_of(os.getpid())


def attempts() -> int:
    """How often a request is tried."""
    return int(client().meta.config.retries["total_max_attempts"])


def close() -> None:
    """Forgets the client, for an environment that has changed."""
    if _client_of.cache_info().currsize:
        client().close()
    _client_of.cache_clear()


def _credential_source() -> str:
    """Where the credentials come from, as botocore names it: never the credentials."""
    credentials = boto3.session.Session().get_credentials()
    return f"credentials from {credentials.method}" if credentials else "no credentials found"


@contextlib.contextmanager
def errors_name(uri: str, etag: str | None = None) -> Iterator[None]:
    """Turns botocore's errors into storage errors that name the object."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = error.response.get("Error", {}).get("Code", "")
        if code == "NoSuchBucket":
            raise NotFound(uri, f"there is no such bucket ({_credential_source()})") from error
        if status == 404:
            raise NotFound(uri, "there is no such object") from error
        if status in (401, 403):
            doing = f"{error.operation_name} denied ({code})"
            raise AccessDenied(uri, f"{doing}, with {_credential_source()}") from error
        if status == 412:
            raise changed(uri, etag, "another") from error
        raise StorageError(uri, f"{error.operation_name} failed with {code} (HTTP {status})") from error
    except botocore.exceptions.NoCredentialsError as error:
        raise AccessDenied(
            uri, "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
        ) from error
    except botocore.exceptions.HTTPClientError as error:
        raise StorageError(uri, f"the server can't be reached, tried {attempts()} times: {error}") from error
    except botocore.exceptions.BotoCoreError as error:
        raise StorageError(uri, str(error)) from error
