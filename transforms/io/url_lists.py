"""Lists of domains, hosts and URLs: pinned by their hash when a run is planned, one table of hashes on each machine.

A list is a text file with an entry a line, plain or gzip; ``#`` begins a comment. The workers of a machine share one
table: it is made once, under a lock, in the temporary folder, and mapped into memory. It has 8 bytes for each entry and
1.5 to 3 times as many places as entries: 64 MiB for 5 million.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np

from transforms.io import storage
from transforms.io.pinned_files import PinnedFileChanged
from transforms.io.shared_files import shared_folder
from transforms.kernels.urls.lists import KINDS, hash_entries, table_of

PIECE = 8 * 2**20
UT1_FILES = {"domains": "domains", "urls": "urls"}
"""The files of a category of the UT1 lists (dsi.ut-capitole.fr), plain or with .gz, and what they list."""

Pins = Mapping[str, Sequence[Sequence[str]]]
"""For each of ``KINDS`` the URI and SHA-256 of its lists."""


def pin(lists: Mapping[str, Sequence[str]], folders: Sequence[str]) -> Pins:
    """The lists as they are now.

    Args:
      lists: for each of ``KINDS`` the places of files.
      folders: categories of the UT1 lists, or folders of categories.

    Raises:
      StorageError: one can't be read.
      ValueError: a folder has no lists.
    """
    places = {kind: [storage.absolute(place) for place in lists.get(kind, ())] for kind in KINDS}
    for folder in folders:
        found = 0
        for info in storage.list_objects(storage.absolute(folder)):
            kind = UT1_FILES.get(info.uri.rpartition("/")[2].removesuffix(".gz"))
            if kind:
                places[kind].append(info.uri)
                found += 1
        if not found:
            raise ValueError(f"{folder}: there is no file called {' or '.join(UT1_FILES)} in it, plain or .gz")
    return {kind: [[uri, _sha256(uri)] for uri in sorted(uris)] for kind, uris in places.items() if uris}


def _sha256(uri: str) -> str:
    digest = hashlib.sha256()
    with storage.open_input(uri) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


class _Hashed(io.RawIOBase):
    """A file that knows the hash of all that was read of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Reads on."""
        data = self._file.read(len(buffer))
        self.digest.update(data)
        buffer[: len(data)] = data
        return len(data)


def _lines(uri: str, sha256: str) -> Iterator[np.ndarray]:
    """The list in pieces that end with a line, as UTF-8.

    Raises:
      PinnedFileChanged: it isn't what it was when the run was planned.
      StorageError: it can't be read.
    """
    with storage.open_input(uri) as file:
        hashed = _Hashed(file)
        raw = io.BufferedReader(hashed, PIECE)
        try:
            opened = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw
            rest = b""
            while piece := opened.read(PIECE):
                rest += piece
                end = rest.rfind(b"\n") + 1
                yield np.frombuffer(rest[:end], np.uint8)
                rest = rest[end:]
            yield np.frombuffer(rest, np.uint8)
            raw.read()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise storage.StorageError(uri, f"isn't whole gzip: {error}") from error
    if hashed.digest.hexdigest() != sha256:
        raise PinnedFileChanged(f"{uri} is not the list that this run was planned with (SHA-256 differs)")


def _hashes(pins: Pins) -> list[np.ndarray]:
    found = []
    for place, kind in enumerate(KINDS):
        for uri, sha256 in pins.get(kind, ()):
            for data in _lines(uri, sha256):
                out = np.empty(int(np.count_nonzero(data == 0x0A)) + 1, np.uint64)
                found.append(out[: hash_entries(data, place, out)].copy())
    return found


def table(pins: Pins) -> np.ndarray:
    """The table of all lists, shared by the processes of this machine; of no list, one without entries.

    Raises:
      PinnedFileChanged: a list isn't what it was when the run was planned.
      StorageError: one can't be read.
    """
    if not pins:
        return np.zeros(1, np.uint64)
    name = hashlib.sha256(repr(sorted((kind, [sha for _, sha in lists]) for kind, lists in pins.items())).encode())
    path = shared_folder("lists") / f"{name.hexdigest()}.npy"
    if not path.exists():
        with open(path.with_suffix(".lock"), "w") as lock:  # noqa: PTH123 - flock wants a descriptor
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                temporary = path.with_suffix(f".{os.getpid()}")
                with temporary.open("wb") as file:
                    np.save(file, table_of(_hashes(pins)))
                temporary.rename(path)
    return np.load(path, mmap_mode="r")
