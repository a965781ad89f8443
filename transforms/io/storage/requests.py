"""What the store was asked for: requests and bytes, counted for the thread on whose behalf they were made."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator


@dataclasses.dataclass(slots=True)
class Requests:
    """Requests as S3 charges for them, every attempt counted, and bytes of objects. Local files have bytes only.

    Attributes:
      list: listings of a page.
      get: GET and HEAD.
      put: PUT and POST: whole objects, parts, the beginning and the end of a multipart upload.
      bytes_read: bytes of objects received.
      bytes_written: bytes of objects sent.
      bytes_reread: bytes asked for again because an answer broke off; part of ``bytes_read``.
    """

    list: int = 0
    get: int = 0
    put: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    bytes_reread: int = 0

    def add(self, other: Requests) -> None:
        """Adds another's numbers to these."""
        for name in FIELDS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def since(self, before: Requests) -> Requests:
        """What was added since these were ``before``."""
        return Requests(*(getattr(self, name) - getattr(before, name) for name in FIELDS))

    def nonzero(self) -> dict[str, float]:
        """The numbers that aren't 0, by name."""
        return {name: value for name in FIELDS if (value := getattr(self, name))}


FIELDS = tuple(field.name for field in dataclasses.fields(Requests))

_thread = threading.local()
_lock = threading.Lock()  # pyarrow reads a file from threads of its own, beside the thread that opened it


def current() -> Requests:
    """The running numbers of this thread; they only grow."""
    if not hasattr(_thread, "requests"):
        _thread.requests = Requests()
    found: Requests = _thread.requests
    return found


@contextlib.contextmanager
def on_behalf_of(requests: Requests) -> Iterator[None]:
    """Counts what this thread does in the block for the thread whose numbers these are."""
    mine = current()
    _thread.requests = requests
    try:
        yield
    finally:
        _thread.requests = mine


def count(**numbers: int) -> None:
    """Adds to the numbers of this thread."""
    requests = current()
    with _lock:
        for name, number in numbers.items():
            setattr(requests, name, getattr(requests, name) + number)


@contextlib.contextmanager
def counted(into: Requests) -> Iterator[None]:
    """Adds what this thread asks of the store in the block to ``into``."""
    running = current()
    before = dataclasses.replace(running)
    try:
        yield
    finally:
        into.add(running.since(before))
