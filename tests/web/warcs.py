"""WARC files written by hand, so that they can lie."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

TEXT = "The old mill by the river grinds rye on market days, and the miller keeps a ledger of every sack. " * 4


def page(text: str = TEXT, title: str = "Mill", head: str = "") -> str:
    return (
        f"<html><head><title>{title}</title>{head}</head><body><nav><a href='/'>Home</a></nav>"
        f"<article><h1>{title}</h1><p>{text}</p><p>{text[::-1]}</p></article></body></html>"
    )


def response(body: bytes, *headers: str, status: str = "200 OK", end: str = "\r\n") -> bytes:
    """An HTTP response; ``Content-Type: text/html`` unless headers say something else."""
    given = headers or ("Content-Type: text/html",)
    return f"HTTP/1.1 {status}{end}{end.join(given)}{end}{end}".encode("latin-1") + body


def record(
    block: bytes,
    kind: str = "response",
    url: str = "http://mill.example/x",
    *,
    length: object = None,
    end: bytes = b"\r\n",
    extra: Sequence[str] = (),
    media: str = "application/http; msgtype=response",
) -> bytes:
    """A record; ``length`` is what it says of its block."""
    lines = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Record-ID: <urn:uuid:{url}>",
        f"WARC-Target-URI: {url}",
        "WARC-Date: 2026-01-15T12:00:00Z",
        f"Content-Type: {media}",
        *extra,
        f"Content-Length: {len(block) if length is None else length}",
    ]
    return end.join(line.encode() for line in lines) + end + end + block + end + end


def good(name: str) -> bytes:
    return record(response(page(f"{name}: {TEXT}").encode()), url=f"http://mill.example/{name}")


def by_record(*records: bytes) -> bytes:
    return b"".join(map(gzip.compress, records))
