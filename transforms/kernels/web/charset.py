"""Bytes of a page -> text: which charset they are in, whatever is said of it.

What is said is often wrong, and UTF-8 is hardly ever valid by chance. So the order is: a byte order mark; UTF-8, if all
bytes but a few are; what the header says and what the page says of itself, charsets of several bytes a character first,
as bytes that aren't in one of these can't be decoded by it; detection. The first in which every byte has a meaning is
taken; if there is none, the first of them that can be decoded but for a few bytes.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([\w.:+-]+)", re.IGNORECASE)
_XML = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:+-]+)", re.IGNORECASE)
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
META_BYTES = 4096
MOST_LOST = 0.02
"""Share of characters that may have no meaning in the best charset that is found."""
_ESCAPES = ("iso-2022-jp", "iso2022_jp", "hz", "utf-7")


def decoded(body: bytes, said: str = "") -> tuple[str, str] | None:
    """The text and the name of the charset that it was in; None if it is in none.

    Args:
      body: the page.
      said: the charset that its HTTP header names; empty if none.
    """
    for mark, name in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace"), name
    tried: list[str] = []
    for name in _candidates(body, said):
        text = _strictly(body, name)
        if text is not None:
            return text, name
        if name == "utf-8" and (mended := _mostly_utf_8(body)) is not None:
            return mended, name
        tried.append(name)
    for name in tried:
        text = body.decode(name, "replace")
        if text.count("\ufffd") <= MOST_LOST * len(text):
            return text, name
    return None


def _mostly_utf_8(body: bytes) -> str | None:
    """UTF-8 with some bytes that aren't; in no other charset are most characters beyond ASCII valid UTF-8."""
    text = body.decode("utf-8", "replace")
    lost = text.count("\ufffd")
    beyond = sum(map(len, _BEYOND_ASCII.findall(text))) - lost
    return text if beyond >= 4 * lost and lost <= MOST_LOST * len(text) else None


def _candidates(body: bytes, said: str) -> Iterator[str]:
    meta = _META.search(body, 0, META_BYTES) or _XML.search(body, 0, META_BYTES)
    named = [found for name in (said, meta[1].decode("ascii", "replace") if meta else "") if (found := _known(name))]
    if named and named[0] in _ESCAPES:
        yield named[0]
    if (wide := _utf_16(body)) is not None:
        yield wide
    elif not any(name.startswith("utf-16") for name in named[:1]):
        yield "utf-8"
    yield from sorted(named, key=_never_fails)
    detected = _known(detect_encoding(body, from_html_meta=False) or "")
    if detected:
        yield detected
    yield "windows-1252"


def _never_fails(name: str) -> bool:
    """Whether any bytes are text in a charset, so that decoding proves nothing: those of one byte a character."""
    return len(bytes(range(0xA1, 0xFF)).decode(name, "ignore")) > 80


def _utf_16(body: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of markup is zero."""
    head = body[:512]
    if head.count(0) <= len(head) // 4:
        return None
    return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"


def _known(name: str) -> str:
    """The name by which Python decodes as browsers do; empty if there is no such charset."""
    if not name:
        return ""
    mapped = map_encoding_to_html5(name, fallback_utf8=False) or name
    try:
        return codecs.lookup({"gbk": "gb18030", "gb2312": "gb18030", "shift_jis": "cp932"}.get(mapped, mapped)).name
    except (LookupError, ValueError):
        return ""


def _strictly(body: bytes, name: str) -> str | None:
    """The text if every byte has a meaning; a character that is cut at the end is left out."""
    try:
        return codecs.getincrementaldecoder(name)("strict").decode(body)
    except (UnicodeError, LookupError):
        return None
