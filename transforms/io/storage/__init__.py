"""Objects by URI: local paths and remote stores (``s3://bucket/key`` and others) behind the same few functions.

A local URI is a path (absolute, or relative to the working directory) or ``file:///path``; results always carry
absolute paths. What is written appears under its name whole or not at all. Names that start with ``_`` or ``.`` are
markers or unfinished files and never listed as data.

Every failure is a :class:`StorageError` that names the URI: :class:`NotFound`, :class:`AccessDenied`,
:class:`SourceChanged` when an object isn't the pinned one, or the class itself for anything else.
"""

from __future__ import annotations

import functools
import importlib
import os
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from transforms.io.storage import local
from transforms.io.storage.errors import AccessDenied, NotFound, SourceChanged, StorageError, WrongUri
from transforms.io.storage.info import ObjectInfo, Unfinished
from transforms.io.storage.requests import Requests, counted, current
from transforms.io.storage.store import Store

__all__ = [
    "AccessDenied",
    "NotFound",
    "ObjectInfo",
    "Requests",
    "SourceChanged",
    "StorageError",
    "Unfinished",
    "WrongUri",
    "absolute",
    "counted",
    "create",
    "current",
    "delete",
    "discard",
    "is_remote",
    "join",
    "list_objects",
    "list_unfinished",
    "open_input",
    "open_output",
    "read_bytes",
    "real",
    "stat",
    "write",
]


_FORMS = "a local path, file:///path, s3://, gs://, az://, hf:// or https://"

_STORES = {
    "s3": ("s3", "S3"),
    "gs": ("google", "Google"),
    "az": ("azure", "Azure"),
    "abfs": ("azure", "Azure"),
    "abfss": ("azure", "Azure"),
    "hf": ("hub", "Hub"),
    "http": ("web", "Web"),
    "https": ("web", "Web"),
}
"""Module and class of the store of a scheme."""


@functools.cache
def _remote(scheme: str) -> Store:
    """The store of a scheme; its library is imported by those who use it: boto3 takes 0.3 s."""
    module, name = _STORES[scheme]
    store: Store = getattr(importlib.import_module(f"{__name__}.{module}"), name)()
    return store


def _backend(uri: str) -> tuple[Store, str]:
    """The store that serves a URI, and the URI as that store wants it."""
    if not uri:
        raise WrongUri("(empty URI)", f"give {_FORMS}")
    _check_name(uri)
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return local, os.path.abspath(uri)  # noqa: PTH100 - Path.absolute() keeps ".."
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost") or not slash:
            raise WrongUri(uri, "a file URI has the form file:///absolute/path")
        return local, os.path.abspath("/" + urllib.parse.unquote(path))  # noqa: PTH100
    if scheme in _STORES:
        return _remote(scheme), uri
    raise WrongUri(uri, f"{scheme}:// isn't supported; give {_FORMS}")


def is_remote(uri: str) -> bool:
    """Whether it is asked for over the network, where several requests at a time are faster than one."""
    return _backend(uri)[0] is not local


def _check_name(uri: str) -> None:
    """Refuses what no URI, plan or database can hold: Linux lets a file be named by any bytes."""
    try:
        uri.encode()
    except UnicodeEncodeError:
        raise WrongUri(repr(os.fsencode(uri)), "the name isn't UTF-8, so it can't be recorded: rename it") from None


def absolute(uri: str) -> str:
    """The same place whatever the working directory: an absolute path, or the ``s3://`` URI as it is.

    Raises:
      ValueError: there is no storage for such a URI.
    """
    return _backend(uri)[1]


def list_objects(uri: str, left_out: Callable[[str], None] | None = None) -> Iterator[ObjectInfo]:
    """The objects of a file, a folder or prefix with all below it, or a glob.

    In a folder or prefix, names of which a part starts with ``_`` or ``.`` are left out. In a glob ``*``, ``?`` and
    ``[...]`` stay within one part of the path and ``**`` stands for any number of parts; only files match, never
    folders. The order is that of the store. Remote stores are listed page by page; nothing is held.

    Args:
      uri: file, folder, prefix or glob.
      left_out: called with the path of what is left out in a folder or prefix for its name; a folder comes once.

    Raises:
      NotFound: there is nothing, so a mistyped input can't pass for an empty one.
    """
    store, place = _backend(uri)
    for info in store.list_objects(place, left_out or (lambda path: None)):
        _check_name(info.uri)
        yield info


def stat(uri: str) -> ObjectInfo | None:
    """The object's ETag and size; None if there is no such object."""
    store, place = _backend(uri)
    return store.stat(place)


def open_input(uri: str, etag: str | None = None, size: int | None = None) -> BinaryIO:
    """A seekable binary file to read from, fit for ``pyarrow.parquet.ParquetFile`` as well.

    Args:
      uri: the object.
      etag: the pinned ETag; every read insists on it.
      size: bytes of the pinned object, if known: saves a request, and what is wrong shows at the first read.

    Raises:
      SourceChanged: the object isn't the pinned one, when it is opened or at any later read.
      NotFound, AccessDenied, StorageError: it can't be opened, or a read failed.
    """
    store, place = _backend(uri)
    return store.open_input(place, etag, size)


def read_bytes(uri: str) -> bytes:
    """The whole object."""
    with open_input(uri) as file:
        return file.read()


def open_output(uri: str) -> AbstractContextManager[BinaryIO]:
    """A binary file to write; the object appears when the block ends cleanly, and never if it ends with an exception.

    An object of the same name is replaced at that moment. A killed process leaves at most something that no listing
    shows.
    """
    store, place = _backend(uri)
    return store.open_output(place)


def write(uri: str, data: bytes | bytearray | memoryview) -> None:
    """Writes a whole object, or nothing; an object of the same name is replaced."""
    store, place = _backend(uri)
    store.write(place, data)


def create(uri: str, data: bytes) -> bool:
    """Writes a whole object if there is none of that name: of several who try at the same time, one succeeds.

    Returns:
      Whether it is this one's.
    """
    store, place = _backend(uri)
    return store.create(place, data)


def real(uri: str) -> str:
    """The place behind all symbolic links; remote stores have none."""
    store, place = _backend(uri)
    return os.path.realpath(place) if store is local else place


def delete(uri: str) -> None:
    """Removes an object; one that isn't there is no error."""
    store, place = _backend(uri)
    store.delete(place)


def list_unfinished(uri: str) -> Iterator[Unfinished]:
    """What was begun below a folder or prefix and isn't committed: temporary files, multipart uploads.

    It belongs to writers that live or have died; nothing here tells which. Nothing there is no error.
    """
    store, place = _backend(uri)
    yield from store.list_unfinished(place)


def discard(unfinished: Unfinished) -> None:
    """Removes something unfinished for good; if it is gone, that is no error."""
    store, _ = _backend(unfinished.uri)
    store.discard(unfinished)


def join(uri: str, *parts: str) -> str:
    """The URI of something below a folder or prefix: ``join("s3://b/out", "tokens", "x") == "s3://b/out/tokens/x"``."""
    return "/".join([uri.rstrip("/") or uri, *(part.strip("/") for part in parts)])
