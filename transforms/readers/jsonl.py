"""JSON Lines sources: plain, gzip or zstd; one shard each, read as a stream."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

import numpy as np
import orjson
import pyarrow as pa
import zstandard

from schemas import outcomes
from schemas.columns import DOCUMENTS
from schemas.shards import MAX_ROWS_PER_SOURCE, Shard
from transforms.readers.batching import cut_batches
from transforms.readers.common import MAX_LINE_BYTES, MIB, ReadOptions, UnreadableSource

Compression = Literal["plain", "gzip", "zstd"]
FETCH_BYTES = MIB
DECODE_BYTES = MIB  # at most this much comes out of zlib at once
GZIP_FEED_BYTES = 1 << 16  # what follows a member is copied, so little is fed where members are small
ZSTD_FEED_BYTES = 1 << 14  # zstd's output can't be limited: a block of 4 bytes may become 128 KiB, so it's fed little
ZSTD_MAX_WINDOW = 1 << 31  # what `zstd --long=31` needs
PIECE_BYTES = 2 * MIB  # of lines turned into Arrow at once
BOM = b"\xef\xbb\xbf"

# orjson gives up at 1,024 levels. Deeper values are cut out at every so many levels and parsed on their own.
_ORJSON_LEVELS = 1024
_CUT_LEVELS = 500
# A string without its end runs to the end of the line, and possessively: else such a line costs quadratic time.
_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE_ESCAPES = re.compile(
    rb"\\\\"  # an escaped backslash: what follows isn't an escape
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"  # one without the other
)
_MISSING = object()


def read_jsonl(
    shard: Shard, file: BinaryIO, compression: Compression, options: ReadOptions, keep: np.ndarray | None
) -> Iterator[pa.RecordBatch]:
    """The lines of a source: see ``transforms.readers.read``."""
    return cut_batches(_pieces(shard, file, compression, options, keep))


def _pieces(
    shard: Shard, file: BinaryIO, compression: Compression, options: ReadOptions, keep: np.ndarray | None
) -> Iterator[pa.RecordBatch]:
    uri = shard.source.uri
    row = 0
    for lines in split_lines(uri, decompress(uri, file, compression)):
        if row + len(lines) > MAX_ROWS_PER_SOURCE:
            raise UnreadableSource(uri, f"more than {MAX_ROWS_PER_SOURCE} lines, the most that a source can have")
        rows: np.ndarray = np.arange(row, row + len(lines))
        row += len(lines)
        if keep is not None:
            wanted = np.flatnonzero(keep[rows[0] : row])
            rows = rows[wanted]
            lines = [lines[i] for i in wanted.tolist()]
        if lines:
            yield _documents(rows, lines, options)
    if keep is not None and row != len(keep):
        raise ValueError(f"keep: has {len(keep)} rows, but {uri} has {row}")
    if shard.rows not in (-1, row):
        raise UnreadableSource(uri, f"it has {row} lines, but had {shard.rows} before")


def _documents(rows: np.ndarray, lines: list[bytes], options: ReadOptions) -> pa.RecordBatch:
    parsed = [parse_line(line, options.text_column, options.id_column) for line in lines]
    outcome = np.array([code for _, _, code in parsed], np.uint8)
    columns = [
        pa.array(rows, pa.uint32()),
        pa.array([identifier for identifier, _, _ in parsed], pa.string()),
        pa.array([text for _, text, _ in parsed], pa.string()),
        pa.array(outcome, mask=outcome == 0),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=DOCUMENTS)


def parse_line(line: bytes, text_field: str, id_field: str) -> tuple[str | None, str | None, int]:
    """One line -> (id, text, outcome): outcome 0 while the text is usable, else a code, and the text is None.

    Follows RFC 8259; of a field given twice the last counts. Numbers as ids are written as Python writes them; integers
    beyond 64 bits lose digits. Nesting has no limit. A lone surrogate escape spoils the field that it's in only.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _parse_odd_line(line, text_field, id_field)
    return _fields(value, text_field, id_field)


def _fields(value: Any, text_field: str, id_field: str) -> tuple[str | None, str | None, int]:
    if type(value) is not dict:
        return None, None, outcomes.INVALID_JSON
    identifier = value.get(id_field)
    if type(identifier) is not str and identifier is not None:
        if type(identifier) is bool:
            identifier = "true" if identifier else "false"
        else:
            identifier = str(identifier) if type(identifier) in (int, float) else None
    text = value.get(text_field, _MISSING)
    if type(text) is str:
        return (identifier, text, 0) if text else (identifier, None, outcomes.EMPTY_TEXT)
    if text is None:
        return identifier, None, outcomes.NULL_TEXT
    return identifier, None, outcomes.MISSING_TEXT if text is _MISSING else outcomes.TEXT_NOT_A_STRING


def _parse_odd_line(line: bytes, text_field: str, id_field: str) -> tuple[str | None, str | None, int]:
    """What orjson refuses: blank, not UTF-8, lone surrogate escapes, deep nesting, or no JSON."""
    if not line.strip(b" \t\r\n"):
        return None, None, outcomes.EMPTY_TEXT
    try:
        line.decode()
    except UnicodeDecodeError:
        return None, None, outcomes.INVALID_UTF8
    # Lone surrogates are replaced in two ways: a field that comes out in two ways had one.
    one = _SURROGATE_ESCAPES.sub(lambda found: b"0" if found[1] else found[0], line)
    other = _SURROGATE_ESCAPES.sub(lambda found: b"1" if found[1] else found[0], line)
    if one == other == line and line.count(b"[") + line.count(b"{") < _ORJSON_LEVELS:
        return None, None, outcomes.INVALID_JSON
    first = _fields(_parse_deep(one), text_field, id_field)
    if one == other:
        return first
    second = _fields(_parse_deep(other), text_field, id_field)
    identifier = first[0] if first[0] == second[0] else None
    if first[1:] == second[1:]:
        return identifier, first[1], first[2]
    return identifier, None, outcomes.INVALID_UTF8


def _parse_deep(line: bytes) -> Any:
    """The value of a line of any nesting, null for what is nested too deep to be of interest; None if it isn't JSON.

    Every ``_CUT_LEVELS`` levels the array or object is cut out, parsed alone to check it, and null put in its place.
    """
    fragments: list[bytearray] = [bytearray()]
    depth = start = 0
    try:
        for token in _STRINGS_AND_BRACKETS.finditer(line):
            bracket = token[0]
            if bracket in (b"[", b"{"):
                if depth and depth % _CUT_LEVELS == 0:
                    fragments[-1] += line[start : token.start()]
                    fragments.append(bytearray())
                    start = token.start()
                depth += 1
            elif bracket in (b"]", b"}"):
                depth -= 1
                if depth < 0:
                    return None
                if depth and depth % _CUT_LEVELS == 0:
                    inner = fragments.pop() + line[start : token.end()]
                    orjson.loads(inner)
                    fragments[-1] += b"null"
                    start = token.end()
        return orjson.loads(fragments[-1] + line[start:]) if len(fragments) == 1 else None
    except orjson.JSONDecodeError:
        return None


def split_lines(uri: str, chunks: Iterator[bytes]) -> Iterator[list[bytes]]:
    r"""A stream of bytes -> lists of its lines without ``\n``, some MiB at a time.

    A byte order mark at the start is skipped; bytes after the last ``\n`` are a line, if there are any.
    """
    lines: list[bytes] = []
    held = 0
    unfinished: list[bytes] = []  # of a line that began in an earlier chunk: joined once, however long it gets
    unfinished_bytes = 0
    for chunk in _without_bom(chunks):
        first, *rest = chunk.split(b"\n")
        unfinished.append(first)
        unfinished_bytes += len(first)
        if unfinished_bytes > MAX_LINE_BYTES:
            raise UnreadableSource(uri, f"a line of more than {MAX_LINE_BYTES} bytes: is it JSON Lines?")
        if not rest:
            continue
        lines.append(b"".join(unfinished))
        lines += rest[:-1]
        held += unfinished_bytes + len(chunk)
        unfinished, unfinished_bytes = [rest[-1]], len(rest[-1])
        if held >= PIECE_BYTES:
            yield lines
            lines, held = [], 0
    if unfinished_bytes:
        lines.append(b"".join(unfinished))
    if lines:
        yield lines


def _without_bom(chunks: Iterator[bytes]) -> Iterator[bytes]:
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= len(BOM):
            break
    yield start.removeprefix(BOM)
    yield from chunks


def decompress(uri: str, file: BinaryIO, compression: Compression) -> Iterator[bytes]:
    """The bytes of a file from its start, decompressed: members and frames one after another.

    Raises:
      UnreadableSource: corrupt, or cut short within a member or frame.
    """
    if compression == "plain":
        while chunk := file.read(FETCH_BYTES):
            yield chunk
    elif compression == "gzip":
        yield from _gunzip(uri, file)
    else:
        yield from _unzstd(uri, file)


def _gunzip(uri: str, file: BinaryIO) -> Iterator[bytes]:
    """RFC 1952 members; zero bytes after one are padding, as gzip itself takes them."""
    place = 0
    member = zlib.decompressobj(31)
    fresh, first = True, True  # nothing of this member was seen yet; it's the first
    for chunk in _feeds(file, GZIP_FEED_BYTES):
        place += len(chunk)
        pending = False  # the decompressor may hold output that the limit kept back
        while chunk or pending:
            if fresh and not first:
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
            try:
                data = member.decompress(chunk, DECODE_BYTES)
            except zlib.error as error:
                raise UnreadableSource(uri, f"corrupt gzip data before byte {place}: {error}") from error
            if data:
                yield data
            fresh, pending, chunk = False, len(data) == DECODE_BYTES, member.unconsumed_tail
            if member.eof:
                chunk = member.unused_data
                member, fresh, first, pending = zlib.decompressobj(31), True, False, False
    if not fresh:
        raise UnreadableSource(uri, f"the gzip stream is cut short at byte {place}")


def _unzstd(uri: str, file: BinaryIO) -> Iterator[bytes]:
    """RFC 8878 frames, skippable ones included; one object a frame, because only that tells a whole from a cut one."""
    context = zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW)
    place = 0
    frame = context.decompressobj()
    fresh = True  # nothing of this frame was seen yet
    for chunk in _feeds(file, ZSTD_FEED_BYTES):
        place += len(chunk)
        while chunk:
            try:
                data = frame.decompress(chunk)
            except zstandard.ZstdError as error:
                raise UnreadableSource(uri, f"corrupt zstd data before byte {place}: {error}") from error
            if data:
                yield data
            fresh, chunk = False, b""
            if frame.eof:
                chunk = frame.unused_data
                frame, fresh = context.decompressobj(), True
    if not fresh:
        raise UnreadableSource(uri, f"the zstd stream is cut short at byte {place}")


def _feeds(file: BinaryIO, size: int) -> Iterator[bytes]:
    while fetched := file.read(FETCH_BYTES):
        for start in range(0, len(fetched), size):
            yield fetched[start : start + size]
