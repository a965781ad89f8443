"""Arrow IPC, as a file (Feather version 2) or a stream: a row is a document."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.shards import MAX_ROWS_PER_SOURCE, Shard, Source
from transforms.io.kept_columns import splits
from transforms.io.read_options import ReadOptions
from transforms.io.readers.batching import cut_batches
from transforms.io.readers.common import UnreadableSource, Usable, Warn, decoding
from transforms.io.readers.kept_values import KeptArrays
from transforms.io.readers.parquet import documents
from transforms.io.readers.reader import FirstLook, Look, Reader, Rows

MAGIC, STREAM = b"ARROW1\0\0", b"\xff\xff\xff\xff"
PIECE_ROWS = 1024
_TEXTS = ("string", "large_string", "string_view", "binary", "large_binary", "dictionary", "null")


def _matches(look: Look) -> bool:
    return look.head.startswith((MAGIC[:6], STREAM))


def _split(source: Source, file: BinaryIO, look: Look) -> list[Shard]:
    """One shard: where its batches are stands in messages between them."""
    return [Shard(source, error=_fault(source, file, look)[0], size=source.size)]


def _first_look(source: Source, file: BinaryIO, look: Look) -> FirstLook:
    reason, schema = _fault(source, file, look)
    if schema is None:
        return FirstLook(source, reason)
    columns = tuple(schema.names)
    types = {c.path: [kind] for c in look.options.columns if (kind := _type_of(schema, c.path)) is not None}
    return FirstLook(source, reason, columns, 1, look.options.text_column in columns, columns, types)


def _fault(source: Source, file: BinaryIO, look: Look) -> tuple[str, pa.Schema | None]:
    """Why it can't be read, as far as its first and last bytes say; and the schema."""
    if look.head.startswith(MAGIC[:6]) and not look.tail.endswith(MAGIC[:6]):
        return "starts as an Arrow file but doesn't end as one: cut short", None
    try:
        schema = _opened(source.uri, file).schema
    except UnreadableSource as unreadable:
        return unreadable.reason, None
    name = look.options.text_column
    places = schema.get_all_field_indices(name)
    if len(places) != 1:
        columns = ", ".join(schema.names[:50])
        said = "is given twice" if places else "isn't there"
        return f"the column {name!r} (text_column) {said}; the columns are: {columns}", schema
    kind = schema.field(places[0]).type
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if str(value).partition("<")[0] not in _TEXTS:
        return f"the text {name!r} (text_column) isn't a string but {kind}", schema
    return "", schema


class _Bounded(io.RawIOBase):
    """A file of which nobody can ask for more bytes than it has: a damaged length would be allocated first."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        place = file.tell()
        self._size = file.seek(0, io.SEEK_END)
        file.seek(place)

    def readable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        """As many bytes as are left of those that are asked for."""
        left = self._size - self._file.tell()
        return self._file.read(left if size is None or size < 0 else min(size, left))


def _opened(uri: str, file: BinaryIO) -> pa.RecordBatchStreamReader:
    """A file is a stream between two marks: read so, nothing behind a batch is needed to read it."""
    file.seek(0)
    file.seek(len(MAGIC) if file.read(len(MAGIC)) == MAGIC else 0)
    with _decoding(uri, "the Arrow schema can't be read"):
        return pa.ipc.open_stream(_Bounded(file))


@contextlib.contextmanager
def _decoding(uri: str, where: str) -> Iterator[None]:
    """``decoding``, where a length that can't be allocated is damage: batches of good files are small."""
    try:
        with decoding(uri, where):
            yield
    except pa.ArrowMemoryError as error:
        raise UnreadableSource(uri, f"{where}: {error}") from error


def _type_of(schema: pa.Schema, path: str) -> pa.DataType | None:
    if schema.get_field_index(path) >= 0:
        return schema.field(path).type
    for name, rest in splits(path):
        if schema.get_field_index(name) >= 0 and pa.types.is_struct(schema.field(name).type):
            return _type_of(pa.schema(list(schema.field(name).type)), rest)
    return None


def _column(batch: pa.RecordBatch, path: str) -> pa.Array | None:
    """A column, or a field of a struct, whose offsets are all within its data: Arrow itself checks none."""
    if batch.schema.get_field_index(path) >= 0:
        return _checked(batch.column(path))
    for name, rest in splits(path):
        place = batch.schema.get_field_index(name)
        if place >= 0 and pa.types.is_struct(batch.column(place).type):
            struct = batch.column(place)
            struct.validate()
            return _column(pa.RecordBatch.from_arrays(struct.flatten(), schema=pa.schema(list(struct.type))), rest)
    return None


def _checked(values: pa.Array) -> pa.Array:
    """The array, checked; of strings, whether they are UTF-8 isn't asked here: that is a matter of single rows."""
    kind = values.type
    values.validate()
    if pa.types.is_string(kind):
        values.view(pa.binary()).validate(full=True)
    elif pa.types.is_large_string(kind):
        values.view(pa.large_binary()).validate(full=True)
    elif pa.types.is_dictionary(kind):
        used = pc.min_max(values.indices)
        low, high = used["min"].as_py(), used["max"].as_py()
        if low is not None and not 0 <= low <= high < len(values.dictionary):
            raise pa.ArrowInvalid("a dictionary has no such entry")
        _checked(values.dictionary)
    else:
        values.validate(full=True)
    return values.cast(pa.large_binary()) if str(kind) in ("string_view", "binary_view") else values


def _read(shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None, warn: Warn) -> Rows:
    return cut_batches(_pieces(shard, file, options, keep, warn))


def _pieces(
    shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None, warn: Warn
) -> Iterator[pa.RecordBatch]:
    uri = shard.source.uri
    kept, usable = KeptArrays(uri, options), Usable()
    row = 0
    reader = _opened(uri, file)
    paths = [options.text_column, options.id_column, *(column.path for column in options.columns)]
    while True:
        with _decoding(uri, f"the Arrow batch at row {row}"):
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                break
            columns = [_column(batch, path) for path in paths]
        if columns[0] is None:
            raise UnreadableSource(uri, f"there is no column {options.text_column!r} (text_column)")
        for start in range(0, batch.num_rows, PIECE_ROWS):
            length = min(PIECE_ROWS, batch.num_rows - start)
            rows = np.arange(row, row + length)
            row += length
            if row > MAX_ROWS_PER_SOURCE:
                raise UnreadableSource(uri, f"more than {MAX_ROWS_PER_SOURCE} rows, the most that a source can have")
            wanted = None if keep is None else keep[rows[0] : row]
            with _decoding(uri, f"the Arrow batch at row {rows[0]}"):
                pieces = [None if values is None else values.slice(start, length) for values in columns]
                if wanted is not None:
                    pieces = [None if values is None else values.filter(pa.array(wanted)) for values in pieces]
                    rows = rows[wanted]
                texts, ids, *others = pieces
                for found in documents(rows, texts, ids, kept.of(rows, others), options.schema) if len(rows) else ():
                    usable.count(found)
                    yield found
    if keep is not None and row != len(keep):
        raise ValueError(f"keep: has {len(keep)} rows, but {uri} has {row}")
    if shard.rows not in (-1, row):
        raise UnreadableSource(uri, f"it has {row} rows, but had {shard.rows} before")
    if keep is None and shard.whole:
        usable.refuse_if_none(uri, options)
    kept.tell(warn)


READER = Reader("arrow", _matches, _split, _read, _first_look, format="arrow")
