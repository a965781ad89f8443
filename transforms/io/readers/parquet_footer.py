"""The two columns of a Parquet file that are read, and a footer of our own for pyarrow that names nothing else.

pyarrow takes the whole footer: types that it doesn't know make it refuse the file, and an encrypted column or a damaged
entry can end the process by a C++ exception or a signal. So the footer is looked at here first, byte by byte
(``transforms.io.readers.footer_bytes``). pyarrow gets another one: its schema has the text and the id, its row groups
are those of one shard. What other columns are, whether they are encrypted, and what their writer noted beside them
(Arrow schema, statistics, indexes) has no influence then.
"""

from __future__ import annotations

import dataclasses
import io
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.io.readers import footer_bytes as kernel
from transforms.io.readers.common import ReadOptions, UnreadableSource, decoding
from transforms.io.readers.formats import PARQUET_MAGIC
from transforms.io.token_lists import thrift_compact as thrift

TAIL_BYTES = 1 << 16  # read at once from the end: most footers are in it
SHOWN_COLUMNS = 50
HOLE_BYTES = 8192  # what lies between two chunks is fetched with them up to here: a request costs more
PADDING_BYTES = 100  # old writers don't count the header of the dictionary (PARQUET-816)

_VERSION, _SCHEMA, _ROWS, _ROW_GROUPS, _CREATED_BY, _ENCRYPTION = 1, 2, 3, 4, 6, 8  # fields of FileMetaData
_NAME, _CHILDREN = 4, 5  # fields of SchemaElement
_REPEATED = 2
_STATE, _TYPE, _CODEC, _VALUES, _UNCOMPRESSED, _COMPRESSED, _DATA, _DICTIONARY = range(len(kernel.CHUNK))
_AS_STORED = {"arrow_extensions_enabled": False}  # JSON is a string, a UUID is bytes
_ENCRYPTED_AND = "it is encrypted, and no keys are taken: decrypt the file first"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column on the top level of the schema that isn't a list or struct.

    Attributes:
      leaf: its number among the columns that hold data.
      type: Parquet's number of its physical type.
      element: its SchemaElement, as in the footer.
    """

    name: str
    leaf: int
    type: int
    element: bytes


@dataclasses.dataclass(frozen=True)
class Footer:
    """What is read of a Parquet file.

    Attributes:
      size: bytes of the file.
      text: the column of the texts.
      id: the column of the ids, None if there is none that can be read.
      rows: of every row group (int64).
      chunks: ``kernel.CHUNK`` of the texts, and of the ids if there are any, by row group (int64).
      warnings: what the user should know although the texts are read.
    """

    uri: str
    size: int
    text: Column
    id: Column | None
    rows: np.ndarray
    chunks: np.ndarray
    created_by: bytes
    warnings: tuple[str, ...] = ()

    @property
    def compressed(self) -> np.ndarray:
        """Stored bytes of the texts by row group."""
        return self.chunks[:, 0, _COMPRESSED]

    @property
    def uncompressed(self) -> np.ndarray:
        """Bytes of the texts' pages by row group."""
        return self.chunks[:, 0, _UNCOMPRESSED]

    def fetch(self, file: BinaryIO, groups: list[int]) -> pq.ParquetFile:
        """Some row groups, fetched: a Parquet file in memory that has nothing else. Their numbers begin at 0.

        pyarrow never reads the file itself. It would do so from threads of its own, which abort the process if it ends
        while they let go of a Python object.
        """
        chunks = self.chunks[groups]
        data, shifts = _fetched(self.uri, file, self.size, chunks)
        chunks[..., _DATA] += shifts
        chunks[..., _DICTIONARY] += np.where(chunks[..., _DICTIONARY] > 0, shifts, 0)
        columns = [self.text] if self.id is None else [self.text, self.id]
        rows = self.rows[groups]
        entries = [_row_group(columns, *group) for group in zip(rows.tolist(), chunks.tolist(), strict=True)]
        with decoding(self.uri, "the Parquet footer can't be read"):
            metadata = _metadata(columns, entries, int(rows.sum()), self.created_by)
            reader = pa.BufferReader(pa.py_buffer(data))
            return pq.ParquetFile(
                reader, metadata=metadata, pre_buffer=False, page_checksum_verification=True, **_AS_STORED
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
    elements = _elements(uri, data, found)
    text, identifier, warnings = _columns(uri, data, elements, options)
    if found[_ROW_GROUPS, 0] != thrift.LIST or found[_ROWS, 0] != thrift.I64:
        raise UnreadableSource(uri, "the Parquet footer can't be read: it names no rows")
    leaves = int(np.count_nonzero(_leaves(elements)))
    wanted = sorted({column.leaf for column in (text, identifier) if column})
    rows, chunks = kernel.column_chunks(data, found[_ROW_GROUPS, 1], leaves, np.array(wanted, np.int64))
    if chunks.shape[1] != len(wanted):
        raise UnreadableSource(uri, "the Parquet footer can't be read: its row groups are damaged")
    by_leaf = {leaf: chunks[:, i] for i, leaf in enumerate(wanted)}
    if identifier and (by_leaf[identifier.leaf][:, _STATE] == kernel.ENCRYPTED).any():
        warnings.append(f"column {identifier.name!r} (id_column) is encrypted: the documents have no ids")
        identifier = None
    columns = [text] if identifier is None else [text, identifier]
    chosen = np.stack([by_leaf[column.leaf] for column in columns], axis=1)
    _check_rows(uri, rows, int(kernel.integer(data, found[_ROWS, 1])))
    for i, (column, setting) in enumerate(zip(columns, ("text_column", "id_column"), strict=False)):
        _check_chunks(uri, f"column {column.name!r} ({setting})", column.type, rows, chosen[:, i], size)
    created_by = b""
    if found[_CREATED_BY, 0] == thrift.BINARY:
        created_by = thrift.decode(b"\x18" + _slice(data, found[_CREATED_BY, 1:]) + b"\0")[1][1]
    return Footer(uri, size, text, identifier, rows, chosen, created_by, tuple(warnings))


def names_of(uri: str, file: BinaryIO, size: int) -> list[str]:
    """The names of the columns on the top level.

    Raises:
      UnreadableSource: the footer is damaged.
    """
    data = _footer_bytes(uri, file, size)
    return [_name(data, element) for element in _top(_elements(uri, data, kernel.fields(data)))]


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


def _elements(uri: str, data: np.ndarray, found: np.ndarray) -> np.ndarray:
    """``kernel.ELEMENT`` of the whole schema, the root first."""
    damaged = found[0, 0] < 0 or found[_SCHEMA, 0] != thrift.LIST
    elements = np.zeros((0, len(kernel.ELEMENT)), np.int64)
    if not damaged:
        elements = kernel.schema_elements(data, found[_SCHEMA, 1])
    children = elements[:, kernel.ELEMENT.index("children")]
    impossible = (children < 0) | (children > len(elements))
    if not len(elements) or impossible.any() or children.sum() != len(elements) - 1:  # all but the root are children
        raise UnreadableSource(uri, "the Parquet footer can't be read: its schema is damaged")
    return elements


def _leaves(elements: np.ndarray) -> np.ndarray:
    """Which elements are columns with data (bool): a struct without fields isn't."""
    children, kind = (elements[:, kernel.ELEMENT.index(name)] for name in ("children", "type"))
    return (children == 0) & (kind >= 0)


def _top(elements: np.ndarray) -> list[dict[str, int]]:
    """The elements right below the root as ``kernel.ELEMENT`` says, with ``first_leaf`` and ``elements`` of each."""
    children = elements[:, kernel.ELEMENT.index("children")].tolist()
    leaves = np.cumsum(_leaves(elements)).tolist()
    top, at = [], 1
    while at < len(children):
        first, open_ends = at, 1
        while open_ends and at < len(children):
            open_ends += children[at] - 1
            at += 1
        element = dict(zip(kernel.ELEMENT, elements[first].tolist(), strict=True))
        top.append(element | {"first_leaf": leaves[first - 1], "elements": at - first})
    return top


def _name(data: np.ndarray, element: dict[str, int]) -> str:
    return bytes(data[element["name_start"] : element["name_end"]]).decode(errors="replace")


def _slice(data: np.ndarray, place: Any) -> bytes:
    return bytes(data[place[0] : place[1]])


def _columns(
    uri: str, data: np.ndarray, elements: np.ndarray, options: ReadOptions
) -> tuple[Column, Column | None, list[str]]:
    """The columns of text and id, and what is to be said of them."""
    top = _top(elements)
    names = [_name(data, element) for element in top]
    of_text = [i for i, name in enumerate(names) if name == options.text_column]
    setting = f"{options.text_column!r} (text_column)"
    if len(of_text) != 1:
        shown = ", ".join(names[:SHOWN_COLUMNS]) + (", ..." if len(names) > SHOWN_COLUMNS else "")
        many = f"{len(of_text)} columns named" if of_text else "no column"
        raise UnreadableSource(uri, f"{many} {setting}; its columns are: {shown}")
    text = _column(data, top[of_text[0]], options.text_column)
    if text is None:
        raise UnreadableSource(uri, f"column {setting} is {_nested(data, top[of_text[0]], elements)}, not a string")
    with decoding(uri, f"the type of column {setting} can't be read"):
        schema = pq.ParquetFile(_file_of(_encoded([text], [], 0, b"")), **_AS_STORED)
        kind, declared = schema.schema_arrow.field(0).type, schema.schema.column(0).converted_type
    if not _is_text(kind, declared):
        raise UnreadableSource(uri, f"column {setting} is {kind}, not a string")
    of_id = [i for i, name in enumerate(names) if name == options.id_column]
    if len(of_id) > 1:
        return text, None, [f"{len(of_id)} columns named {options.id_column!r} (id_column): the documents have no ids"]
    identifier = _column(data, top[of_id[0]], options.id_column) if of_id else None
    return text, identifier if identifier and _can_be_id(identifier) else None, []


def _column(data: np.ndarray, element: dict[str, int], name: str) -> Column | None:
    """A column on the top level; None if it is a list or struct."""
    if element["type"] < 0 or element["children"] or element["repetition"] == _REPEATED:
        return None
    return Column(name, element["first_leaf"], element["type"], _slice(data, (element["start"], element["end"])))


def _nested(data: np.ndarray, element: dict[str, int], elements: np.ndarray) -> str:
    """The type of a list or struct in pyarrow's words, if it has any."""
    first = next(i for i in range(len(elements)) if elements[i, 0] == element["start"])
    parts = [_slice(data, row[:2]) for row in elements[first : first + element["elements"]].tolist()]
    root = thrift.encode({_NAME: (thrift.BINARY, b"schema"), _CHILDREN: (thrift.I32, 1)})
    try:
        with decoding("", ""):
            schema = pq.ParquetFile(_file_of(_file_metadata([root, *parts], [], 0, b"")), **_AS_STORED)
            return str(schema.schema_arrow.field(0).type)
    except UnreadableSource:
        return "a list or struct"


def _is_text(kind: pa.DataType, converted: str) -> bool:
    # Some writers declare no UTF-8: whether it is, is looked at row by row. A column of nulls only has no type.
    plain = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    return plain or (pa.types.is_binary(kind) and converted in ("NONE", "UTF8", "JSON", "ENUM"))


def _can_be_id(column: Column) -> bool:
    """Whether pyarrow knows the column's type and can write it out."""
    try:
        with decoding("", ""):
            file = pq.ParquetFile(_file_of(_encoded([column], [], 0, b"")), **_AS_STORED)
            kind = file.schema_arrow.field(0).type
    except UnreadableSource:
        return False
    return not (pa.types.is_nested(kind) or pa.types.is_float16(kind) or pa.types.is_null(kind))


def _check_rows(uri: str, rows: np.ndarray, total: int) -> None:
    if (rows < 0).any() or (rows > total).any():
        raise UnreadableSource(uri, "the Parquet footer can't be read: a row group has no possible number of rows")
    if rows.sum() != total:
        raise UnreadableSource(uri, f"the footer counts {total} rows, its row groups {rows.sum()}")


def _check_chunks(uri: str, column: str, kind: int, rows: np.ndarray, chunks: np.ndarray, size: int) -> None:
    """Refuses what can't be: pyarrow would ask for memory or bytes of whatever number stands there."""
    begin = _begins(chunks)
    faults = [
        (chunks[:, _STATE] == kernel.ENCRYPTED, _ENCRYPTED_AND),
        (chunks[:, _STATE] == kernel.ELSEWHERE, "its data is in another file (file_path), which isn't read"),
        (chunks[:, _STATE] == kernel.INCOMPLETE, "its entry in the footer is incomplete"),
        (chunks[:, _VALUES] != rows, "it has another number of values than the row group has rows"),
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
    for column, chunk in zip(columns, chunks, strict=True):
        metadata: thrift.Struct = {
            1: (thrift.I32, chunk[_TYPE]),
            2: (thrift.LIST, (thrift.I32, [])),
            3: (thrift.LIST, (thrift.BINARY, [column.name.encode()])),
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


def _encoded(columns: list[Column], groups: list[thrift.Struct], rows: int, created_by: bytes) -> bytes:
    """A FileMetaData with these columns alone."""
    root = thrift.encode({_NAME: (thrift.BINARY, b"schema"), _CHILDREN: (thrift.I32, len(columns))})
    return _file_metadata([root, *(column.element for column in columns)], groups, rows, created_by)


def _file_metadata(elements: list[bytes], groups: list[thrift.Struct], rows: int, created_by: bytes) -> bytes:
    """A FileMetaData of elements that are encoded already: its schema stands between version and rows."""
    head = thrift.encode({_VERSION: (thrift.I32, 2)})[:-1]
    schema = thrift.encode({1: (thrift.LIST, (thrift.STRUCT, [{}] * len(elements)))})[: -1 - len(elements)]
    rest: thrift.Struct = {1: (thrift.I64, rows), 2: (thrift.LIST, (thrift.STRUCT, groups))}
    if created_by:
        rest[4] = (thrift.BINARY, created_by)  # field 6: ids count from the schema's, as each is written as a step
    return head + schema + b"".join(elements) + thrift.encode(rest)


def _file_of(footer: bytes) -> pa.BufferReader:
    """A Parquet file that is nothing but a footer."""
    return pa.BufferReader(PARQUET_MAGIC + footer + len(footer).to_bytes(4, "little") + PARQUET_MAGIC)


def _metadata(columns: list[Column], groups: list[thrift.Struct], rows: int, created_by: bytes) -> pq.FileMetaData:
    return pq.read_metadata(_file_of(_encoded(columns, groups, rows, created_by)))
