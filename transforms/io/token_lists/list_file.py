"""A Parquet file with one column of lists of token ids, which ``transforms.io.token_lists.list_pages`` encodes.

All else is pyarrow's: an empty file of the same schema gives the footer, a file in memory with the other columns of a
row group gives theirs. What is read back is what pyarrow itself would have written (rows, schema, metadata).
"""

from __future__ import annotations

from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.io.token_lists import thrift_compact as thrift
from transforms.io.token_lists.list_pages import encode_lists

_MAGIC = b"PAR1"
_FOOTER_END = 8  # its length and the magic bytes
# Fields of Parquet's FileMetaData, RowGroup, ColumnChunk and ColumnMetaData.
_NUM_ROWS, _ROW_GROUPS = 3, 4
_COLUMNS, _TOTAL_BYTES, _GROUP_ROWS, _GROUP_OFFSET, _TOTAL_COMPRESSED, _ORDINAL = 1, 2, 3, 5, 6, 7
_CHUNK_OFFSET, _CHUNK_METADATA = 2, 3
_UNCOMPRESSED = 6
_OFFSETS = (9, 10, 11)  # of data, index and dictionary pages


class ListFileWriter:
    """Stands in for ``pyarrow.parquet.ParquetWriter``.

    Args:
      file: open for writing, at its beginning.
      schema: of the batches.
      column: the column of lists, at the top level and nullable, its elements nullable.
      options: pyarrow's; ``compression`` must be "zstd", with a ``compression_level``.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema, column: str, **options: Any) -> None:
        self._file, self._schema, self._column = file, schema, column
        self._codec = pa.Codec("zstd", options["compression_level"])
        self._options = options
        self._footer = _footer(self._by_pyarrow(schema.empty_table()))[0]
        self._groups: list[thrift.Struct] = []
        self._rows = self._position = 0
        self._write(_MAGIC)

    def write_batch(self, batch: pa.RecordBatch, row_group_size: int) -> None:
        """Appends row groups of so many rows."""
        for start in range(0, batch.num_rows, row_group_size):
            self._write_group(batch.slice(start, row_group_size))

    def close(self) -> None:
        """Writes the footer; the file itself stays open."""
        self._footer[_NUM_ROWS] = (thrift.I64, self._rows)
        self._footer[_ROW_GROUPS] = (thrift.LIST, (thrift.STRUCT, self._groups))
        footer = thrift.encode(self._footer)
        self._write(footer + len(footer).to_bytes(4, "little") + _MAGIC)

    def _write_group(self, rows: pa.RecordBatch) -> None:
        begin = self._position
        lists = encode_lists(rows[self._column], self._codec)
        self._write(lists.pages)
        others = self._by_pyarrow(pa.table(rows).drop_columns(self._column))
        footer, end = _footer(others)
        shift = self._position - len(_MAGIC)
        self._write(others[len(_MAGIC) : end])
        [group] = footer[_ROW_GROUPS][1][1]
        chunks = group[_COLUMNS][1][1]
        for chunk in chunks:
            _move(chunk, shift)
        metadata = lists.metadata([self._column, "list", "element"], begin)
        index = self._schema.get_field_index(self._column)
        chunks.insert(index, {_CHUNK_OFFSET: (thrift.I64, begin), _CHUNK_METADATA: (thrift.STRUCT, metadata)})
        uncompressed = sum(chunk[_CHUNK_METADATA][1][_UNCOMPRESSED][1] for chunk in chunks)
        self._groups.append(
            {
                _COLUMNS: (thrift.LIST, (thrift.STRUCT, chunks)),
                _TOTAL_BYTES: (thrift.I64, uncompressed),
                _GROUP_ROWS: (thrift.I64, rows.num_rows),
                _GROUP_OFFSET: (thrift.I64, begin),
                _TOTAL_COMPRESSED: (thrift.I64, self._position - begin),
                _ORDINAL: (thrift.I16, len(self._groups)),
            }
        )
        self._rows += rows.num_rows

    def _by_pyarrow(self, table: pa.Table) -> bytes:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, row_group_size=max(1, len(table)), **self._options)
        written: bytes = sink.getvalue().to_pybytes()
        return written

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._position += len(data)


def _footer(file: bytes) -> tuple[thrift.Struct, int]:
    """The footer of a Parquet file and where it begins."""
    end = len(file) - _FOOTER_END
    begin = end - int.from_bytes(file[end : end + 4], "little")
    return thrift.decode(file[begin:end]), begin


def _move(chunk: thrift.Struct, shift: int) -> None:
    """What is said of a column chunk, when it stands ``shift`` bytes further on."""
    metadata = chunk[_CHUNK_METADATA][1]
    for struct, fields in ((chunk, (_CHUNK_OFFSET,)), (metadata, _OFFSETS)):
        for field in fields:
            if field in struct:
                struct[field] = (thrift.I64, struct[field][1] + shift)
