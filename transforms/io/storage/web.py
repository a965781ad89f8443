"""Files of a web server, for reading only: ranges of a file that is pinned by its ETag.

A user and password come from the file that ``NETRC`` names (``~/.netrc``), a proxy from ``HTTPS_PROXY``. Neither can
stand in the URI, which is recorded with all that is made of the file.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
from collections.abc import Callable, Iterator

import requests as http
import urllib3

from transforms.io.storage import globs, requests
from transforms.io.storage.errors import (
    AccessDenied,
    CutShort,
    NotFound,
    StorageError,
    WrongUri,
    changed,
    without_queries,
)
from transforms.io.storage.info import ObjectInfo
from transforms.io.storage.remote import ATTEMPTS, RemoteStore
from transforms.io.storage.remote_files import LONGEST_WAIT_SECONDS

_TIMEOUT = (10, 60)


class Web(RemoteStore):
    """``https://host/path`` and ``http://host/path``."""

    form = "https://host/path/file"

    def split(self, uri: str) -> tuple[str, str]:
        """The host with its scheme, and the path."""
        told = re.split("[?#]", uri)[0]
        scheme, _, rest = told.partition("://")
        host, slash, path = rest.partition("/")
        if told != uri or "@" in host:
            raise WrongUri(
                f"{scheme}://{host.rpartition('@')[2]}{slash}{path}",
                "a user, password, query or fragment can't be part of it, as the URI is recorded everywhere; "
                "name a user and password in the file of NETRC",
            )
        return super().split(uri)

    def stat(self, uri: str) -> ObjectInfo | None:
        """The file's size and ETag by a range of one byte, which also shows whether there are ranges."""
        self.split_object(uri)
        try:
            with _asked(uri, {"Range": "bytes=0-0"}) as answer:
                size = answer.headers.get("Content-Range", "").rpartition("/")[2]
                # Of an empty file there is no first byte. Some servers say so, others send nothing.
                if answer.status_code == 416 or answer.headers.get("Content-Length") == "0":
                    return ObjectInfo(uri, _etag_of(answer, uri, "empty"), 0)
                if answer.status_code != 206 or not size.isdigit():
                    raise StorageError(
                        uri, "the server doesn't serve ranges of files: download it and read it from the local disk"
                    )
                return ObjectInfo(uri, _etag_of(answer, uri), int(size))
        except NotFound:
            return None

    def listing(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """Refused: a web server has no listing."""
        raise WrongUri(f"{bucket}/{prefix}", "a web server can't be listed: name each file, without wildcards")

    def list_objects(self, uri: str, left_out: Callable[[str], None]) -> Iterator[ObjectInfo]:
        """The file itself."""
        bucket, key = self.split(uri)
        if not key or key.endswith("/") or globs.is_glob(key):
            yield from self.listing(bucket, key)
        found = self.stat(uri)
        if found is None:
            raise NotFound(uri, "there is no such file; a web server can't be listed, so each file has to be named")
        yield found

    def get(self, uri: str, start: int, end: int, etag: str) -> tuple[bytes, str]:
        """One range, by If-Match."""
        wanted = {"Range": f"bytes={start}-{end - 1}", "If-Match": f'"{etag}"'}
        with _asked(uri, wanted, etag) as answer:
            if answer.status_code != 206:
                # The pinned file serves ranges, so what doesn't is another.
                raise changed(uri, etag, f"an answer with HTTP {answer.status_code}")
            sent = answer.headers.get("Content-Range", "").partition("/")[0]
            if sent != f"bytes {start}-{end - 1}":
                raise StorageError(uri, f"asked for bytes {start}-{end - 1}, the server sent {sent or 'no such range'}")
            try:
                data: bytes = answer.raw.read(decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise CutShort(uri, f"the server's answer broke off: {error}") from error
            return data, _etag_of(answer, uri)


@functools.cache
def _session_of(process: int) -> http.Session:
    """One session a process: connections don't survive a fork."""
    # It warns of each attempt with the URL, which may have the signature of a redirect; we say it in a sentence.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    session = http.Session()
    again = urllib3.Retry(
        ATTEMPTS - 1,
        redirect=10,
        status_forcelist=(429, 500, 502, 503, 504),
        backoff_factor=0.5,
        backoff_jitter=1,
        backoff_max=LONGEST_WAIT_SECONDS / 2,
        raise_on_status=False,
    )
    for scheme in ("https://", "http://"):
        session.mount(scheme, http.adapters.HTTPAdapter(pool_maxsize=32, max_retries=again))
    # What is stored, not what a server makes of it on the way.
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": "beam-pipeline"})
    return session


def close() -> None:
    """Forgets the session, for an environment that has changed."""
    _session_of.cache_clear()


@contextlib.contextmanager
def _asked(uri: str, headers: dict[str, str], etag: str | None = None) -> Iterator[http.Response]:
    """An answer whose body isn't read yet."""
    requests.count(get=1)
    try:
        answer = _session_of(os.getpid()).get(uri, headers=headers, stream=True, timeout=_TIMEOUT)
    except http.RequestException as error:
        said = without_queries(error)
        raise StorageError(uri, f"the server can't be reached, tried {ATTEMPTS} times: {said}") from None
    with answer:
        status = answer.status_code
        if status in (404, 410):
            raise NotFound(uri, "there is no such file")
        if status in (401, 403):
            raise AccessDenied(uri, f"the server refuses it (HTTP {status}); NETRC names a file with user and password")
        if status == 412:
            raise changed(uri, etag, "another")
        if status >= 400 and status != 416:
            raise StorageError(uri, f"the server answers with HTTP {status}")
        yield answer


def _etag_of(answer: http.Response, uri: str, default: str = "") -> str:
    """The ETag in an answer, without quotes.

    Raises:
      StorageError: there is none, or a weak one, which doesn't promise the same bytes.
    """
    etag = answer.headers.get("ETag", "")
    if etag.startswith("W/") or not (etag or default):
        what = "only a weak ETag" if etag else "no ETag"
        raise StorageError(uri, f"the server gives {what} for it, so it can't be pinned: download it and read the copy")
    return etag.strip('"') or default
