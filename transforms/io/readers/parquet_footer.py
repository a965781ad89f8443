"""The columns of a Parquet file that are read, and a footer of our own for pyarrow that names nothing else.

pyarrow takes the whole footer: types that it doesn't know make it refuse the file, and an encrypted column or a damaged
entry can end the process by a C++ exception or a signal. So the footer is looked at here first, byte by byte
(``transforms.io.readers.footer_bytes``). pyarrow gets another one: its schema has the text, the id and what is kept,
its row groups are those of one shard. What other columns are, whether they are encrypted, and what their writer noted
beside them (Arrow schema, statistics, indexes) has no influence then.
"""

from __future__ import annotations

import dataclasses
import io
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.io.read_options import ReadOptions
from transforms.io.readers import footer_bytes as kernel
from transforms.io.readers.common import UnreadableSource, decoding
from transforms.io.readers.formats import PARQUET_MAGIC
from transforms.io.readers.parquet_schema import AS_STORED, Column, Schema, encoded, file_of
from transforms.io.token_lists import thrift_compact as thrift

TAIL_BYTES = 1 << 16  # read at once from the end: most footers are in it
SHOWN_COLUMNS = 50
HOLE_BYTES = 8192  # what lies between two chunks is fetched with them up to here: a request costs more
PADDING_BYTES = 100  # old writers don't count the header of the dictionary (PARQUET-816)

_SCHEMA, _ROWS, _ROW_GROUPS, _CREATED_BY, _ENCRYPTION = 2, 3, 4, 6, 8  # fields of FileMetaData
_STATE, _TYPE, _CODEC, _VALUES, _UNCOMPRESSED, _COMPRESSED, _DATA, _DICTIONARY = range(len(kernel.CHUNK))
_ENCRYPTED_AND = "it is encrypted, and no keys are taken: decrypt the file first"


@dataclasses.dataclass(frozen=True)
class Footer:
    """What is read of a Parquet file.

    Attributes:
      size: bytes of the file.
      text: the column of the texts.
      id: the column of the ids, None if there is none that can be read.
      kept: the columns that are kept, in the order of the options; None for those that the file hasn't.
      rows: of every row group (int64).
      chunks: ``kernel.CHUNK`` of the leaves of ``columns``, by row group (int64).
      warnings: what the user should know although the texts are read.
    """

    uri: str
    size: int
    text: Column
    id: Column | None
    kept: tuple[Column | None, ...]
    rows: np.ndarray
    chunks: np.ndarray
    created_by: bytes
    warnings: tuple[str, ...] = ()

    @property
    def columns(self) -> list[Column]:
        """The columns that are read: the text, the id, what is kept."""
        return [column for column in (self.text, self.id, *self.kept) if column]

    @property
    def compressed(self) -> np.ndarray:
        """Stored bytes of the texts, and of what is kept, by row group."""
        return self._bytes(_COMPRESSED)

    @property
    def uncompressed(self) -> np.ndarray:
        """Bytes of the texts' pages by row group."""
        return self.chunks[:, 0, _UNCOMPRESSED]

    @property
    def decoded(self) -> np.ndarray:
        """Bytes of the pages of the texts, and of what is kept, by row group."""
        return self._bytes(_UNCOMPRESSED)

    def _bytes(self, which: int) -> np.ndarray:
        sizes = self.chunks[:, :, which]
        return sizes[:, 0] + sizes[:, 2 if self.id else 1 :].sum(axis=1)

    def fetch(self, file: BinaryIO, groups: list[int]) -> pq.ParquetFile:
        """Some row groups, fetched: a Parquet file in memory that has nothing else. Their numbers begin at 0.

        pyarrow never reads the file itself. It would do so from threads of its own, which abort the process if it ends
        while they let go of a Python object.
        """
        chunks = self.chunks[groups]
        data, shifts = _fetched(self.uri, file, self.size, chunks)
        chunks[..., _DATA] += shifts
        chunks[..., _DICTIONARY] += np.where(chunks[..., _DICTIONARY] > 0, shifts, 0)
        rows = self.rows[groups]
        entries = [_row_group(self.columns, *group) for group in zip(rows.tolist(), chunks.tolist(), strict=True)]
        with decoding(self.uri, "the Parquet footer can't be read"):
            metadata = pq.read_metadata(file_of(encoded(self.columns, entries, int(rows.sum()), self.created_by)))
            reader = pa.BufferReader(pa.py_buffer(data))
            return pq.ParquetFile(
                reader, metadata=metadata, pre_buffer=False, page_checksum_verification=True, **AS_STORED
            )


def read_footer(uri: str, file: BinaryIO, size: int, options: ReadOptions) -> Footer:
    """The footer of a file that begins and ends as Parquet does.

    Raises:
      UnreadableSource: it is damaged; there is no text column, or it isn't a string, or it is encrypted.
    """
    data = _footer_bytes(uri, file, size)
    found = kernel.fields(data)
    if found[0, 0] < 0:
        raise UnreadableSource(uri, "the Parquet footer can't be read: it is damaged")
    schema = _schema(uri, data, found)
    text, identifier, warnings = _columns(uri, schema, options)
    kept = [_kept(uri, schema, options, number) for number in range(len(options.columns))]
    if found[_ROW_GROUPS, 0] != thrift.LIST or found[_ROWS, 0] != thrift.I64:
        raise UnreadableSource(uri, "the Parquet footer can't be read: it names no rows")
    wanted = sorted({leaf for column in (text, identifier, *kept) if column for leaf in column.leaves})
    rows, chunks = kernel.column_chunks(data, found[_ROW_GROUPS, 1], schema.leaves, np.array(wanted, np.int64))
    if chunks.shape[1] != len(wanted):
        raise UnreadableSource(uri, "the Parquet footer can't be read: its row groups are damaged")
    by_leaf = {leaf: chunks[:, i] for i, leaf in enumerate(wanted)}
    if identifier and (by_leaf[identifier.leaves[0]][:, _STATE] == kernel.ENCRYPTED).any():
        warnings.append(f"column {options.id_column!r} (id_column) is encrypted: the documents have no ids")
        identifier = None
    settings = [(text, options.text_column, "text_column"), (identifier, options.id_column, "id_column")]
    settings += [(column, of.path, "keep_columns") for column, of in zip(kept, options.columns, strict=True)]
    _check_rows(uri, rows, int(kernel.integer(data, found[_ROWS, 1])))
    chosen: list[np.ndarray] = []
    for column, name, setting in settings:
        for leaf, kind, repeated in zip(column.leaves, column.types, column.repeated, strict=True) if column else ():
            _check_chunks(uri, f"column {name!r} ({setting})", kind, None if repeated else rows, by_leaf[leaf], size)
            chosen.append(by_leaf[leaf])
    created_by = b""
    if found[_CREATED_BY, 0] == thrift.BINARY:
        start, end = found[_CREATED_BY, 1:]
        created_by = thrift.decode(b"\x18" + bytes(data[start:end]) + b"\0")[1][1]
    return Footer(uri, size, text, identifier, tuple(kept), rows, np.stack(chosen, axis=1), created_by, tuple(warnings))


def names_of(uri: str, file: BinaryIO, size: int, most: int = 1000) -> tuple[list[str], list[str]]:
    """The names of the columns on the top level, and the paths of all columns, ``most`` at most.

    Raises:
      UnreadableSource: the footer is damaged.
    """
    data = _footer_bytes(uri, file, size)
    schema = _schema(uri, data, kernel.fields(data))
    return schema.names, schema.paths(most)


def _schema(uri: str, data: np.ndarray, found: np.ndarray) -> Schema:
    damaged = found[0, 0] < 0 or found[_SCHEMA, 0] != thrift.LIST
    return Schema(uri, data, -1 if damaged else int(found[_SCHEMA, 1]))


def _columns(uri: str, schema: Schema, options: ReadOptions) -> tuple[Column, Column | None, list[str]]:
    """The columns of text and id, and what is to be said of them."""
    of_text = schema.find(options.text_column)
    setting = f"{options.text_column!r} (text_column)"
    if len(of_text) != 1:
        names = schema.names
        shown = ", ".join(names[:SHOWN_COLUMNS]) + (", ..." if len(names) > SHOWN_COLUMNS else "")
        many = f"{len(of_text)} columns named" if of_text else "no column"
        raise UnreadableSource(uri, f"{many} {setting}; its columns are: {shown}")
    text = schema.flat(of_text[0], options.text_column)
    if text is None:
        raise UnreadableSource(uri, f"column {setting} is {schema.type_at(of_text[0])}, not a string")
    try:
        kind, declared = text.type()
    except UnreadableSource as error:
        raise UnreadableSource(uri, f"the type of column {setting} can't be read{error.reason}") from error
    if not _is_text(kind, declared):
        raise UnreadableSource(uri, f"column {setting} is {kind}, not a string")
    of_id = schema.find(options.id_column)
    if len(of_id) > 1:
        return text, None, [f"{len(of_id)} columns named {options.id_column!r} (id_column): the documents have no ids"]
    identifier = schema.flat(of_id[0], options.id_column) if of_id else None
    return text, identifier if identifier and _can_be_id(identifier) else None, []


def _kept(uri: str, schema: Schema, options: ReadOptions, number: int) -> Column | None:
    """A column that is kept; None if the file hasn't it."""
    path = options.columns[number].path
    found = schema.find(path)
    if len(found) > 1:
        raise UnreadableSource(uri, f"{len(found)} columns named {path!r} (keep_columns)")
    return schema.column(found[0], f"kept {number}") if found else None


def _is_text(kind: pa.DataType, converted: str) -> bool:
    # Some writers declare no UTF-8: whether it is, is looked at row by row. A column of nulls only has no type.
    plain = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    return plain or (pa.types.is_binary(kind) and converted in ("NONE", "UTF8", "JSON", "ENUM"))


def _can_be_id(column: Column) -> bool:
    """Whether pyarrow knows the column's type and can write it out."""
    try:
        kind, _ = column.type()
    except UnreadableSource:
        return False
    return not (pa.types.is_nested(kind) or pa.types.is_float16(kind) or pa.types.is_null(kind))


def _footer_bytes(uri: str, file: BinaryIO, size: int) -> np.ndarray:
    """The footer, which stands before its length and the magic bytes."""
    start = max(0, size - TAIL_BYTES)
    file.seek(start)
    tail = file.read(size - start)
    length = int.from_bytes(tail[-8:-4], "little")
    if not 0 < length <= size - 12:
        raise UnreadableSource(uri, f"the Parquet footer can't be read: it should have {length} bytes of {size}")
    if length + 8 > len(tail):
        file.seek(size - 8 - length)
        tail = file.read(length) + tail[-8:]
    return np.frombuffer(tail[len(tail) - 8 - length : -8], np.uint8)


def _check_rows(uri: str, rows: np.ndarray, total: int) -> None:
    if (rows < 0).any() or (rows > total).any():
        raise UnreadableSource(uri, "the Parquet footer can't be read: a row group has no possible number of rows")
    if rows.sum() != total:
        raise UnreadableSource(uri, f"the footer counts {total} rows, its row groups {rows.sum()}")


def _check_chunks(uri: str, column: str, kind: int, rows: np.ndarray | None, chunks: np.ndarray, size: int) -> None:
    """Refuses what can't be: pyarrow would ask for memory or bytes of whatever number stands there."""
    begin = _begins(chunks)
    faults = [
        (chunks[:, _STATE] == kernel.ENCRYPTED, _ENCRYPTED_AND),
        (chunks[:, _STATE] == kernel.ELSEWHERE, "its data is in another file (file_path), which isn't read"),
        (chunks[:, _STATE] == kernel.INCOMPLETE, "its entry in the footer is incomplete"),
        (
            chunks[:, _VALUES] < 0 if rows is None else chunks[:, _VALUES] != rows,
            "it has another number of values than the row group has rows",
        ),
        (chunks[:, _TYPE] != kind, "its type isn't that of the schema"),
        (chunks[:, _UNCOMPRESSED] < 0, "its size is negative"),
        (
            (begin < 0) | (begin > size) | (chunks[:, _COMPRESSED] < 0) | (chunks[:, _COMPRESSED] > size - begin),
            f"its pages would be outside the {size} bytes of the file",
        ),
    ]
    for fault, reason in faults:
        if fault.any():
            raise UnreadableSource(uri, f"{column}, row group {int(np.argmax(fault))}: {reason}")


def _begins(chunks: np.ndarray) -> np.ndarray:
    """Where the pages of some chunks begin: with the dictionary, if there is one."""
    dictionary, data = chunks[..., _DICTIONARY], chunks[..., _DATA]
    return np.where(dictionary > 0, np.minimum(dictionary, data), data)


def _fetched(uri: str, file: BinaryIO, size: int, chunks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of some chunks, and what has to be added to the places in each; neighbours are fetched in one read."""
    begins = _begins(chunks)
    ends = np.minimum(begins + chunks[..., _COMPRESSED] + PADDING_BYTES, size)
    spans: list[list[int]] = []  # disjoint, ascending
    for begin, end in sorted(zip(begins.ravel().tolist(), ends.ravel().tolist(), strict=True)):
        if spans and begin <= spans[-1][1] + HOLE_BYTES:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([begin, end])
    data = np.empty(len(PARQUET_MAGIC) + sum(end - begin for begin, end in spans), np.uint8)
    place, moved = len(PARQUET_MAGIC), []  # no page is at 0, which would say that there is none
    for begin, end in spans:
        moved.append(place - begin)
        file.seek(begin)
        if cast(io.RawIOBase, file).readinto(data.data[place : place + end - begin]) != end - begin:
            raise UnreadableSource(uri, f"it ends before byte {end}, but should have {size} bytes")
        place += end - begin
    span_of = np.searchsorted([begin for begin, _ in spans], begins, side="right") - 1
    return data, np.array(moved, np.int64)[span_of]


def _row_group(columns: list[Column], rows: int, chunks: list[list[int]]) -> thrift.Struct:
    """A RowGroup with these columns: what is needed to read their pages, nothing else."""
    entries = []
    paths = [path for column in columns for path in column.paths]
    for path, chunk in zip(paths, chunks, strict=True):
        metadata: thrift.Struct = {
            1: (thrift.I32, chunk[_TYPE]),
            2: (thrift.LIST, (thrift.I32, [])),
            3: (thrift.LIST, (thrift.BINARY, list(path))),
            4: (thrift.I32, chunk[_CODEC]),
            5: (thrift.I64, chunk[_VALUES]),
            6: (thrift.I64, chunk[_UNCOMPRESSED]),
            7: (thrift.I64, chunk[_COMPRESSED]),
            9: (thrift.I64, chunk[_DATA]),
        }
        if chunk[_DICTIONARY] > 0:
            metadata[11] = (thrift.I64, chunk[_DICTIONARY])
        entries.append({2: (thrift.I64, chunk[_DATA]), 3: (thrift.STRUCT, metadata)})
    size = sum(chunk[_UNCOMPRESSED] for chunk in chunks)
    return {1: (thrift.LIST, (thrift.STRUCT, entries)), 2: (thrift.I64, size), 3: (thrift.I64, rows)}
