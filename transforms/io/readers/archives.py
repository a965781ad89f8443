"""Zip and tar, compressed or not: the rows of their members, one member after another, in the order of the archive.

Each member is what its own bytes say. A member of a format that isn't read, such as a README, is left out with a
warning; damage makes the whole source unreadable, as a part of it would be a guess. ``member`` and ``member_row`` can
be kept as columns. A member lies in a temporary file while it is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from schemas.shards import MAX_ROWS_PER_SOURCE, Shard, Source
from transforms.io import storage
from transforms.io.kept_columns import KeptColumn
from transforms.io.read_options import MIB, ReadOptions
from transforms.io.readers.batching import cut_batches
from transforms.io.readers.common import UnreadableSource, Warn
from transforms.io.readers.formats import is_tar
from transforms.io.readers.reader import FirstLook, Look, Reader, Rows
from transforms.io.readers.streams import MAGIC_BYTES, compression_of, decompress

NAME = "archive"
ZIP_MAGIC = b"PK\x03\x04"
MEMBER, MEMBER_ROW = "member", "member_row"
IN_MEMORY = 16 * MIB  # of a member; a larger one lies on disk
MOST_MEMBER_BYTES = 1 << 38
INFLATED = 4
_FAULTS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,  # an offset before the beginning of the file
    LookupError,  # a member without a name
)

Choose = Callable[[Look], Reader]


def _matches(look: Look) -> bool:
    return look.head.startswith(ZIP_MAGIC) or is_tar(look.text)


def _split(source: Source, file: BinaryIO, look: Look) -> list[Shard]:
    return [Shard(source, size=source.size * INFLATED)]


def _members(uri: str, file: BinaryIO) -> Iterator[tuple[str, BinaryIO, int]]:
    """Name, bytes and size of every file in an archive that isn't hidden."""
    file.seek(0)
    magic = file.read(MAGIC_BYTES)
    file.seek(0)
    try:
        if magic.startswith(ZIP_MAGIC):
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    if not info.is_dir() and not _hidden(info.filename):
                        with archive.open(info) as member, _spooled(uri, info.filename, member) as (copy, size):
                            yield info.filename, copy, size
            return
        text = io.BufferedReader(_Stream(decompress(uri, file, compression_of(magic), lambda _: None)))
        with tarfile.open(fileobj=text, mode="r|") as tar:
            for entry in tar:
                found = tar.extractfile(entry) if entry.isfile() and not _hidden(entry.name) else None
                if found is not None:
                    with _spooled(uri, entry.name, found) as (copy, size):
                        yield entry.name, copy, size
    except (UnreadableSource, storage.StorageError):
        raise
    except _FAULTS as error:
        raise UnreadableSource(uri, f"the archive can't be read: {str(error) or type(error).__name__}") from error


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _read(uri: str, name: str, member: IO[bytes]) -> bytes:
    try:
        return member.read(MIB)
    except storage.StorageError:
        raise
    except OSError as error:  # bz2's damage; what the copy can't take is another matter
        raise UnreadableSource(uri, f"member {name} can't be read: {error}") from error


@contextlib.contextmanager
def _spooled(uri: str, name: str, member: IO[bytes]) -> Iterator[tuple[BinaryIO, int]]:
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as copy:
        size = 0
        while data := _read(uri, name, member):
            size += len(data)
            if size > MOST_MEMBER_BYTES:
                raise UnreadableSource(uri, f"member {name} has more than {MOST_MEMBER_BYTES} bytes")
            copy.write(data)
        copy.seek(0)
        yield cast(BinaryIO, copy), size


class _Stream(io.RawIOBase):
    """Chunks of bytes as a file that is read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks, self._held = chunks, b""

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; none at the end."""
        while not self._held:
            found = next(self._chunks, None)
            if found is None:
                return 0
            self._held = found
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count


def reader(choose: Choose) -> Reader:
    """The reader of archives.

    Args:
      choose: which reader a member has.
    """

    def read(shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None, warn: Warn) -> Rows:
        return cut_batches(_rows(choose, shard, file, options, keep, warn))

    def first_look(source: Source, file: BinaryIO, look: Look) -> FirstLook:
        """That of the first member that can be read."""
        reason = "is an empty archive"
        try:
            for name, member, size in _members(source.uri, file):
                inner = Look.at(member, size, look.options)
                if (found := choose(inner)).name != NAME:
                    seen = found.first_look(dataclasses.replace(source, size=size), member, inner)
                    if not seen.reason:
                        own = {MEMBER: pa.string(), MEMBER_ROW: pa.int64()}
                        kept = {c.path: [own[c.path]] for c in look.options.columns if c.path in own}
                        types = {**seen.types, **kept}
                        return dataclasses.replace(seen, source=source, paths=(*seen.paths, *own), types=types)
                    reason = f"member {name} {seen.reason}"
                else:
                    reason = f"member {name} is an archive within an archive"
            return FirstLook(source, reason)
        except UnreadableSource as unreadable:
            return FirstLook(source, unreadable.reason)

    return Reader(NAME, _matches, _split, read, first_look)


def _rows(
    choose: Choose, shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None, warn: Warn
) -> Iterator[pa.RecordBatch]:
    uri = shard.source.uri
    row = read = 0
    left_out = ""
    for name, member, size in _members(uri, file):
        source = Source(shard.source.number, f"{uri}!/{name}", shard.source.etag, size)
        look = Look.at(member, size, options)
        found = choose(look)
        parts = found.split(source, member, look) if found.name != NAME else []
        reason = "is an archive within an archive" if not parts else parts[0].error
        if reason:
            left_out = f"member {name} {reason}"
            warn(f"{left_out}; it is left out")
            continue
        if not all(part.counted for part in parts):
            parts = [Shard(source)]
        read += 1
        first = row
        for part in parts:
            for batch in found.read(part, member, options, None, warn):
                numbers = batch["row"].to_numpy() + np.uint32(first)
                row += batch.num_rows
                if row > MAX_ROWS_PER_SOURCE:
                    raise UnreadableSource(uri, f"more than {MAX_ROWS_PER_SOURCE} rows")
                moved = _named(batch, numbers, first, name, options)
                if keep is not None:
                    moved = moved.filter(pa.array(keep[row - batch.num_rows : row]))
                if moved.num_rows:
                    yield moved
    if not read:
        raise UnreadableSource(uri, left_out or "is an empty archive")
    if keep is not None and row != len(keep):
        raise ValueError(f"keep: has {len(keep)} rows, but {uri} has {row}")
    if shard.rows not in (-1, row):
        raise UnreadableSource(uri, f"it has {row} rows, but had {shard.rows} before")


def _named(batch: pa.RecordBatch, numbers: np.ndarray, first: int, name: str, options: ReadOptions) -> pa.RecordBatch:
    """A member's rows as the archive numbers them, with the columns that say where they are."""

    def own(column: KeptColumn) -> pa.Array:
        if column.path == MEMBER:
            return pa.repeat(pa.scalar(name), len(numbers)).cast(column.kind)
        if column.path == MEMBER_ROW:
            return pa.array(numbers.astype(np.int64) - first).cast(column.kind)
        return batch.column(column.name)

    columns = [pa.array(numbers, pa.uint32()), *batch.columns[1:4], *map(own, options.columns)]
    return pa.RecordBatch.from_arrays(columns, schema=options.schema)
