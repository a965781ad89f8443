"""Readers: from a source to shards, from a shard to batches of documents.

Plain functions that know nothing of Beam. A source's format is recognized by its first and last bytes, never by its
name. Each format is one file, registered in ``transforms.io.readers.registry``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from schemas.shards import Shard, Source
from transforms.io import storage
from transforms.io.read_options import ReadOptions
from transforms.io.readers.common import BATCH_BYTES, UnreadableSource, Warn, log_warning
from transforms.io.readers.first_look import first_look, first_looks
from transforms.io.readers.parts import Counted, numbered
from transforms.io.readers.reader import FirstLook, Look, NotABoundary
from transforms.io.readers.registry import reader_named, reader_of

__all__ = [
    "BATCH_BYTES",
    "Counted",
    "FirstLook",
    "ReadOptions",
    "UnreadableSource",
    "check",
    "count",
    "first_look",
    "first_looks",
    "numbered",
    "read",
    "split",
]


def split(source: Source, options: ReadOptions, file: BinaryIO | None = None) -> list[Shard]:
    """The shards of a source; at least one.

    What a shard is, depends on the format (``transforms.io.readers.registry``, docs/reading.md): some row groups, a
    range of bytes, or the whole source. An object of 0 bytes is one shard without documents. Parts of a stream aren't
    ``counted``: ``count`` and ``numbered`` make shards of them whose rows are known.

    Args:
      source: to be split.
      options: how it will be read.
      file: the source, if it is open already.

    A source that can't be read gives one shard with ``error`` set: a footer that can't be read, no text column, a text
    column that isn't a string or is encrypted, a format that isn't read (``transforms.io.readers.formats``).

    Raises:
      StorageError: a fault of the storage, or a source that isn't the pinned one.
    """
    options = options.of_source(source.uri)
    with _opened(source, file) as opened:
        look = Look.at(opened, source.size, options)
        reader = reader_of(look)
        return [dataclasses.replace(shard, format=reader.name) for shard in reader.split(source, opened, look)]


def count(shard: Shard, options: ReadOptions) -> Counted:
    """How many rows an uncounted shard of ``split`` has. What it costs: decoding, and looking for line breaks.

    Raises:
      StorageError: a fault of the storage, or a source that isn't the pinned one.
    """
    found = reader_named(shard.format)
    if found.count is None:
        raise ValueError(f"a shard of {found.name} is counted already")
    with _opened(shard.source, None) as opened:
        try:
            return Counted(shard, found.count(shard, opened))
        except UnreadableSource as unreadable:
            return Counted(shard, error=unreadable.reason)
        except NotABoundary:
            return Counted(shard)


def read(
    shard: Shard,
    options: ReadOptions,
    keep: np.ndarray | None = None,
    warn: Warn | None = None,
    file: BinaryIO | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a shard, in order, as batches of ``schemas.columns.DOCUMENTS``.

    Every row is there: ``outcome`` is null for active ones, else says why the row can't be used, and ``text`` is null
    exactly where ``outcome`` is set. A batch has at most ``BATCH_BYTES`` of text and ids and 2**16 rows; a larger
    document is alone in its batch. Batches depend on the rows alone, not on row groups, pages or compression.

    Memory: a batch, the piece being decoded, and the compressed bytes of the columns needed of one row group.
    Cost on one core of a busy machine: Parquet zstd 230-310 MB/s of text, as pyarrow alone; JSON Lines 160-210, with
    gzip 90-130, with zstd 110-160. Peak memory 100 MiB over the imports; 300 MiB for one document of 100 MB.

    Args:
      shard: one of ``split``.
      options: as in ``split``.
      keep: bool, one a row of the shard: only these rows. Row groups of which nothing is wanted aren't fetched, lines
        not parsed.
      warn: takes what is wrong with a source that is read all the same; by default that is logged.
      file: the source, if it is open already.

    A row of a JSON Lines source is a line that isn't blank, counted from 0. Rows of a shard that wasn't counted are
    numbered from 0. When a whole source was read, without
    ``keep``, and no row of it can be used, that is an ``UnreadableSource`` with the commonest reason.

    Raises:
      UnreadableSource: the data can't be decoded, found maybe after some batches.
      StorageError: a fault of the storage, or a source that isn't the pinned one.
      ValueError: ``keep`` has another number of rows than the shard.
    """
    options = options.of_source(shard.source.uri)
    if shard.error:
        raise UnreadableSource(shard.source.uri, shard.error)
    if keep is not None:
        if keep.dtype != np.bool_ or keep.ndim != 1:
            raise ValueError(f"keep: must be a mask of bool, but is {keep.dtype} of {keep.ndim} dimensions")
        if shard.rows not in (-1, len(keep)):
            raise ValueError(f"keep: has {len(keep)} rows, but shard {shard.name} has {shard.rows}")
    warn = warn or log_warning(shard.source.uri)
    with _opened(shard.source, file) as opened:
        found = reader_named(shard.format) if shard.format else reader_of(Look.at(opened, shard.source.size, options))
        yield from found.read(shard, opened, options, keep, warn)


def check(source: Source, options: ReadOptions) -> str:
    """Reads all of a source: why it is unreadable, or an empty string. Rows that can't be used don't make it so.

    Raises:
      StorageError: a fault of the storage, or a source that isn't the pinned one.
    """
    for shard in split(source, options):
        if shard.error:
            return shard.error
        try:
            for _ in read(shard, options):
                pass
        except UnreadableSource as unreadable:
            return unreadable.reason
    return ""


def _opened(source: Source, file: BinaryIO | None) -> AbstractContextManager[BinaryIO]:
    """The pinned source, opened for the block unless it is open."""
    return nullcontext(file) if file is not None else storage.open_input(source.uri, source.etag, source.size)
