"""One record of a web archive -> the page in it, or why there is none."""

from __future__ import annotations

import dataclasses
import re

from schemas import outcomes
from transforms.kernels.web.charset import decoded
from transforms.kernels.web.http_message import BodyTooLarge, Response, charset_of, parse_response

_HTML_TYPES = {"text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"}
_TEXT_TYPES = {"text/plain", "text/markdown"}
_UNSAID = {"", "application/octet-stream", "unknown", "application/unknown", "text", "content/unknown", "*/*"}
_MARKUP = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|title|meta|div|p|table|script)\b",
    re.IGNORECASE | re.DOTALL,
)
_BINARY = (
    b"%PDF-",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"PK\x03\x04",
    b"RIFF",
    b"\x1f\x8b",
    b"ID3",
    b"OggS",
    b"\0\0\0",
)
HEAD_BYTES = 2048
_WITHOUT_PAGE = {"warcinfo", "request", "metadata", "revisit", "continuation"}


@dataclasses.dataclass(frozen=True)
class Page:
    """What a record holds.

    Attributes:
      outcome: 0 while there is text, else a code of ``schemas.outcomes``.
      text: decoded; HTML is not extracted. Empty if there is none.
      html: whether ``text`` is markup.
      status: of HTTP; 0 where there is none.
      mime: as the header names it.
      charset: in which the body was, as found out; empty where that wasn't asked.
      truncated: why the page isn't whole: what the record says of it, or ``body``; empty if it is.
    """

    outcome: int
    text: str = ""
    html: bool = False
    status: int = 0
    mime: str = ""
    charset: str = ""
    truncated: str = ""


def page_of(kind: str, headers: dict[str, str], block: bytes) -> Page:
    """The page in a WARC record.

    Args:
      kind: the record's type.
      headers: the record's, by lower-case name.
      block: what follows them.
    """
    truncated = headers.get("warc-truncated", "").lower()
    content_type = headers.get("content-type", "")
    if kind in _WITHOUT_PAGE or kind not in ("response", "resource", "conversion"):
        return Page(outcomes.NOT_A_PAGE, mime=content_type.partition(";")[0].strip().lower(), truncated=truncated)
    if kind == "response" and (content_type.lower().startswith("application/http") or block[:5].upper() == b"HTTP/"):
        try:
            response = parse_response(block)
        except BodyTooLarge:
            return Page(outcomes.TOO_LARGE, truncated=truncated)
        if response.status == 0:
            return Page(outcomes.BROKEN_RECORD, truncated=truncated)
        truncated = truncated or ("body" if response.truncated else "")
    else:
        response = Response(0, {"content-type": content_type}, block, False)
    if response.status not in (0, 200):
        return Page(outcomes.HTTP_STATUS, status=response.status, mime=response.mime, truncated=truncated)
    return dataclasses.replace(_text(response, kind), truncated=truncated)


def _text(response: Response, kind: str) -> Page:
    body, mime = response.body, response.mime
    page = Page(outcomes.NOT_TEXT, status=response.status, mime=mime)
    if not body or body.isspace():
        return dataclasses.replace(page, outcome=outcomes.EMPTY_TEXT)
    html = _is_html(body, mime) and kind != "conversion"
    if not html and mime not in _TEXT_TYPES | _UNSAID:
        return page
    found = None if body.startswith(_BINARY) else decoded(body, charset_of(response.headers.get("content-type", "")))
    if found is None or _is_binary(found[0]):
        return page if found is None or mime in _UNSAID or not html else _unknown(page)
    text, charset = found
    if not text or text.isspace():
        return dataclasses.replace(page, outcome=outcomes.EMPTY_TEXT, charset=charset)
    return dataclasses.replace(page, outcome=0, text=text, html=html, charset=charset)


def _unknown(page: Page) -> Page:
    return dataclasses.replace(page, outcome=outcomes.UNKNOWN_CHARSET)


def _is_html(body: bytes, mime: str) -> bool:
    """By the media type, unless that says nothing; a picture that is called HTML isn't."""
    if mime in _HTML_TYPES:
        return True
    return mime in _UNSAID | {"text/plain"} and _MARKUP.match(body.lstrip(b"\xef\xbb\xbf")[:HEAD_BYTES]) is not None


def _is_binary(text: str) -> bool:
    """Whether control characters are more than text ever has."""
    head = text[:HEAD_BYTES]
    controls = sum(1 for c in head if c < " " and c not in "\t\n\r\f\x1b\x00") + head.count("\0")
    return controls > len(head) // 50 + 1
