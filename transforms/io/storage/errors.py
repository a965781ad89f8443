"""What can go wrong with a stored object. Every error names the object and can cross process boundaries."""

from __future__ import annotations

import re

from schemas.errors import WRONG_USAGE, ToldError


class StorageError(ToldError, OSError):
    """The storage failed, not the data: a missing object, a refused access, a broken disk or connection."""

    def __init__(self, uri: str, reason: str):
        super().__init__(f"{uri}: {reason}")
        self.uri = uri
        self.reason = reason

    def __reduce__(self) -> tuple[type[StorageError], tuple[str, str]]:
        return type(self), (self.uri, self.reason)


class WrongUri(StorageError, ValueError):
    """The URI is none that can be served: a typing error, not a fault."""

    exit_status = WRONG_USAGE


class NotFound(StorageError):
    """There is no such object, or nothing where objects were looked for."""


class AccessDenied(StorageError):
    """The object is there or may be, but these credentials or this user may not touch it."""


class SourceChanged(StorageError):
    """The object isn't the one that was pinned by its ETag."""


class CutShort(StorageError):
    """An answer broke off; the same request may well succeed."""


def without_queries(said: object) -> str:
    """What a library says, without the queries of URLs: a server may have led to a URL with a signature."""
    return re.sub(r"\?[^\s'\")>]+", "?...", str(said))


def changed(uri: str, etag: str | None, found: str) -> SourceChanged:
    """The error for an object that isn't the pinned one."""
    return SourceChanged(
        uri,
        f"the object was changed during the run: pinned as {etag}, now {found}; "
        "put the old object back, or start a new run",
    )
