"""What a reader is: one format, in one file, registered in ``transforms.io.readers.registry``."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from schemas.shards import Shard, Source
from transforms.io.read_options import ReadOptions
from transforms.io.readers.common import Warn
from transforms.io.readers.streams import Compression, beginning, compression_of

HEAD_BYTES = 1 << 16
TAIL_BYTES = 8


@dataclasses.dataclass(frozen=True)
class Look:
    """The first and last bytes of a source, by which its format is recognized: never by its name.

    Attributes:
      head: the first ``HEAD_BYTES``, or more.
      tail: the last ``TAIL_BYTES``.
      size: bytes as stored.
      options: how it will be read.
    """

    head: bytes
    tail: bytes
    size: int
    options: ReadOptions

    @classmethod
    def at(cls, file: BinaryIO, size: int, options: ReadOptions, head_bytes: int = HEAD_BYTES) -> Look:
        """Looks at an open source."""
        file.seek(0)
        head = file.read(head_bytes)
        file.seek(max(0, size - TAIL_BYTES))
        return cls(head, file.read(TAIL_BYTES), size, options)

    @functools.cached_property
    def compression(self) -> Compression:
        """How the whole source is compressed; Parquet and archives are ``plain``."""
        return compression_of(self.head)

    @functools.cached_property
    def text(self) -> bytes:
        """The first bytes of what is compressed, as many as the head has at most."""
        return beginning(self.head, self.compression, max(len(self.head), HEAD_BYTES))

    @property
    def whole(self) -> bool:
        """Whether ``text`` may be all there is."""
        return max(len(self.head), len(self.text)) < HEAD_BYTES


@dataclasses.dataclass(frozen=True)
class FirstLook:
    """What was seen of one source.

    Attributes:
      reason: why it can't be read, as far as that shows already; a missing text column is one of a Parquet source.
      columns: names of its columns, or of the fields of its first lines, in the order in which they come.
      rows: first rows that were looked at; rows of a Parquet source.
      has_text: whether the text column is one of the columns; None if nothing was seen that could tell.
      paths: all that can be named: columns and fields, those in structs and objects by their paths, and folders.
      types: of the columns that are kept and are there, by path; several of a field that is mixed.
      inferred: whether the types are those of the first rows only.
    """

    source: Source
    reason: str = ""
    columns: tuple[str, ...] = ()
    rows: int = 0
    has_text: bool | None = None
    paths: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    types: Mapping[str, list[pa.DataType]] = dataclasses.field(default_factory=dict, compare=False)
    inferred: bool = dataclasses.field(default=False, compare=False)


class Piece(NamedTuple):
    """A run of rows of a part that was counted; ``begin`` and ``end`` as in ``Shard``."""

    begin: int
    end: int
    rows: int


class NotABoundary(Exception):
    """A source can't be cut where it was: it is one shard then."""


Rows = Iterator[pa.RecordBatch]


@dataclasses.dataclass(frozen=True)
class Reader:
    """One format: how it is recognized, split and read. Adding a format is one file and its entry in the registry.

    Attributes:
      name: stands in ``Shard.format`` and in the documentation.
      matches: whether a source is of this format. Readers are asked in the order of the registry.
      split: the shards of an open source, at least one. ``begin`` and ``end`` of a shard mean what the reader wants:
        nobody else looks at them. A shard whose source can't be read has its ``error`` set.
      read: the rows of a shard, as ``transforms.io.readers.read`` promises them.
      first_look: what the first rows look like, before any work starts.
      count: how many rows an uncounted shard has, cut again where it has too many; raises ``NotABoundary`` where
        ``split`` has guessed wrong. Only for readers whose ``split`` gives such.
      format: what the format of an input is called in settings; empty: it can't be named.
    """

    name: str
    matches: Callable[[Look], bool]
    split: Callable[[Source, BinaryIO, Look], list[Shard]]
    read: Callable[[Shard, BinaryIO, ReadOptions, np.ndarray | None, Warn], Rows]
    first_look: Callable[[Source, BinaryIO, Look], FirstLook]
    count: Callable[[Shard, BinaryIO], list[Piece]] | None = None
    format: str = ""
