"""JSON Lines sources: small ones and single streams are one shard, large ones are cut (``ranges``) and counted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from schemas.shards import MAX_ROWS_PER_SOURCE, Shard, Source
from transforms.io.kept_columns import MISSING, lookup
from transforms.io.read_options import ReadOptions
from transforms.io.readers import ranges
from transforms.io.readers.batching import cut_batches
from transforms.io.readers.column_types import of_json
from transforms.io.readers.common import SHARD_ROWS, UnreadableSource, Usable, Warn
from transforms.io.readers.formats import refusal
from transforms.io.readers.json_line import object_of, parse_line
from transforms.io.readers.kept_values import KeptValues
from transforms.io.readers.reader import FirstLook, Look, Piece, Reader
from transforms.io.readers.streams import BOM, PIECE_BYTES, Compression, compression_in, without_blank

SHOWN_BYTES = 60
MAGIC_BYTES = 8
LARGE = 2  # so many times a shard's size, a source is split
REMEDY = (
    "is one stream of {compression} of {size:,.0f} MB, so one worker reads all of it; to have it split, store it in "
    "many members or frames (bgzip, or zstd on pieces of the file that are put together with cat)"
)
COMPRESSED = 4
"""About how many bytes of text are in a byte of compressed JSON Lines."""
MOST_LEVELS = 8  # of objects within each other whose fields are named
LOOK_ROWS, MOST_ROWS = 100, 1000  # more than the first are looked at only while the text column isn't found


def _matches(look: Look) -> bool:
    return True


def _split(source: Source, file: BinaryIO, look: Look) -> list[Shard]:
    error = refusal(look.head)
    inflated = 1 if look.compression == "plain" else COMPRESSED
    # Where lines are short, a part has fewer bytes: the packed arrays of a shard grow with its rows.
    row_bytes = len(look.text) // (1 + look.text.count(b"\n"))
    part_bytes = min(look.options.shard_bytes, (1 + row_bytes) * SHARD_ROWS) // inflated
    bounds = [0, source.size]
    if not error and source.size > LARGE * part_bytes:
        bounds = ranges.boundaries(source, look.compression, part_bytes)
    if len(bounds) == 2:
        return [Shard(source, error=error, size=source.size * inflated)]
    return [
        Shard(source, part, begin, end, first_row=-1, size=(end - begin) * inflated)
        for part, (begin, end) in enumerate(itertools.pairwise(bounds))
    ]


def _count(shard: Shard, file: BinaryIO) -> list[Piece]:
    compression = compression_in(file)
    uri, size = shard.source.uri, shard.source.size
    return ranges.count(uri, file, compression, shard.begin, shard.end, SHARD_ROWS, size)


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
    compression = compression_in(file)
    if keep is None and shard.whole and compression != "plain":
        large = LARGE * options.shard_bytes
        if shard.source.size * COMPRESSED > large:
            warn(REMEDY.format(size=shard.source.size / 1e6, compression=compression))
    return cut_batches(_pieces(shard, file, compression, options, keep, warn))


def _pieces(
    shard: Shard, file: BinaryIO, compression: Compression, options: ReadOptions, keep: np.ndarray | None, warn: Warn
) -> Iterator[pa.RecordBatch]:
    uri = shard.source.uri
    first = row = max(0, shard.first_row)
    usable, kept, hint = Usable(), KeptValues(uri, options), ""
    for lines in _lines(shard, file, compression, warn):
        if row + len(lines) > MAX_ROWS_PER_SOURCE:
            raise UnreadableSource(uri, f"more than {MAX_ROWS_PER_SOURCE} lines, the most that a source can have")
        hint = hint or _hint(lines[0])
        rows: np.ndarray = np.arange(row, row + len(lines))
        row += len(lines)
        if keep is not None:
            wanted = np.flatnonzero(keep[rows[0] - first : row - first])
            rows = rows[wanted]
            lines = [lines[i] for i in wanted.tolist()]
        if lines:
            documents = _documents(rows, lines, options, kept)
            usable.count(documents)
            yield documents
    if keep is not None and row - first != len(keep):
        raise ValueError(f"keep: has {len(keep)} rows, but shard {shard.name} of {uri} has {row - first}")
    if shard.rows not in (-1, row - first):
        raise UnreadableSource(uri, f"shard {shard.name} has {row - first} lines, but had {shard.rows} before")
    if keep is None and shard.whole:
        usable.refuse_if_none(uri, options, hint)
    kept.tell(warn)


def _lines(shard: Shard, file: BinaryIO, compression: Compression, warn: Warn) -> Iterator[list[bytes]]:
    """The lines of a shard, some MiB at a time."""
    uri = shard.source.uri
    chunks = ranges.chunks_from(uri, file, compression, shard.begin, warn)
    held: list[bytes] = []
    held_bytes = 0
    for _, lines in ranges.lines_of_part(uri, chunks, shard.begin, shard.end or shard.source.size):
        held += lines
        held_bytes += sum(map(len, lines))
        if held_bytes >= PIECE_BYTES:
            yield held
            held, held_bytes = [], 0
    if held:
        yield held


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


READER = Reader("json lines", _matches, _split, read_jsonl, _first_look, _count, format="jsonl")
