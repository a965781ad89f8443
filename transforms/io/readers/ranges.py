"""Large JSON Lines sources in parts: where a stream may be cut, and which lines belong to which part.

A part is a run of bytes of the source as it is stored: of plain text any range, of gzip and zstd some whole members or
frames. A line belongs to the part with the line break before it, the first line to the first part; so a part's reader
goes on behind its end, up to the next line break.

Where a member begins can only be guessed from the middle of a file: its magic bytes may also stand in compressed data.
So a guess is decoded for a while, and whoever reads the part before it has to arrive at the same place (``count``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from schemas.shards import Source
from transforms.io import storage
from transforms.io.read_options import MIB
from transforms.io.readers.common import MAX_LINE_BYTES, UnreadableSource, Warn
from transforms.io.readers.reader import NotABoundary, Piece
from transforms.io.readers.streams import (
    BOM,
    FETCH_BYTES,
    MEMBER_MAGIC,
    Compression,
    decode_members,
    without_blank,
)
from transforms.io.storage.requests import on_behalf_of

LEAST_PART_BYTES = MIB
AT_ONCE = 8
TRIED_BYTES = MIB  # of text that a guessed member has to give
PROBES = 8  # parts that are looked into before all are: a stream without members is known then


def boundaries(source: Source, compression: Compression, part_bytes: int) -> list[int]:
    """Where a source may be cut, in ascending order: 0, places about ``part_bytes`` apart, and its size.

    A stream in one piece gives 0 and its size. Of plain text nothing is read; of gzip and zstd the beginning of each
    part, up to its first member or frame.

    Raises:
      StorageError: a fault of the storage, or a source that isn't the pinned one.
    """
    step = -(-max(part_bytes, LEAST_PART_BYTES) // FETCH_BYTES) * FETCH_BYTES  # so that no piece of text lies across
    starts = list(range(step, source.size - step // 2, step))
    if compression == "plain":
        return [0, *starts, source.size]
    if compression not in MEMBER_MAGIC:
        return [0, source.size]
    probes = {starts[i * len(starts) // PROBES] for i in range(PROBES)} if len(starts) > PROBES else set()
    requests = storage.current()

    def first_member(start: int) -> int | None:
        with on_behalf_of(requests), storage.open_input(source.uri, source.etag, source.size) as file:
            return _first_member(source.uri, file, compression, start, min(start + step, source.size))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        if probes and not any(found is not None for found in pool.map(first_member, sorted(probes))):
            return [0, source.size]
        found = [place for place in pool.map(first_member, starts) if place is not None]
    return [0, *dict.fromkeys(found), source.size]


def _first_member(uri: str, file: BinaryIO, compression: Compression, start: int, end: int) -> int | None:
    """The first place in a range where a member seems to begin."""
    magic = MEMBER_MAGIC[compression]
    place, before = start, b""
    while place < end:
        file.seek(place)
        data = before + file.read(min(FETCH_BYTES, end - place + len(magic) - 1))
        at = data.find(magic)
        while at >= 0 and place - len(before) + at < end:
            if _is_member(uri, file, compression, place - len(before) + at):
                return place - len(before) + at
            at = data.find(magic, at + 1)
        place += max(1, len(data) - len(before))
        before = data[-(len(magic) - 1) :]
    return None


def _is_member(uri: str, file: BinaryIO, compression: Compression, start: int) -> bool:
    file.seek(start)
    seen = 0
    try:
        for _, chunk in decode_members(uri, file, compression, lambda _: None, start):
            seen += len(chunk)
            if seen >= TRIED_BYTES:
                break
    except UnreadableSource:
        return False
    return seen > 0


def chunks_from(
    uri: str, file: BinaryIO, compression: Compression, begin: int, warn: Warn
) -> Iterator[tuple[int, bytes]]:
    """The stream from a boundary on: pieces of text, and where in the source what they are from begins.

    That is the place of the member or frame, or of the piece itself in plain text.
    """
    file.seek(begin)
    if compression == "plain":
        while data := file.read(FETCH_BYTES):
            yield begin, data
            begin += len(data)
    else:
        yield from decode_members(uri, file, compression, warn, begin)


def lines_of_part(
    uri: str, chunks: Iterable[tuple[int, bytes]], begin: int, end: int
) -> Iterator[tuple[int, list[bytes]]]:
    r"""The lines of a part without ``\n``, blank ones left out, and where what they are from begins.

    A byte order mark at the start of the source is skipped.

    Args:
      chunks: of ``chunks_from(..., begin)``.
      end: where the part ends.
    """
    owner = begin if begin == 0 else -1  # of the line that isn't finished: where the line break before it is
    unfinished: list[bytes] = []
    unfinished_bytes = 0
    start = b"" if begin == 0 else None  # the first bytes of the source, while they may be a part of the mark
    for place, data in chunks:
        chunk = data
        if start is not None:
            start += chunk
            if len(start) < len(BOM) and BOM.startswith(start):
                continue
            chunk, start = start.removeprefix(BOM), None
        first, *rest = chunk.split(b"\n")
        if owner >= 0:
            unfinished.append(first)
            unfinished_bytes += len(first)
            if unfinished_bytes > MAX_LINE_BYTES:
                raise UnreadableSource(uri, f"a line of more than {MAX_LINE_BYTES} bytes: is it JSON Lines?")
        if not rest:
            if owner < 0 and place >= end:
                return
            continue
        if owner >= 0 and (finished := without_blank([b"".join(unfinished)])):
            yield owner, finished
        if place >= end:
            return
        if lines := without_blank(rest[:-1]):
            yield place, lines
        owner, unfinished, unfinished_bytes = place, [rest[-1]], len(rest[-1])
    if start:
        unfinished.append(start.removeprefix(BOM))
    if owner >= 0 and (finished := without_blank([b"".join(unfinished)])):
        yield owner, finished


def count(
    uri: str, file: BinaryIO, compression: Compression, begin: int, end: int, most_rows: int, size: int
) -> list[Piece]:
    """How many rows a part has, cut again where it has more than ``most_rows``.

    Args:
      size: bytes of the source.

    Raises:
      UnreadableSource: it can't be decoded.
      NotABoundary: the stream doesn't come by ``end``, which was guessed.
    """
    reached = begin if compression == "plain" or end == size else -1
    last = begin  # where what was read last begins

    def watched() -> Iterator[tuple[int, bytes]]:
        nonlocal reached, last
        for place, data in chunks_from(uri, file, compression, begin, lambda _: None):
            last = place
            if place >= end and reached < 0:
                if place != end:
                    raise NotABoundary
                reached = place
            yield place, data

    pieces: list[Piece] = []
    first, rows = begin, 0
    held_place, held_rows = begin, 0  # rows of one place stay together
    for place, lines in lines_of_part(uri, watched(), begin, end):
        if place != held_place:
            if rows and rows + held_rows > most_rows:
                pieces.append(Piece(first, held_place, rows))
                first, rows = held_place, 0
            rows += held_rows
            held_place, held_rows = place, 0
        held_rows += len(lines)
    if rows and rows + held_rows > most_rows:
        pieces.append(Piece(first, held_place, rows))
        first, rows = held_place, 0
    pieces.append(Piece(first, end, rows + held_rows))
    if reached < 0 and last < end:
        raise NotABoundary
    return pieces
