"""What a store can do: one protocol, which local files and every remote store fulfil."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from transforms.io.storage.info import ObjectInfo, Unfinished


class Store(Protocol):
    """The functions of ``transforms.io.storage`` for the URIs of one kind; their contract stands there."""

    def list_objects(self, uri: str, left_out: Callable[[str], None]) -> Iterator[ObjectInfo]: ...  # noqa: D102
    def stat(self, uri: str) -> ObjectInfo | None: ...  # noqa: D102
    def open_input(self, uri: str, etag: str | None, size: int | None) -> BinaryIO: ...  # noqa: D102
    def open_output(self, uri: str) -> AbstractContextManager[BinaryIO]: ...  # noqa: D102
    def write(self, uri: str, data: bytes | bytearray | memoryview) -> None: ...  # noqa: D102
    def create(self, uri: str, data: bytes) -> bool: ...  # noqa: D102
    def delete(self, uri: str) -> None: ...  # noqa: D102
    def list_unfinished(self, uri: str) -> Iterator[Unfinished]: ...  # noqa: D102
    def discard(self, unfinished: Unfinished) -> None: ...  # noqa: D102
