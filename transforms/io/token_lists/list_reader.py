"""The token ids of a row group, read from the pages that ``list_pages`` writes: three times as fast as by pyarrow.

How long each list is stands in a column of its own, so the levels need not be decoded. Pages of another kind are
pyarrow's to read.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.io.token_lists import thrift_compact as thrift

_PLAIN, _RLE_DICTIONARY = 0, 8
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_ID_BITS = 16


class _AnotherKind(Exception):
    """A page that ``list_pages`` doesn't write."""


def read_lists(
    file: BinaryIO,
    parquet: pq.ParquetFile,
    group: int,
    column: str,
    lengths: npt.NDArray[np.int64],
    dtype: npt.DTypeLike,
) -> npt.NDArray[np.unsignedinteger]:
    """All token ids of a row group, one list after the other.

    Args:
      file: the Parquet file, of which ``parquet`` has read the footer.
      column: of lists of unsigned integers.
      lengths: tokens of each list.
      dtype: of the result.

    Raises:
      ValueError: the lists don't have these lengths together.
    """
    try:
        ids = _read_pages(file, _chunk(parquet, group, column), lengths, np.dtype(dtype))
    except _AnotherKind:
        table = parquet.read_row_group(group, columns=[column], use_threads=False)
        ids = table[column].combine_chunks().flatten().to_numpy().astype(dtype, copy=False)
    if len(ids) != lengths.sum():
        raise ValueError(f"row group {group} has {len(ids)} tokens, not {lengths.sum()} as its documents say")
    return ids


def _chunk(parquet: pq.ParquetFile, group: int, column: str) -> pq.ColumnChunkMetaData:
    metadata = parquet.metadata.row_group(group)
    for index in range(metadata.num_columns):
        chunk = metadata.column(index)
        if chunk.path_in_schema.split(".")[0] == column:
            return chunk
    raise ValueError(f"there is no column {column}")


def _read_pages(
    file: BinaryIO, chunk: pq.ColumnChunkMetaData, lengths: npt.NDArray[np.int64], dtype: np.dtype
) -> npt.NDArray[np.unsignedinteger]:
    if chunk.compression != "ZSTD":
        raise _AnotherKind
    file.seek(chunk.dictionary_page_offset or chunk.data_page_offset)
    data = memoryview(file.read(chunk.total_compressed_size))
    codec = pa.Codec("zstd")
    levels = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.maximum(lengths, 1))])
    without = levels[:-1][lengths == 0]
    out = np.empty(int(lengths.sum()), dtype)
    position = level = filled = 0
    while position < len(data):
        header, position = thrift.decode_from(data, position)
        kind, size, compressed = (header[field][1] for field in (1, 2, 3))
        page = codec.decompress(data[position : position + compressed], size)
        position += compressed
        if kind == _DICTIONARY_PAGE:
            entries = np.frombuffer(page, "<i4")
            if not np.array_equal(entries, np.arange(len(entries))):
                raise _AnotherKind
            continue
        if kind != _DATA_PAGE:
            raise _AnotherKind
        count, encoding = header[5][1][1][1], header[5][1][2][1]
        first, last = np.searchsorted(without, (level, level + count))
        values = _values(page, encoding, int(count - (last - first)))
        if filled + len(values) > len(out):
            raise ValueError("more tokens than its documents have")
        out[filled : filled + len(values)] = values
        filled += len(values)
        level += count
    return out[:filled]


def _values(page: pa.Buffer, encoding: int, count: int) -> npt.NDArray[np.unsignedinteger]:
    """The ids of a data page, behind its two blocks of levels."""
    view, begin = memoryview(page).cast("B"), 0
    for _ in range(2):
        begin += 4 + int.from_bytes(view[begin : begin + 4], "little")
    if encoding == _PLAIN:
        return np.frombuffer(view[begin:], "<u4")[:count]
    if encoding != _RLE_DICTIONARY:
        raise _AnotherKind
    if count == 0:
        return np.zeros(0, np.uint16)
    if view[begin] != _ID_BITS:
        raise _AnotherKind
    header, begin = thrift.read_varint(view, begin + 1)
    if not header & 1 or 8 * (header >> 1) < count:
        raise _AnotherKind
    return np.frombuffer(view[begin:], "<u2", count)
