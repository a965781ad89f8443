"""Streams of bytes: decompressed, and cut into lines."""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import io
import lzma
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal

import lz4.frame
import zstandard
from isal import isal_zlib

from transforms.io.read_options import MIB
from transforms.io.readers.common import MAX_LINE_BYTES, UnreadableSource, Warn

Compression = Literal["plain", "gzip", "zstd", "bzip2", "xz", "lz4"]
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MEMBER_MAGIC = {"gzip": GZIP_MAGIC + b"\x08", "zstd": ZSTD_MAGIC}
"""What a member or frame begins with, of compressions of which a file may have many that can be found."""
MAGIC_BYTES = 6
XZ_MEMORY = 1 << 30  # the largest dictionary of xz needs 1.5 GB, those of its levels up to 64 MiB
FETCH_BYTES = MIB
DECODE_BYTES = MIB  # at most this much of gzip is decompressed at once
GZIP_FEED_BYTES = 1 << 16  # what follows a member is copied, so little is fed where members are small
ZSTD_FEED_BYTES = 1 << 14  # zstd's output can't be limited: a block of 4 bytes may become 128 KiB, so it's fed little
ZSTD_MAX_WINDOW = 1 << 31  # what `zstd --long=31` needs
PIECE_BYTES = 2 * MIB  # of lines turned into Arrow at once
BOM = b"\xef\xbb\xbf"


def compression_of(head: bytes) -> Compression:
    """By the first six bytes."""
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    for kind in _KINDS.values():
        if head.startswith(kind.magic):
            return kind.name
    skippable = len(head) >= 4 and head[0] & 0xF0 == 0x50 and head[1:4] == b"\x2a\x4d\x18"
    return "zstd" if skippable or head.startswith(ZSTD_MAGIC) else "plain"


def compression_in(file: BinaryIO) -> Compression:
    """How an open file is compressed, by its first bytes; it is read from its beginning then."""
    file.seek(0)
    compression = compression_of(file.read(MAGIC_BYTES))
    file.seek(0)
    return compression


def beginning(head: bytes, compression: Compression, most: int) -> bytes:
    """The beginning of what is compressed in a file that begins so; damage is left to those who read on."""
    if compression == "plain":
        return head[:most]
    out = b""
    with contextlib.suppress(UnreadableSource):
        for chunk in decompress("", io.BytesIO(head), compression, warn=lambda _: None):
            out += chunk
            if len(out) >= most:
                break
    return out[:most]


def whole_lines(uri: str, chunks: Iterator[bytes]) -> Iterator[list[bytes]]:
    r"""A stream of bytes -> lists of its lines without ``\n``, some MiB at a time, blank ones too.

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
    yield lines


def without_blank(lines: list[bytes]) -> list[bytes]:
    """The lines that have something in them."""
    return [line for line in lines if line and not line.isspace()]


def _without_bom(chunks: Iterator[bytes]) -> Iterator[bytes]:
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= len(BOM):
            break
    yield start.removeprefix(BOM)
    yield from chunks


def decompress(uri: str, file: BinaryIO, compression: Compression, warn: Warn) -> Iterator[bytes]:
    """The bytes of a file from its start, decompressed: members and frames one after another.

    What follows the last gzip member and isn't another is left out with a warning, as gzip itself does.

    Raises:
      UnreadableSource: corrupt, or cut short within a member or frame.
    """
    if compression == "plain":
        while chunk := file.read(FETCH_BYTES):
            yield chunk
    else:
        for _, chunk in decode_members(uri, file, compression, warn):
            yield chunk


def decode_members(
    uri: str, file: BinaryIO, compression: Compression, warn: Warn, place: int = 0
) -> Iterator[tuple[int, bytes]]:
    """``decompress`` with the place at which the member or frame begins that the bytes are from.

    Args:
      place: where in the file the first one begins; the file's position is there.
    """
    if compression == "gzip":
        yield from _gunzip(uri, file, warn, place)
    elif compression == "zstd":
        yield from _unzstd(uri, file, place)
    else:
        yield from _decode(uri, file, _KINDS[compression], warn, place)


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A compression whose streams may follow one another."""

    name: Compression
    magic: bytes
    make: Callable[[], Any]  # of bz2, lzma and lz4, whose decompressors have one interface
    errors: tuple[type[Exception], ...]


def _unxz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)


_KINDS: dict[str, _Kind] = {
    kind.name: kind
    for kind in (
        _Kind("bzip2", b"BZh", bz2.BZ2Decompressor, (OSError, ValueError, EOFError)),
        _Kind("xz", b"\xfd7zXZ\0", _unxz, (lzma.LZMAError, EOFError)),
        _Kind("lz4", b"\x04\x22\x4d\x18", lz4.frame.LZ4FrameDecompressor, (RuntimeError, EOFError)),
    )
}


def _decode(uri: str, file: BinaryIO, kind: _Kind, warn: Warn, place: int) -> Iterator[tuple[int, bytes]]:
    """Streams one after another; zero bytes after one are padding."""
    stream, start = kind.make(), place
    fresh, first = True, True
    for fed in _feeds(file, GZIP_FEED_BYTES):
        place += len(fed)
        chunk = fed
        while True:
            if fresh:
                chunk = chunk.lstrip(b"\0") if not first else chunk
                if not chunk:
                    break
                start = place - len(chunk)
            try:
                data = stream.decompress(chunk, DECODE_BYTES)
            except kind.errors as error:
                if fresh and not first:
                    warn(f"garbage after the last stream of {kind.name}, at byte {start}, is left out")
                    return
                raise UnreadableSource(uri, f"corrupt {kind.name} data before byte {place}: {error}") from error
            if data:
                yield start, data
            fresh, chunk = False, b""
            if stream.eof:
                chunk, stream = stream.unused_data or b"", kind.make()
                fresh, first = True, False
            elif stream.needs_input:
                break
    if not fresh:
        raise UnreadableSource(uri, f"the {kind.name} stream is cut short at byte {place}")


def _gunzip(uri: str, file: BinaryIO, warn: Warn, place: int) -> Iterator[tuple[int, bytes]]:
    """RFC 1952 members; zero bytes after one are padding, as gzip itself takes them."""
    start = place
    member = isal_zlib.decompressobj(31)
    fresh, first = True, True  # nothing of this member was seen yet; it's the first
    before = b""  # the first byte of what may be a member, while the second isn't there
    for fed in _feeds(file, GZIP_FEED_BYTES):
        place += len(fed)
        chunk, before = before + fed, b""
        pending = False  # the decompressor may hold output that the limit kept back
        while chunk or pending:
            if fresh and not first:
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
                if chunk == GZIP_MAGIC[:1]:
                    before = chunk
                    break
                if not chunk.startswith(GZIP_MAGIC):
                    warn(f"garbage after the last gzip member, at byte {place - len(chunk)}, is left out")
                    return
            if fresh:
                start = place - len(chunk)
            try:
                data = member.decompress(chunk, DECODE_BYTES)
            except isal_zlib.error as error:  # type: ignore[misc]  # its stub says: an instance
                raise UnreadableSource(uri, f"corrupt gzip data before byte {place}: {error}") from error
            if data:
                yield start, data
            fresh, pending, chunk = False, len(data) == DECODE_BYTES, member.unconsumed_tail
            if member.eof:
                chunk = member.unused_data
                member, fresh, first, pending = isal_zlib.decompressobj(31), True, False, False
    if before:
        warn(f"garbage after the last gzip member, at byte {place - len(before)}, is left out")
    elif not fresh:
        raise UnreadableSource(uri, f"the gzip stream is cut short at byte {place}")


def _unzstd(uri: str, file: BinaryIO, place: int) -> Iterator[tuple[int, bytes]]:
    """RFC 8878 frames, skippable ones included; one object a frame, because only that tells a whole from a cut one."""
    context = zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW)
    start = place
    frame = context.decompressobj()
    fresh = True  # nothing of this frame was seen yet
    for chunk in _feeds(file, ZSTD_FEED_BYTES):
        place += len(chunk)
        while chunk:
            if fresh:
                start = place - len(chunk)
            try:
                data = frame.decompress(chunk)
            except zstandard.ZstdError as error:
                raise UnreadableSource(uri, f"corrupt zstd data before byte {place}: {error}") from error
            if data:
                yield start, data
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
