"""CSV and TSV with a header, compressed or not: a record is a document (RFC 4180, read leniently)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from schemas import outcomes
from schemas.shards import Shard, Source
from transforms.io.read_options import ReadOptions
from transforms.io.readers.common import UnreadableSource, Warn
from transforms.io.readers.formats import is_record
from transforms.io.readers.reader import FirstLook, Look, Reader, Rows
from transforms.io.readers.rows import Row, batches_of, row_of
from transforms.io.readers.streams import BOM, compression_in, decompress, whole_lines

DELIMITERS = (",", "\t", ";", "|")
MOST_CELL_CHARACTERS = 1 << 27  # a quote that is left open would make one cell of the rest of the file


def _matches(look: Look) -> bool:
    """Its first line names the text column, and no line of it is a JSON object."""
    text = look.text.removeprefix(BOM)
    header = text.split(b"\n", 1)[0]
    return _delimiter(header, look.options) is not None and not any(map(is_record, text.split(b"\n")[:100]))


def _delimiter(header: bytes, options: ReadOptions) -> str | None:
    line = header.rstrip(b"\r").decode(errors="replace")
    if options.text_column not in line:
        return None
    return next((d for d in DELIMITERS if d in line and options.text_column in _cells(line, d)), None)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _split(source: Source, file: BinaryIO, look: Look) -> list[Shard]:
    """One shard: quotes may hide line breaks, so nothing but reading tells where a record begins."""
    return [Shard(source, size=len(look.text) * source.size // max(1, len(look.head)))]


def _first_look(source: Source, file: BinaryIO, look: Look) -> FirstLook:
    lines = look.text.removeprefix(BOM).split(b"\n")
    columns = _cells(lines[0].rstrip(b"\r").decode(errors="replace"), _delimiter(lines[0], look.options) or ",")
    types = {column.path: [pa.string()] for column in look.options.columns if column.path in columns}
    return FirstLook(source, "", tuple(columns), len(lines) - 1, True, tuple(columns), types)


def _read(shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None, warn: Warn) -> Rows:
    return batches_of(shard, _rows(shard, file, options, warn), options, keep, warn=warn)


def _rows(shard: Shard, file: BinaryIO, options: ReadOptions, warn: Warn) -> Iterator[Row]:
    uri = shard.source.uri
    lines = (
        # What isn't UTF-8 becomes lone surrogates, which cost their own cell only.
        line.decode(errors="surrogateescape")
        for lines in whole_lines(uri, decompress(uri, file, compression_in(file), warn))
        for line in lines
    )
    header = next(lines, "").removeprefix("\ufeff")
    delimiter = _delimiter(header.encode(errors="surrogateescape"), options)
    if delimiter is None:
        raise UnreadableSource(uri, f"its first line doesn't name the column {options.text_column!r} (text_column)")
    names = _cells(header, delimiter)
    text = names.index(options.text_column)
    identifier = names.index(options.id_column) if options.id_column in names else -1
    kept = {column.path: names.index(column.path) for column in options.columns if column.path in names}
    csv.field_size_limit(MOST_CELL_CHARACTERS)
    for cells in _records(uri, csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)):
        if not cells:
            continue  # a blank line
        fields = {name: _valid(cells[place]) for name, place in kept.items() if place < len(cells)}
        if len(cells) <= text:
            yield Row(None, None, outcomes.MISSING_TEXT, fields)
            continue
        yield row_of(_valid(cells[identifier]) if 0 <= identifier < len(cells) else None, cells[text], fields)


def _records(uri: str, reader: Iterator[list[str]]) -> Iterator[list[str]]:
    number = 1
    try:
        for number, cells in enumerate(reader, 2):  # noqa: B007 - the number is told if the next record fails
            yield cells
    except csv.Error as error:
        raise UnreadableSource(uri, f"record {number + 1}: {error}; is a quote left open?") from error


def _valid(cell: str) -> str | None:
    return cell if row_of(None, cell).outcome in (0, outcomes.EMPTY_TEXT) else None


READER = Reader("csv", _matches, _split, _read, _first_look, format="csv")
