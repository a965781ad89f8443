"""HTTP responses as archives hold them: status, headers, and the body without chunks and compression.

Servers and crawlers say one thing and store another: a body is called chunked or compressed and isn't, or is cut short.
So what a header says is tried, and where the body is plainly something else, the body is believed.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Callable

import brotli
import zstandard

MOST_BODY_BYTES = 128 << 20
MOST_HEADER_BYTES = 1 << 20
_MOST_INTERIM = 16  # each copies the rest: a million of them would take hours
_STATUS = re.compile(rb"\s*HTTP/\d(?:\.\d)?[ \t]+(\d{3})\b[^\n]*\n?", re.IGNORECASE)
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")
_MEDIA_TYPE = re.compile(r"\s*([^\s;,\x00]+)")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


_FIRST_BYTES = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x78": "deflate"}


class BodyTooLarge(Exception):
    """A body has more than ``MOST_BODY_BYTES`` when it is decompressed."""


@dataclasses.dataclass(frozen=True)
class Response:
    """An HTTP response.

    Attributes:
      status: 0 if there is no status line.
      headers: by lower-case name; of one that is given twice the last counts.
      body: without chunks and compression, as far as it can be decoded.
      truncated: whether the body ends before the message says that it does.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    truncated: bool

    @property
    def mime(self) -> str:
        """The media type in lower case, the first of several, empty if none is given."""
        found = _MEDIA_TYPE.match(self.headers.get("content-type", ""))
        return found[1].lower() if found else ""

    @property
    def charset(self) -> str:
        """The charset that the header names, empty if none."""
        return charset_of(self.headers.get("content-type", ""))


def charset_of(content_type: str) -> str:
    """The charset in a media type with parameters, empty if none."""
    found = re.search(r"charset\s*=\s*[\"']?([\w.:+-]+)", content_type, re.IGNORECASE)
    return found[1] if found else ""


def parse_headers(data: bytes) -> dict[str, str]:
    """Header lines by lower-case name; folded lines are joined, lines without a colon are left out."""
    headers: dict[str, str] = {}
    name = ""
    for line in data.splitlines():
        text = line.decode("utf-8", "replace")
        if name and text[:1] in (" ", "\t"):
            headers[name] += " " + text.strip()
            continue
        name, colon, value = text.partition(":")
        name = name.strip().lower()
        if colon and name:
            headers[name] = value.strip()
        else:
            name = ""
    return headers


def parse_response(data: bytes) -> Response:
    """A response as it was received.

    Raises:
      BodyTooLarge: it is decompressed to more than ``MOST_BODY_BYTES``.
    """
    status, headers, body = _parted(data)
    for _ in range(_MOST_INTERIM):  # "100 Continue" and the like come before
        if not 100 <= status < 200 or not _STATUS.match(body[:MOST_HEADER_BYTES]):
            break
        status, headers, body = _parted(body)
    if not status:
        return Response(0, {}, data, False)
    named = parse_headers(headers)
    truncated = False
    length = named.get("content-length", "")
    transfer = _codings(named, "transfer-encoding")
    if "chunked" in transfer:
        body, truncated = dechunked(body)
    elif length.isascii() and length.isdigit() and len(body) < int(length[:18]):
        truncated = True
    for coding in reversed(_codings(named, "content-encoding") + transfer):
        body, cut = decompressed(body, coding)
        truncated |= cut
    return Response(status, named, body, truncated)


def _parted(data: bytes) -> tuple[int, bytes, bytes]:
    """Status, header lines and body of a message; the status is 0 if there is none."""
    status = _STATUS.match(data[:MOST_HEADER_BYTES])
    if status is None:
        return 0, b"", data
    start = status.end()
    if data[start : start + 2] == b"\r\n" or data[start : start + 1] == b"\n":
        return int(status[1]), b"", data[start:].lstrip(b"\r\n")
    end = _END_OF_HEADERS.search(data, start, start + MOST_HEADER_BYTES)
    return (
        (int(status[1]), data[start : end.start()], data[end.end() :]) if end else (int(status[1]), data[start:], b"")
    )


def _codings(headers: dict[str, str], name: str) -> list[str]:
    return [coding.strip() for coding in headers.get(name, "").lower().split(",")]


def dechunked(body: bytes) -> tuple[bytes, bool]:
    """A chunked body without its chunk sizes, and whether it is cut short. One that isn't chunked stays as it is."""
    parts: list[bytes] = []
    place = 0
    while found := _CHUNK.match(body, place):
        size = int(found[1], 16)
        if size == 0:
            return b"".join(parts), False
        if not parts and size > 16 * len(body) + 4096:
            break  # a number in a text
        part = body[found.end() : found.end() + size]
        parts.append(part)
        place = found.end() + size
        if len(part) < size:
            return b"".join(parts), True
        if body[place : place + 2] == b"\r\n":
            place += 2
        elif body[place : place + 1] == b"\n":
            place += 1
        elif place < len(body):
            return (b"".join(parts) + body[place:], False) if len(parts) > 1 else (body, False)
    if not parts:
        return body, False
    return b"".join(parts) + body[place:], True


def decompressed(body: bytes, coding: str) -> tuple[bytes, bool]:
    """A body without one content coding, and whether it is cut short.

    One that isn't in the coding is taken for what its first bytes say; if they say nothing, it stays as it is.

    Raises:
      BodyTooLarge: it has more than ``MOST_BODY_BYTES``.
    """
    decoders: dict[str, tuple[Callable[[], _Decoder], ...]] = {
        "gzip": (lambda: _Zlib(31),),
        "x-gzip": (lambda: _Zlib(31),),
        "deflate": (lambda: _Zlib(15), lambda: _Zlib(-15)),
        "br": (_Brotli,),
        "zstd": (_Zstd,),
    }
    for make in decoders.get(coding, ()):
        out, whole = make().decode(body)
        if out:
            return out, not whole
    for start, really in _FIRST_BYTES.items() if coding in decoders else ():
        if body.startswith(start) and really != coding:
            out, whole = decoders[really][0]().decode(body)
            if out:
                return out, not whole
    return body, False


class _Decoder:
    """Decodes as much as can be decoded."""

    errors: tuple[type[Exception], ...] = ()

    def feed(self, data: bytes) -> bytes:
        """Decodes a few bytes; what stands behind the end is nothing."""
        raise NotImplementedError

    def ended(self) -> bool:
        """Whether the stream has come to its end."""
        raise NotImplementedError

    def decode(self, body: bytes) -> tuple[bytes, bool]:
        """What comes out, up to the end or the first damage, and whether it's whole."""
        out: list[bytes] = []
        size = 0
        try:
            for start in range(0, len(body), 1 << 14):
                out.append(self.feed(body[start : start + (1 << 14)]))
                size += len(out[-1])
                if size > MOST_BODY_BYTES:
                    raise BodyTooLarge
        except self.errors:
            return b"".join(out), False
        return b"".join(out), self.ended()


class _Zlib(_Decoder):
    errors = (zlib.error,)

    def __init__(self, window: int) -> None:
        self._window, self._stream, self._over = window, zlib.decompressobj(window), False

    def feed(self, data: bytes) -> bytes:
        out = b""
        while data and not self._over:
            if self._stream.eof:  # one gzip member may stand behind another
                self._stream, before = zlib.decompressobj(self._window), self._stream
                try:
                    out += self._stream.decompress(data)
                except zlib.error:
                    self._stream, self._over = before, True
                    break
            else:
                out += self._stream.decompress(data)
            data = self._stream.unused_data
        return out

    def ended(self) -> bool:
        return self._stream.eof


_AT_ONCE = 1 << 20
"""Bytes that brotli gives at once: a few bytes of it may become gigabytes."""


class _Brotli(_Decoder):
    errors = (brotli.error,)

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def feed(self, data: bytes) -> bytes:
        if self.ended():
            return b""
        out = [bytes(self._stream.process(data, output_buffer_limit=_AT_ONCE))]
        size = len(out[0])
        while not self._stream.is_finished() and not self._stream.can_accept_more_data():
            out.append(bytes(self._stream.process(b"", output_buffer_limit=_AT_ONCE)))
            size += len(out[-1])
            if size > MOST_BODY_BYTES:
                raise BodyTooLarge
        return b"".join(out)

    def ended(self) -> bool:
        return bool(self._stream.is_finished())


class _Zstd(_Decoder):
    errors = (zstandard.ZstdError,)

    def __init__(self) -> None:
        self._stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()

    def feed(self, data: bytes) -> bytes:
        return b"" if self.ended() else bytes(self._stream.decompress(data))

    def ended(self) -> bool:
        return bool(self._stream.eof)
