"""Blocks of pass 2 on the disk of one machine, while what stands for them goes through a GroupByKey.

Beam's local runner keeps everything that is grouped in the memory of its main process, three times over at the peak:
1 kB a document. Where all workers are on one machine they write the blocks to files instead, each process to one of its
own, and send 60 bytes a block: file, offset, length. Which value is which, its first byte tells.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

_REFERENCE = b"\0"  # no kind of block
_PLACE = struct.Struct("<cQI")
LEFT_FROM = 256
"""Bytes from which a block is left in a file: smaller ones are hardly larger than what would stand for them."""


@dataclasses.dataclass(frozen=True)
class BlockFiles:
    """Where blocks are left.

    Attributes:
      folder: on this machine; empty: nowhere, they go through the shuffle themselves.
    """

    folder: str = ""

    def left(self, block: bytes) -> bytes:
        """What goes through the shuffle: the block, or where it lies."""
        if not self.folder or len(block) < LEFT_FROM:
            return block
        return _file_of_process(self.folder).append(block)

    def read(self, values: Iterable[bytes]) -> Blocks:
        """The blocks, each read when it is asked for."""
        return Blocks(self, values)

    def read_one(self, value: bytes) -> bytes:
        """A block.

        Raises:
          EOFError: its file has been cut.
        """
        return self._read(value) if value[:1] == _REFERENCE else value

    def _read(self, reference: bytes) -> bytes:
        _, offset, length = _PLACE.unpack_from(reference)
        path = Path(self.folder, reference[_PLACE.size :].decode())
        block = os.pread(_open(path).fileno(), length, offset)
        if len(block) != length:
            raise EOFError(f"{path} has been cut: {len(block)} of {length} bytes at {offset}")
        return block


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Blocks that can be gone through several times, none of which is held."""

    files: BlockFiles
    values: Iterable[bytes]

    def __iter__(self) -> Iterator[bytes]:
        return map(self.files.read_one, self.values)


NOWHERE = BlockFiles()
"""The blocks themselves go through the shuffle."""


class _OwnFile:
    """What one process has left."""

    def __init__(self, folder: str) -> None:
        self._name = uuid.uuid4().hex
        self._file = Path(folder, self._name).open("xb", buffering=0)  # noqa: SIM115 - while the process lives
        self._lock, self._size = threading.Lock(), 0

    def close(self) -> None:
        """Nothing can be left any more."""
        self._file.close()

    def append(self, block: bytes) -> bytes:
        """Writes a block; where it lies."""
        with self._lock:
            done = 0
            try:
                while done < len(block):
                    done += self._file.write(memoryview(block)[done:])
            except OSError as error:
                raise OSError(
                    error.errno, f"{error.strerror} for blocks of pass 2 (TMPDIR names another place)", self._file.name
                ) from error
            reference = _PLACE.pack(_REFERENCE, self._size, len(block)) + self._name.encode()
            self._size += len(block)
        return reference


_LOCK = threading.Lock()
_own: dict[tuple[str, int], _OwnFile] = {}  # by folder and process: one that is forked has its own
_opened: dict[Path, BinaryIO] = {}  # as many as there are worker processes


def _file_of_process(folder: str) -> _OwnFile:
    with _LOCK:
        key = (folder, os.getpid())
        if key not in _own:
            _own[key] = _OwnFile(folder)
        return _own[key]


def _open(path: Path) -> BinaryIO:
    with _LOCK:
        if path not in _opened:
            _opened[path] = path.open("rb", buffering=0)
        return _opened[path]


def close_all() -> None:
    """Closes all files of this process: of one that was deleted, the disk is free only then."""
    with _LOCK:
        for own in _own.values():
            own.close()
        for opened in _opened.values():
            opened.close()
        _own.clear()
        _opened.clear()
