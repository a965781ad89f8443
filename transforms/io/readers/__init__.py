"""Readers: from a source to shards, from a shard to batches of documents.

Plain functions that know nothing of Beam. Formats are told by their first and last bytes, never by a name: Parquet, or
JSON Lines plain, gzip or zstd.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from schemas.shards import Shard, Source
from transforms.io import storage
from transforms.io.readers import jsonl, parquet
from transforms.io.readers.common import BATCH_BYTES, ReadOptions, UnreadableSource, Warn, log_warning
from transforms.io.readers.first_look import FirstLook, first_look, first_looks
from transforms.io.readers.formats import HEAD_BYTES, refusal
from transforms.io.readers.formats import PARQUET_MAGIC as MAGIC
from transforms.io.readers.streams import compression_of

__all__ = [
    "BATCH_BYTES",
    "FirstLook",
    "ReadOptions",
    "UnreadableSource",
    "check",
    "first_look",
    "first_looks",
    "read",
    "split",
]

COMPRESSED = 4
"""About how many bytes of text are in a byte of compressed JSON Lines."""


def split(source: Source, options: ReadOptions, file: BinaryIO | None = None) -> list[Shard]:
    """The shards of a source; at least one.

    Parquet: runs of consecutive row groups of ``shard_bytes`` uncompressed bytes of text or a little more, and of 2**20
    rows at most unless a single row group has more. Rows and first rows come from the footer, so nothing else is read.
    JSON Lines: one shard, its rows unknown (-1); so for an object of 0 bytes, which has no documents.

    Args:
      source: to be split.
      options: how it will be read.
      file: the source, if it is open already.

    A source that can't be read gives one shard with ``error`` set: a footer that can't be read, no text column, a text
    column that isn't a string or is encrypted, another format (``transforms.io.readers.formats``).

    Raises:
      StorageError: a fault of the storage, or a source that isn't the pinned one.
    """
    with _opened(source, file) as bytes_of_it:
        return _split(source, bytes_of_it, options)


def read(
    shard: Shard,
    options: ReadOptions,
    keep: np.ndarray | None = None,
    warn: Warn | None = None,
    file: BinaryIO | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a shard, in order, as batches of ``schemas.columns.DOCUMENTS``.

    Every row is there: ``outcome`` is null for those in play, else says why the row can't be used, and ``text`` is null
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

    A row of a JSON Lines source is a line that isn't blank, counted from 0. When a whole source was read, without
    ``keep``, and no row of it can be used, that is an ``UnreadableSource`` with the commonest reason.

    Raises:
      UnreadableSource: the data can't be decoded, found maybe after some batches.
      StorageError: a fault of the storage, or a source that isn't the pinned one.
      ValueError: ``keep`` has another number of rows than the shard.
    """
    if shard.error:
        raise UnreadableSource(shard.source.uri, shard.error)
    if keep is not None:
        if keep.dtype != np.bool_ or keep.ndim != 1:
            raise ValueError(f"keep: must be a mask of bool, but is {keep.dtype} of {keep.ndim} dimensions")
        if shard.rows not in (-1, len(keep)):
            raise ValueError(f"keep: has {len(keep)} rows, but shard {shard.name} has {shard.rows}")
    warn = warn or log_warning(shard.source.uri)
    with _opened(shard.source, file) as bytes_of_it:
        if shard.row_groups:
            yield from parquet.read_parquet(shard, bytes_of_it, options, keep, warn)
        elif shard.rows != 0:
            compression = compression_of(_head(bytes_of_it))
            bytes_of_it.seek(0)
            yield from jsonl.read_jsonl(shard, bytes_of_it, compression, options, keep, warn)


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


def _split(source: Source, file: BinaryIO, options: ReadOptions) -> list[Shard]:
    head = _head(file)
    file.seek(max(0, source.size - len(MAGIC)))
    tail = file.read(len(MAGIC))
    if head.startswith(MAGIC) and tail == MAGIC:
        return parquet.split_parquet(source, file, options)
    if head.startswith(MAGIC):
        return [Shard(source, error="starts as a Parquet file but doesn't end as one: cut short, or not Parquet")]
    if tail == MAGIC:
        return [Shard(source, error="ends as a Parquet file but doesn't start as one: its first bytes are damaged")]
    size = source.size if compression_of(head) == "plain" else source.size * COMPRESSED
    return [Shard(source, error=refusal(head, options.text_column), size=size)]


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(HEAD_BYTES)
