"""Ways in which HTTP, charsets, WARC and gzip can lie: what is broken costs itself, and its neighbours are read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import brotli
import lz4.frame
import pytest
import zstandard

from schemas import outcomes
from tests.web.warcs import TEXT, by_record, good, page, record, response
from transforms.io.readers import warc_records
from transforms.io.readers.streams import compression_of
from transforms.io.readers.warc import REASONS
from transforms.io.readers.warc_records import record_at, records
from transforms.kernels.web import http_message
from transforms.kernels.web.page import page_of

HTML = page().encode()
GERMAN, RUSSIAN, JAPANESE, CHINESE = (
    "Größe, Übermaß und Maße der Mühle am Fluß; " * 9,
    "Старая мельница у реки мелет рожь по базарным дням. " * 9,
    "川のそばの古い水車小屋では、市の立つ日にライ麦を挽く。" * 9,
    "河边的老磨坊在集市日磨黑麦，磨坊主记下每一袋。镕" * 9,
)


EURO = "„Mühle“ – €5 " * 30


def chunked(body: bytes, size: int = 100) -> bytes:
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def deflated(body: bytes, window: int) -> bytes:
    packer = zlib.compressobj(wbits=window)
    return packer.compress(body) + packer.flush()


def kinds(body: bytes, *headers: str, **options: str) -> bytes:
    return record(response(body, *headers, **options))


CHUNKED, HTML_TYPE = "Transfer-Encoding: chunked", "Content-Type: text/html"

# What stands between two good records, and what must come of it: the text, or the reasons of its records.
HTTP: dict[str, tuple[bytes, str | list[str]]] = {
    "chunked": (kinds(chunked(HTML), HTML_TYPE, CHUNKED), TEXT),
    "chunked-with-extensions-and-trailer": (
        kinds(b"%x;name=value\r\n" % len(HTML) + HTML + b"\r\n0\r\nX-Sum: 1\r\n\r\n", HTML_TYPE, CHUNKED), TEXT,
    ),
    "chunked-lf-only": (kinds(b"%X\n" % len(HTML) + HTML + b"\n0\n\n", HTML_TYPE, CHUNKED), TEXT),
    "said-chunked-and-isnt": (kinds(HTML, HTML_TYPE, CHUNKED), TEXT),
    "said-chunked-and-begins-like-it": (kinds(b"beef\r\n" + HTML, HTML_TYPE, CHUNKED), TEXT),
    "chunk-cut-short": (kinds(chunked(HTML, 1 << 20)[:-40], HTML_TYPE, CHUNKED), TEXT),
    "chunks-without-an-end": (kinds(chunked(HTML)[:-5], HTML_TYPE, CHUNKED), TEXT),
    "gzip": (kinds(gzip.compress(HTML), HTML_TYPE, "Content-Encoding: gzip"), TEXT),
    "gzip-in-chunks": (kinds(chunked(gzip.compress(HTML)), HTML_TYPE, CHUNKED, "Content-Encoding: gzip"), TEXT),
    "gzip-twice": (kinds(gzip.compress(gzip.compress(HTML)), HTML_TYPE, "Content-Encoding: gzip, gzip"), TEXT),
    "gzip-cut-short": (kinds(gzip.compress(HTML)[:-12], HTML_TYPE, "Content-Encoding: gzip"), TEXT[:40]),
    "said-gzip-and-isnt": (kinds(HTML, HTML_TYPE, "Content-Encoding: gzip"), TEXT),
    "gzip-of-two-members": (
        kinds(gzip.compress(HTML[:300]) + gzip.compress(HTML[300:]), HTML_TYPE, "Content-Encoding: gzip"), TEXT,
    ),
    "gzip-and-garbage": (kinds(gzip.compress(HTML) + b"\x1f\x8bno", HTML_TYPE, "Content-Encoding: gzip"), TEXT),
    "gzip-said-by-another-name": (kinds(gzip.compress(HTML), HTML_TYPE, "CONTENT-ENCODING: X-GZIP"), TEXT),
    "gzip-of-nothing": (kinds(b"", HTML_TYPE, "Content-Encoding: gzip"), ["empty_text"]),
    "gzip-under-the-chunks": (
        kinds(chunked(gzip.compress(HTML)), HTML_TYPE, "Transfer-Encoding: gzip, chunked"), TEXT,
    ),
    "said-brotli-is-gzip": (kinds(gzip.compress(HTML), HTML_TYPE, "Content-Encoding: br"), TEXT),
    "said-gzip-is-zstd": (kinds(zstandard.compress(HTML), HTML_TYPE, "Content-Encoding: gzip"), TEXT),
    "said-gzip-is-deflate": (kinds(deflated(HTML, 15), HTML_TYPE, "Content-Encoding: gzip"), TEXT),
    "gzip-and-not-said": (kinds(gzip.compress(HTML), HTML_TYPE), ["not_text"]),
    "deflate": (kinds(deflated(HTML, 15), HTML_TYPE, "Content-Encoding: deflate"), TEXT),
    "deflate-raw": (kinds(deflated(HTML, -15), HTML_TYPE, "Content-Encoding: deflate"), TEXT),
    "brotli": (kinds(brotli.compress(HTML), HTML_TYPE, "Content-Encoding: br"), TEXT),
    "zstd": (kinds(zstandard.compress(HTML), HTML_TYPE, "Content-Encoding: zstd"), TEXT),
    "coding-that-nobody-knows": (kinds(HTML, HTML_TYPE, "Content-Encoding: x-none"), TEXT),
    "lf-only-headers": (kinds(HTML, HTML_TYPE, end="\n"), TEXT),
    "folded-header": (kinds(HTML, "Content-Type: text/html;\r\n charset=utf-8"), TEXT),
    "header-given-twice": (kinds(HTML, "Content-Type: image/png", HTML_TYPE), TEXT),
    "headers-without-colon": (kinds(HTML, "nonsense", HTML_TYPE), TEXT),
    "no-headers": (record(b"HTTP/1.1 200 OK\r\n\r\n" + HTML), TEXT),
    "headers-without-an-end": (record(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"), ["empty_text"]),
    "http-2": (record(b"HTTP/2 200\r\nContent-Type: text/html\r\n\r\n" + HTML), TEXT),
    "continue-before-it": (
        record(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + response(HTML)), TEXT,
    ),
    "continue-for-ever": (record(b"HTTP/1.1 100\r\n\r\n" * 200_000 + response(HTML)), ["http_status"]),
    "continue-and-nothing-more": (record(b"HTTP/1.1 100 Continue\r\n\r\n"), ["http_status"]),
    "status-without-reason": (kinds(HTML, HTML_TYPE, status="200"), TEXT),
    "status-that-is-none": (kinds(HTML, HTML_TYPE, status="abc"), ["broken_record"]),
    "chunk-sizes-huge": (kinds(b"ffffffffffffffff\r\n" + HTML, HTML_TYPE, CHUNKED), TEXT),
    "chunk-sizes-negative": (kinds(b"-5\r\n" + HTML, HTML_TYPE, CHUNKED), TEXT),
    "many-headers": (kinds(HTML, HTML_TYPE, *["X: 1"] * 20_000), TEXT),
    "type-given-as-a-list": (kinds(HTML, "Content-Type: text/html, text/html; charset=utf-8"), TEXT),
    "type-with-a-zero-byte": (kinds(HTML, "Content-Type: text/html\x00"), TEXT),
    "no-status-line": (record(HTML), ["broken_record"]),
    "not-found": (kinds(HTML, HTML_TYPE, status="404 Not Found"), ["http_status"]),
    "moved": (kinds(HTML, HTML_TYPE, status="301 Moved"), ["http_status"]),
    "content-length-too-long": (kinds(HTML, HTML_TYPE, "Content-Length: 999999"), TEXT),
    "content-length-is-no-number": (kinds(HTML, HTML_TYPE, "Content-Length: many"), TEXT),
    "picture-called-html": (kinds(b"\x89PNG\r\n\x1a\n" + bytes(200), HTML_TYPE), ["not_text"]),
    "picture": (kinds(b"\xff\xd8\xff" + bytes(200), "Content-Type: image/jpeg"), ["not_text"]),
    "pdf-called-text": (kinds(b"%PDF-1.7\n%\xe2\xe3", "Content-Type: text/plain"), ["not_text"]),
    "html-called-text": (kinds(HTML, "Content-Type: text/plain"), TEXT),
    "html-called-bytes": (kinds(b"<!-- x -->\n<!DOCTYPE html>" + HTML, "Content-Type: application/octet-stream"), TEXT),
    "no-type": (kinds(HTML, "Server: x"), TEXT),
    "json": (kinds(b'{"a": 1}', "Content-Type: application/json"), ["not_text"]),
    "empty-body": (kinds(b"", HTML_TYPE), ["empty_text"]),
    "blank-body": (kinds(b" \r\n\t ", HTML_TYPE), ["empty_text"]),
}  # fmt: skip
CHARSETS: dict[str, tuple[bytes, str | list[str]]] = {
    name: (kinds(body, header), text)
    for name, (text, body, header) in {
        "said-utf-8-is-latin-1": (GERMAN, page(GERMAN).encode("latin-1"), "Content-Type: text/html; charset=utf-8"),
        "said-latin-1-is-utf-8": (GERMAN, page(GERMAN).encode(), "Content-Type: text/html; charset=iso-8859-1"),
        "latin-1-means-windows-1252": (
            EURO, page(EURO).encode("cp1252"), "Content-Type: text/html; charset=latin1",
        ),
        "meta-only": (
            JAPANESE, page(JAPANESE, head='<meta charset="Shift_JIS">').encode("cp932"), "Content-Type: text/html",
        ),
        "meta-http-equiv": (
            RUSSIAN,
            page(RUSSIAN, head="<meta http-equiv=Content-Type content='text/html; charset=koi8-r'>").encode("koi8-r"),
            "Content-Type: text/html",
        ),
        "header-wrong-meta-right": (
            JAPANESE, page(JAPANESE, head='<meta charset="euc-jp">').encode("euc-jp"),
            "Content-Type: text/html; charset=us-ascii",
        ),
        "nobody-says": (RUSSIAN, page(RUSSIAN).encode("cp1251"), "Content-Type: text/html"),
        "charset-that-is-none": (RUSSIAN, page(RUSSIAN).encode(), "Content-Type: text/html; charset=x-bogus"),
        "quoted-and-odd": (RUSSIAN, page(RUSSIAN).encode("cp1251"), 'Content-Type: text/html; Charset = "cp1251"'),
        "utf-16-with-mark": (RUSSIAN, page(RUSSIAN).encode("utf-16"), "Content-Type: text/html; charset=utf-8"),
        "utf-16-without-mark": (GERMAN, page(GERMAN).encode("utf-16-le"), "Content-Type: text/html"),
        "utf-16-big": (GERMAN, page(GERMAN).encode("utf-16-be"), "Content-Type: text/html; charset=utf-16"),
        "utf-8-mark-said-latin-1": (
            GERMAN, b"\xef\xbb\xbf" + page(GERMAN).encode(), "Content-Type: text/html; charset=latin-1",
        ),
        "iso-2022-jp": (
            JAPANESE, page(JAPANESE).encode("iso2022_jp"), "Content-Type: text/html; charset=iso-2022-jp",
        ),
        "gb2312-means-gb18030": (
            CHINESE, page(CHINESE).encode("gb18030"), "Content-Type: text/html; charset=gb2312",
        ),
        "cut-within-a-character": (
            RUSSIAN, page(RUSSIAN).encode() + "Я".encode()[:1], "Content-Type: text/html; charset=utf-8",
        ),
        "a-few-bad-bytes": (
            GERMAN[:40], page(GERMAN).encode() + b"\xff\xfe\x80", "Content-Type: text/html; charset=utf-8",
        ),
    }.items()
}  # fmt: skip
A_RESPONSE = response(HTML)
WARC: dict[str, tuple[bytes, str | list[str]]] = {
    "length-too-short": (record(A_RESPONSE, length=30), ["broken_record"]),
    "length-too-long": (record(A_RESPONSE, length=len(A_RESPONSE) + 700), ["_record"]),
    "length-huge": (record(A_RESPONSE, length=10**15), ["too_large"]),
    "length-of-digits-without-end": (record(A_RESPONSE, length="9" * 5000), ["too_large"]),
    "length-negative": (record(A_RESPONSE, length=-1), ["broken_record"]),
    "length-no-number": (record(A_RESPONSE, length="many"), ["broken_record"]),
    "no-type": (record(A_RESPONSE).replace(b"WARC-Type: response\r\n", b""), ["broken_record"]),
    "lf-only": (record(A_RESPONSE, end=b"\n"), TEXT),
    "no-line-breaks-behind": (record(A_RESPONSE)[:-4], TEXT),
    "more-line-breaks-behind": (record(A_RESPONSE) + b"\r\n\r\n\r\n", TEXT),
    "garbage-between": (record(A_RESPONSE) + b"some garbage\nthat is no record\n", [TEXT, "broken_record"]),
    "version-line-broken": (b"WORC" + record(A_RESPONSE)[4:], ["broken_record"]),
    "headers-without-end": (record(A_RESPONSE)[:150] + b"\r\n", ["broken_record"]),
    "new-version": (record(A_RESPONSE).replace(b"WARC/1.0", b"WARC/1.1").replace(b"00Z", b"00.123456789Z"), TEXT),
    "names-in-lower-case": (record(A_RESPONSE).replace(b"WARC-Type", b"warc-type"), TEXT),
    "zeros-between": (record(A_RESPONSE) + bytes(512), TEXT),
    "length-with-sign": (record(A_RESPONSE, length=f"+{len(A_RESPONSE)}"), ["broken_record"]),
    "length-in-other-digits": (record(A_RESPONSE, length="١٢"), ["broken_record"]),
    "length-given-twice": (record(A_RESPONSE, extra=["Content-Length: 5"]), TEXT),
    "no-id": (record(A_RESPONSE).replace(b"WARC-Record-ID", b"X-ID"), TEXT),
    "date-that-is-none": (record(A_RESPONSE).replace(b"2026-01-15T12:00:00Z", b"yesterday"), TEXT),
    "old-version": (record(A_RESPONSE).replace(b"WARC/1.0", b"WARC/0.18"), TEXT),
    "warc-within": (record(response(good("a") + good("b"), "Content-Type: application/warc")), ["not_text"]),
    "flag-truncated": (record(A_RESPONSE[:-200], extra=["WARC-Truncated: length"]), TEXT[:60]),
    "request": (record(b"GET / HTTP/1.1\r\n\r\n", "request"), ["not_a_page"]),
    "revisit": (record(b"HTTP/1.1 200 OK\r\n\r\n", "revisit"), ["not_a_page"]),
    "type-that-is-none": (record(A_RESPONSE, "answer"), ["not_a_page"]),
    "resource": (record(HTML, "resource", media="text/html"), TEXT),
    "wet": (record(GERMAN.encode(), "conversion", media="text/plain"), GERMAN),
    "dns": (record(b"20260101\nmill.example. 1 IN A 1.2.3.4\n", "response", media="text/dns"), ["not_text"]),
}


def found_in(data: bytes) -> list[str]:
    """The text of each record, or the reason why there is none; and each is there again at its place."""
    compression = compression_of(data[:8])
    found = []
    for each in records("x", io.BytesIO(data), compression):
        if each.reason:
            found.append(outcomes.OWN[REASONS[each.reason]][1])
            continue
        again = record_at("x", io.BytesIO(data), compression, each.offset, each.within)
        assert again is not None
        assert (again.headers, again.block) == (each.headers, each.block)
        if each.length and not each.within:
            piece = io.BytesIO(data[each.offset : each.offset + each.length])
            assert next(records("x", piece, compression)).block == each.block
        made = page_of(each.type, each.headers, each.block)
        found.append(outcomes.OWN[made.outcome][1] if made.outcome else made.text)
    return found


def check(found: list[str], expected: str | list[str]) -> None:
    assert TEXT in found[0]
    assert found[0].count("before: ") == 1
    assert "after: " in found[-1]
    middle = found[1:-1]
    wanted = expected if isinstance(expected, list) else [expected]
    assert len(middle) == len(wanted), [text[:60] for text in middle]
    for text, want in zip(middle, wanted, strict=True):
        assert want in text, text[:300]


@pytest.mark.parametrize("name", HTTP | CHARSETS | WARC)
@pytest.mark.parametrize("wrap", ["plain", "by-record", "one-member", "zstd"])
def test_what_is_broken_costs_itself(name: str, wrap: str) -> None:
    middle, expected = (HTTP | CHARSETS | WARC)[name]
    pieces = [good("before"), middle, good("after")]
    make: dict[str, Callable[[], bytes]] = {
        "plain": lambda: b"".join(pieces),
        "by-record": lambda: by_record(*pieces),
        "one-member": lambda: gzip.compress(b"".join(pieces)),
        "zstd": lambda: b"".join(map(zstandard.compress, pieces)),
    }
    check(found_in(make[wrap]()), expected)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
def test_damaged_members_cost_their_own_record(compress: Callable[[bytes], bytes]) -> None:
    pieces = [compress(good(f"page-{i}")) for i in range(6)]
    for at in range(4, len(pieces[2]), 7):
        damaged = bytearray(pieces[2])
        damaged[at] ^= 0xFF
        found = found_in(b"".join([*pieces[:2], bytes(damaged), *pieces[3:]]))
        for i in (0, 1, 3, 4, 5):
            assert sum(f"page-{i}: " in text for text in found) == 1, (at, [text[:40] for text in found])
        assert len(found) <= 7, at


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress, lz4.frame.compress])
def test_a_file_of_another_compression_that_is_cut_has_all_records_before(compress: Callable[[bytes], bytes]) -> None:
    rest = random.Random(3).randbytes(3_000_000)
    whole = compress(good("before") + record(rest, "resource", media="text/html"))
    found = found_in(whole[: len(whole) // 2])
    assert "before: " in found[0]
    assert len(found) == 2
    assert found[1] in ("truncated_record", "broken_record")


@pytest.mark.parametrize("between", [b"garbage between members", b"\0" * 50, gzip.compress(b"")])
def test_what_stands_between_members_hides_nothing(between: bytes) -> None:
    found = found_in(gzip.compress(good("before")) + between + gzip.compress(good("after")))
    assert ("before: " in found[0], "after: " in found[-1]) == (True, True)
    assert found[1:-1] in ([], ["broken_record"])


def test_a_file_that_ends_anywhere_has_all_records_before(tmp_path: Path) -> None:
    for whole in (by_record(*map(good, "ab")), good("a") + good("b")):
        first = len(whole) // 2
        for end in range(first + 30, len(whole) - 4, 11):
            found = found_in(whole[:end])
            assert "a: " in found[0]
            assert found[1:] == ["truncated_record"] or "b: " in found[1], (end, found)


def test_records_that_lie_across_members(tmp_path: Path) -> None:
    text = b"".join(good(f"page-{i}") for i in range(4))
    found = found_in(b"".join(gzip.compress(text[i : i + 333]) for i in range(0, len(text), 333)))
    assert [f"page-{i}: " in found[i] for i in range(4)] == [True] * 4


def test_pages_and_records_that_are_too_large_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_message, "MOST_BODY_BYTES", 1 << 20)
    bomb = kinds(gzip.compress(bytes(5 << 20)), HTML_TYPE, "Content-Encoding: gzip")
    check(found_in(by_record(good("before"), bomb, good("after"))), ["too_large"])
    bomb = kinds(brotli.compress(bytes(5 << 20)), HTML_TYPE, "Content-Encoding: br")
    check(found_in(by_record(good("before"), bomb, good("after"))), ["too_large"])
    monkeypatch.setattr(warc_records, "MOST_RECORD_BYTES", 1 << 16)
    large = record(response(b"<p>" + b"x" * (1 << 17)))
    check(found_in(by_record(good("before"), large, good("after"))), ["too_large"])
