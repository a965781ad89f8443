"""JSON Lines sources: plain, gzip or zstd; one shard each, read as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from schemas.shards import MAX_ROWS_PER_SOURCE, Shard, Source
from transforms.io.readers.batching import cut_batches
from transforms.io.readers.column_types import of_json
from transforms.io.readers.common import ReadOptions, UnreadableSource, Usable, Warn
from transforms.io.readers.formats import refusal
from transforms.io.readers.json_line import object_of, parse_line
from transforms.io.readers.kept_columns import MISSING, lookup
from transforms.io.readers.kept_values import KeptValues
from transforms.io.readers.reader import FirstLook, Look, Reader
from transforms.io.readers.streams import BOM, Compression, compression_of, decompress, split_lines, without_blank

SHOWN_BYTES = 60
COMPRESSED = 4
"""About how many bytes of text are in a byte of compressed JSON Lines."""
MOST_LEVELS = 8  # of objects within each other whose fields are named
LOOK_ROWS, MOST_ROWS = 100, 1000  # more than the first are looked at only while the text column isn't found


def _matches(look: Look) -> bool:
    return True


def _split(source: Source, file: BinaryIO, look: Look) -> list[Shard]:
    size = source.size if look.compression == "plain" else source.size * COMPRESSED
    return [Shard(source, error=refusal(look.head), size=size)]


def _first_look(source: Source, file: BinaryIO, look: Look) -> FirstLook:
    if reason := refusal(look.head):
        return FirstLook(source, reason)
    text = look.text.removeprefix(BOM)
    lines = without_blank(text.split(b"\n") if look.whole else text.split(b"\n")[:-1])
    columns: dict[str, None] = {}
    paths: dict[str, None] = {}
    values: dict[str, list[Any]] = {column.path: [] for column in look.options.columns}
    has_text, rows = False, 0
    for line in lines[:MOST_ROWS]:
        if rows >= LOOK_ROWS and has_text:
            break
        fields = object_of(line)
        columns |= dict.fromkeys(fields)
        paths |= dict.fromkeys(_paths_of(fields))
        has_text = has_text or lookup(fields, look.options.text_column) is not MISSING
        for path, found in values.items():
            if (value := lookup(fields, path)) is not MISSING:
                found.append(value)
        rows += 1
    types = {path: of_json(found) for path, found in values.items() if found}
    return FirstLook(source, "", (*columns,), rows, has_text if columns else None, (*paths,), types, inferred=True)


def _paths_of(fields: Mapping[str, Any], within: str = "") -> Iterator[str]:
    for name, value in fields.items():
        yield within + name
        if type(value) is dict and within.count(".") < MOST_LEVELS:
            yield from _paths_of(value, f"{within}{name}.")


def read_jsonl(
    shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None, warn: Warn
) -> Iterator[pa.RecordBatch]:
    """The lines of a source: see ``transforms.io.readers.read``."""
    if shard.rows == 0:
        return iter(())
    file.seek(0)
    compression = compression_of(file.read(4))
    file.seek(0)
    return cut_batches(_pieces(shard, file, compression, options, keep, warn))


def _pieces(
    shard: Shard, file: BinaryIO, compression: Compression, options: ReadOptions, keep: np.ndarray | None, warn: Warn
) -> Iterator[pa.RecordBatch]:
    uri = shard.source.uri
    row = 0
    usable, kept, hint = Usable(), KeptValues(uri, options), ""
    for lines in split_lines(uri, decompress(uri, file, compression, warn)):
        if not lines:
            continue
        if row + len(lines) > MAX_ROWS_PER_SOURCE:
            raise UnreadableSource(uri, f"more than {MAX_ROWS_PER_SOURCE} lines, the most that a source can have")
        hint = hint or _hint(lines[0])
        rows: np.ndarray = np.arange(row, row + len(lines))
        row += len(lines)
        if keep is not None:
            wanted = np.flatnonzero(keep[rows[0] : row])
            rows = rows[wanted]
            lines = [lines[i] for i in wanted.tolist()]
        if lines:
            documents = _documents(rows, lines, options, kept)
            usable.count(documents)
            yield documents
    if keep is not None and row != len(keep):
        raise ValueError(f"keep: has {len(keep)} rows, but {uri} has {row}")
    if shard.rows not in (-1, row):
        raise UnreadableSource(uri, f"it has {row} lines, but had {shard.rows} before")
    if keep is None:
        usable.refuse_if_none(uri, options, hint)
    kept.tell(warn)


def _hint(line: bytes) -> str:
    """What the first line has, for those who wonder why none can be used."""
    if fields := list(object_of(line)):
        return f"; the fields of the first are: {', '.join(fields[:50])}"
    more = "..." if len(line) > SHOWN_BYTES else ""
    return f"; the first begins: {line[:SHOWN_BYTES].decode(errors='replace')!r}{more}"


def _documents(rows: np.ndarray, lines: list[bytes], options: ReadOptions, kept: KeptValues) -> pa.RecordBatch:
    parsed = [parse_line(line, options.text_column, options.id_column, kept.paths) for line in lines]
    outcome = np.array([code for _, _, code, _ in parsed], np.uint8)
    columns = [
        pa.array(rows, pa.uint32()),
        pa.array([identifier for identifier, _, _, _ in parsed], pa.string()),
        pa.array([text for _, text, _, _ in parsed], pa.string()),
        pa.array(outcome, mask=outcome == 0),
    ]
    columns += kept.arrays(rows, [values for _, _, _, values in parsed])
    return pa.RecordBatch.from_arrays(columns, schema=options.schema)


READER = Reader("json lines", _matches, _split, read_jsonl, _first_look)
