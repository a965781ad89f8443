"""WARC files record by record (ISO 28500): plain, compressed by record, or compressed as one stream.

Every record has the place at which it can be read again: where in the file the gzip member or zstd frame begins that it
is in, how many bytes to read from there, and, if several records share a member, where in its text it begins. A record
that is broken costs itself: reading goes on at the next one, which is looked for at the beginnings of members and
behind line breaks.

fastwarc isn't used here. It ends at the first damage, and doesn't tell how long a record is as stored. The tests hold
these records against fastwarc's.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import zstandard

from transforms.io.readers.common import UnreadableSource
from transforms.io.readers.streams import (
    FETCH_BYTES,
    MEMBER_MAGIC,
    ZSTD_MAX_WINDOW,
    Compression,
    decode_members,
)
from transforms.kernels.web.http_message import parse_headers

MOST_RECORD_BYTES = 256 << 20  # of a record's block, decompressed; longer ones are skipped with a reason
MOST_HEADER_BYTES = 1 << 20
_VERSION = re.compile(rb"WARC/\d\.\d+[ \t]*\r?\n")
_BLANK = re.compile(rb"[\r\n\0]+")
_NEXT = re.compile(rb"\nWARC/\d\.\d+[ \t]*\r?\n(?=[A-Za-z-]+:)")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_LOOKAHEAD = 64  # of the line that begins a record
_DIGITS = 18  # of a length; longer ones are too large in any case

BROKEN, CUT_SHORT, TOO_LARGE = "broken_record", "truncated_record", "too_large"


@dataclasses.dataclass(frozen=True)
class Record:
    """One record.

    Attributes:
      offset: where in the file it can be read from: its own first byte, or that of its member or frame.
      length: bytes of the file from ``offset`` to the next record's; 0 where that begins within a member or frame.
      within: where it begins in what is decompressed from ``offset`` on; 0 for a file compressed by record.
      headers: by lower-case name.
      block: what follows the headers.
      head: the headers as they are stored, from the version on to the blank line.
      reason: why it can't be used: ``broken_record``, ``truncated_record`` or ``too_large``; else empty.
    """

    offset: int
    length: int
    within: int
    headers: dict[str, str]
    block: bytes
    reason: str = ""
    head: bytes = b""

    @property
    def type(self) -> str:
        """``response``, ``conversion`` and so on, in lower case."""
        return self.headers.get("warc-type", "").lower()

    @property
    def url(self) -> str:
        """The page's address."""
        return self.headers.get("warc-target-uri", "").strip("<> ")


class _Text:
    """The decompressed text of a file, and where in the file each byte of it comes from."""

    def __init__(self, uri: str, file: BinaryIO, compression: Compression, begin: int) -> None:
        self.buffer = bytearray()
        self.ended = False
        self.damaged = False  # what was decoded last is damaged: what is in the buffer can't be completed
        self.cut_short = False  # the file ends within a member
        self._uri, self._file, self._compression = uri, file, compression
        self._starts: list[tuple[int, int, int]] = []  # place in the buffer, place in the file, place in the member
        self._chunks = self._from(begin)
        self._last = begin
        self.size = file.seek(0, 2)

    def _from(self, begin: int) -> Iterator[tuple[int, bytes]]:
        self._file.seek(begin)
        if self._compression == "plain":
            while data := self._file.read(FETCH_BYTES):
                yield begin, data
                begin += len(data)
        else:
            garbage: list[str] = []
            yield from decode_members(self._uri, self._file, self._compression, garbage.append, begin)
            if garbage:
                raise UnreadableSource(self._uri, garbage[0])

    def fill(self) -> bool:
        """Takes the next bytes; False at the end, and where the file is damaged."""
        if self.ended or self.damaged:
            return False
        try:
            found = next(self._chunks, None)
        except UnreadableSource as unreadable:
            self.damaged = True
            self.cut_short = "cut short" in unreadable.reason
            return False
        if found is None:
            self.ended = True
            return False
        member, data = found
        if self._compression == "plain" or not self._starts or self._starts[-1][1] != member:
            self._starts.append((len(self.buffer), member, 0))
        self._last = member
        self.buffer += data
        return True

    def place(self, at: int) -> tuple[int, int]:
        """Where in the file a byte of the buffer can be read from, and how far into what is read from there."""
        before, member, within = next((s for s in reversed(self._starts) if s[0] <= at), (0, self._last, 0))
        if self._compression == "plain":
            return member + at - before, 0
        return member, within + at - before

    def member_begins(self, low: int, high: int) -> int | None:
        """The first place in a range of the buffer where a member begins."""
        if self._compression == "plain":
            return None
        return next((at for at, _, within in self._starts if low <= at < high and within == 0), None)

    def drop(self, count: int) -> None:
        """Forgets the first bytes of the buffer."""
        del self.buffer[:count]
        kept = [(at - count, member, within) for at, member, within in self._starts]
        # Of what began before, the last still says where the buffer's first bytes are from.
        while len(kept) > 1 and kept[1][0] <= 0:
            del kept[0]
        if kept and kept[0][0] < 0:
            at, member, within = kept[0]
            kept[0] = (0, member - at, 0) if self._compression == "plain" else (0, member, within - at)
        self._starts = kept

    def restart(self) -> bool:
        """Goes on behind the damage, at the next member that begins a record; False if there is none."""
        magic = MEMBER_MAGIC.get(self._compression)
        place = None  # the other compressions have no members that can be found
        if magic is not None:
            place = _next_member(self._file, self._compression, magic, self._last + 1, self.size)
        self.buffer.clear()
        self._starts = []
        self.damaged = False
        if place is None:
            self.ended = True
            return False
        self._last = place
        self._chunks = self._from(place)
        return True


def _next_member(file: BinaryIO, compression: Compression, magic: bytes, start: int, size: int) -> int | None:
    place, before = start, b""
    while place < size:
        file.seek(place)
        data = before + file.read(FETCH_BYTES)
        if len(data) == len(before):
            return None
        first = place - len(before)
        at = data.find(magic)
        while at >= 0:
            file.seek(first + at)
            if _begins_record(file.read(1 << 14), compression):
                return first + at
            at = data.find(magic, at + 1)
        place = first + len(data)
        before = data[-(len(magic) - 1) :]
    return None


def _begins_record(head: bytes, compression: Compression) -> bool:
    try:
        if compression == "gzip":
            return zlib.decompressobj(31).decompress(head, 16).startswith(b"WARC/")
        frame = zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW).decompressobj()
        return bytes(frame.decompress(head)).startswith(b"WARC/")
    except (zlib.error, zstandard.ZstdError):
        return False


def records(
    uri: str, file: BinaryIO, compression: Compression, begin: int = 0, end: int | None = None
) -> Iterator[Record]:
    """The records that begin in a range of the file, in order; what is broken is a record with its ``reason``.

    Args:
      begin: where the first record, its member or frame begins.
      end: records whose offset is there or beyond are left out.

    Memory: a record, at most ``MOST_RECORD_BYTES`` and what is decompressed at once.
    """
    text = _Text(uri, file, compression, begin)
    while True:
        _skip_blank(text)
        if not text.buffer:
            if text.damaged:
                offset, reason = text.place(0)[0], CUT_SHORT if text.cut_short else BROKEN
                went_on = text.restart()
                yield Record(offset, text.place(0)[0] - offset if went_on else text.size - offset, 0, {}, b"", reason)
                if went_on:
                    continue
            return
        offset, within = text.place(0)
        if end is not None and offset >= end:
            return
        yield _record(text, offset, within)


def _skip_blank(text: _Text) -> None:
    """Drops line breaks between records, and asks for more."""
    while True:
        blank = _BLANK.match(text.buffer)
        if blank is not None:
            text.drop(blank.end())
        if len(text.buffer) >= _LOOKAHEAD or not text.fill():
            return


def _record(text: _Text, offset: int, within: int) -> Record:
    """The record at the beginning of the buffer; what was read of it is dropped."""
    if not _VERSION.match(text.buffer):
        reason = BROKEN if len(text.buffer) >= _LOOKAHEAD else _end_reason(text)
        return _broken(text, offset, within, {}, reason, 1)
    while (found := _END_OF_HEADERS.search(text.buffer, 0, MOST_HEADER_BYTES)) is None:
        if len(text.buffer) >= MOST_HEADER_BYTES or not text.fill():
            return _broken(text, offset, within, {}, _end_reason(text), _LOOKAHEAD // 8)
    if (other := _NEXT.search(text.buffer, 0, found.start())) is not None:
        return _broken(text, offset, within, {}, BROKEN, other.start())  # the headers of another record begin
    headers = parse_headers(bytes(text.buffer[: found.start()]).partition(b"\n")[2])
    start, length = found.end(), headers.get("content-length", "").strip()[:_DIGITS]
    if not (length.isascii() and length.isdigit()) or not headers.get("warc-type"):
        return _broken(text, offset, within, headers, BROKEN, start)
    stop = start + int(length)
    if int(length) > MOST_RECORD_BYTES:
        return _broken(text, offset, within, headers, TOO_LARGE, start)
    while len(text.buffer) < stop + _LOOKAHEAD and text.fill():
        pass
    cut = text.member_begins(start, min(stop, len(text.buffer)))
    if cut is not None and _VERSION.match(text.buffer, cut):
        return _broken(text, offset, within, headers, CUT_SHORT, start)  # another record begins in its midst
    if len(text.buffer) < stop:
        return _broken(text, offset, within, headers, _end_reason(text), start)
    behind = bytes(text.buffer[stop : stop + _LOOKAHEAD])
    ends_well = behind.startswith((b"\r\n\r\n", b"\n\n")) or text.member_begins(stop, stop + 5) is not None
    rest = behind.lstrip(b"\r\n\0")
    if rest and not ends_well and not _VERSION.match(rest):
        return _broken(text, offset, within, headers, BROKEN, start)  # its length is wrong
    head, block = bytes(text.buffer[:start]), bytes(text.buffer[start:stop])
    text.drop(stop)
    _skip_blank(text)
    return Record(offset, _length(text, offset), within, headers, block, head=head)


def _end_reason(text: _Text) -> str:
    """Why the bytes that are missing from a record are missing."""
    return CUT_SHORT if text.ended or text.cut_short else BROKEN


def _length(text: _Text, offset: int) -> int:
    """Bytes of the file from a record to the next one; 0 if that begins within a member or frame."""
    if not text.buffer:
        return text.size - offset
    place, within = text.place(0)
    return 0 if within else place - offset


def _broken(text: _Text, offset: int, within: int, headers: dict[str, str], reason: str, skip: int) -> Record:
    """Drops what is broken, up to where the next record seems to begin.

    Args:
      skip: bytes of the buffer in which none begins.
    """
    while True:
        found = _NEXT.search(text.buffer, max(0, skip - 1))
        at = found.start() + 1 if found else None
        member = text.member_begins(skip, len(text.buffer))
        while member is not None and not _VERSION.match(text.buffer, member):
            member = text.member_begins(member + 1, len(text.buffer))
        places = [place for place in (at, member) if place is not None]
        if places:
            text.drop(min(places))
            break
        dropped = max(0, len(text.buffer) - _LOOKAHEAD)
        text.drop(dropped)
        skip = max(0, skip - dropped)
        if not text.fill():
            text.drop(len(text.buffer))
            if text.damaged:
                text.restart()
            break
    _skip_blank(text)
    return Record(offset, max(0, _length(text, offset)), within, headers, b"", reason)


def record_at(uri: str, file: BinaryIO, compression: Compression, offset: int, within: int) -> Record | None:
    """The record that ``records`` has found at a place; reads from there up to its end, and little more."""
    for record in records(uri, file, compression, offset):
        if record.within >= within:
            return record if record.within == within else None
    return None
