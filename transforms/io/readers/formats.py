"""What a file is, told by its first 64 KiB and never by its name.

What has a reader is read (``transforms.io.readers.registry``). Anything else that people bring by mistake is named,
with what to do about it, before its bytes are taken for a million broken lines. What isn't recognized is read as JSON
Lines; if no line of it can be used, that is the reason then (``transforms.io.readers.common.Usable``).
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import orjson

from transforms.io.readers.streams import BOM, beginning, compression_of

HEAD_BYTES = 1 << 16
PARQUET_MAGIC = b"PAR1"
READ_FORMATS = (
    "Parquet, Arrow IPC, JSON Lines, WARC, WET, CSV, TSV and zip or tar of these are read (docs/reading.md); of plain "
    "text say with plain_text what a document is"
)
LINES_TRIED = 100

_UNPACK = "unpack it first"
_AS_PARQUET = "write it as Parquet or JSON Lines first"
_EXTRACT = "extract its texts into Parquet or JSON Lines first"

# (place, bytes there, name, what to do)
_MAGICS: list[tuple[int, bytes, str, str]] = [
    (0, b"PARE", "an encrypted Parquet file", "decrypt it first, no keys are taken"),
    (0, b"\x5d\0\0", "lzma", "decompress it first (unlzma)"),
    (0, b"LZIP", "lzip", "decompress it first (lzip -d)"),
    (0, b"\x02\x21\x4c\x18", "lz4 in its old form", "decompress it first (lz4 -d)"),
    (0, b"\xff\x06\0\0sNaPpY", "framed snappy", "decompress it first"),
    (0, b"\x89LZO", "lzop", "decompress it first (lzop -d)"),
    (0, b"\x1f\x9d", "compress (.Z)", "decompress it first (uncompress)"),
    (0, b"PK\x05\x06", "an empty zip archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (0, b"!<arch>\n", "an ar archive", _UNPACK),
    (0, b"070701", "a cpio archive", _UNPACK),
    (0, b"filedesc://", "an ARC web archive", _EXTRACT),
    (0, b"ORC", "ORC", _AS_PARQUET),
    (0, b"Obj\x01", "Avro", _AS_PARQUET),
    (0, b"FEA1", "Feather", _AS_PARQUET),
    (0, b"SQLite format 3\0", "an SQLite database", _AS_PARQUET),
    (8, b"DUCK", "a DuckDB database", _AS_PARQUET),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5", _AS_PARQUET),
    (0, b"\x93NUMPY", "a NumPy array", _AS_PARQUET),
    (0, b"\x80\x02", "a Python pickle", _AS_PARQUET),
    (0, b"\x80\x03", "a Python pickle", _AS_PARQUET),
    (0, b"\x80\x04", "a Python pickle", _AS_PARQUET),
    (0, b"\x80\x05", "a Python pickle", _AS_PARQUET),
    (0, b"\xff\xfe\0\0", "UTF-32 text", "convert it to UTF-8 first (iconv)"),
    (0, b"\0\0\xfe\xff", "UTF-32 text", "convert it to UTF-8 first (iconv)"),
    (0, b"\xff\xfe", "UTF-16 text", "convert it to UTF-8 first (iconv)"),
    (0, b"\xfe\xff", "UTF-16 text", "convert it to UTF-8 first (iconv)"),
    (0, b"%PDF-", "a PDF file", _EXTRACT),
    (0, b"%!PS", "PostScript", _EXTRACT),
    (0, b"{\\rtf", "RTF", _EXTRACT),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Microsoft Office file", _EXTRACT),
    (0, b"\x89PNG\r\n", "a PNG picture", _EXTRACT),
    (0, b"\xff\xd8\xff", "a JPEG picture", _EXTRACT),
    (0, b"GIF8", "a GIF picture", _EXTRACT),
    (0, b"II*\0", "a TIFF picture", _EXTRACT),
    (0, b"MM\0*", "a TIFF picture", _EXTRACT),
    (0, b"RIFF", "a sound, video or picture file", _EXTRACT),
    (0, b"ID3", "a sound file", _EXTRACT),
    (0, b"OggS", "a sound or video file", _EXTRACT),
    (0, b"fLaC", "a sound file", _EXTRACT),
    (4, b"ftyp", "a video or picture file", _EXTRACT),
    (0, b"\x1a\x45\xdf\xa3", "a video file", _EXTRACT),
    (0, b"\x7fELF", "a program", ""),
    (0, b"GGUF", "a GGUF model", ""),
    (5, b'\0\0\0{"', "a safetensors model", ""),
    (0, b"\x1e", "a JSON text sequence (RFC 7464)", "take out the record separators (tr -d '\\036')"),
]
_RECORD = re.compile(rb'\s*{\s*["}]')
_IN_UTF16 = re.compile(rb"[\[{]\0[\s\S]\0|\0[\[{]\0[\s\S]")
_TAG = re.compile(rb"\s*<(!doctype html|html|head|body|\?xml|!--|[a-z][\w:-]*[\s>/])", re.IGNORECASE)


def refusal(head: bytes) -> str:
    """Why a file that begins so can't be read: what it is and what to do. Empty if it may be JSON Lines."""
    head = head[:HEAD_BYTES]
    compression = compression_of(head)
    within = "" if compression == "plain" else f" in {compression}"
    inner = beginning(head, compression, HEAD_BYTES)
    if within and inner.startswith(PARQUET_MAGIC):
        return _sentence(
            f"a Parquet file{within}", f"decompress it first ({compression} -d): Parquet compresses by itself"
        )
    if within and compression_of(inner) != "plain":
        return _sentence(f"{compression_of(inner)}{within}", f"decompress it first ({compression} -d)")
    found = _magic(inner) or _json(inner, max(len(head), len(inner)) < HEAD_BYTES) or _markup(inner)
    return _sentence(found[0] + within, found[1]) if found else ""


def _sentence(name: str, remedy: str) -> str:
    return f"is {name}; {remedy + '. Only ' if remedy else 'only '}{READ_FORMATS}"


def _magic(head: bytes) -> tuple[str, str] | None:
    if _RECORD.match(head.removeprefix(BOM)):
        return None  # bytes in the midst of a record mean nothing
    for place, magic, name, remedy in _MAGICS:
        if head.startswith(magic, place):
            return name, remedy
    if _IN_UTF16.match(head):
        return "UTF-16 text", "convert it to UTF-8 first (iconv)"
    return None


def is_tar(head: bytes) -> bool:
    """By the checksum of the first header, which every kind of tar has."""
    header = head[:512]
    with contextlib.suppress(ValueError):
        checksum = int(header[148:156].strip(b" \0") or b"-1", 8)
        return len(header) == 512 and checksum == sum(header[:148]) + 8 * 0x20 + sum(header[156:])
    return False


def _json(head: bytes, whole: bool) -> tuple[str, str] | None:
    """JSON that isn't one record a line."""
    text = head.removeprefix(BOM).lstrip()
    if whole and text.startswith(b"[") and isinstance(_value(text), list):
        return "one JSON array", "write one record a line (jq -c '.[]')"
    if not text.startswith((b"[", b"{")):
        return None
    lines = [line for line in text.split(b"\n")[: None if whole else -1] if line.strip()]
    if text.startswith(b"["):
        if any(isinstance(_value(line), dict | list) for line in lines[:LINES_TRIED]):
            return None
        begun = re.match(rb'\[\s*([\[{"\d-]|true|false|null)', text)
        return ("one JSON array", "write one record a line (jq -c '.[]')") if begun else None
    if len(lines) > 1 and all(_with_comma(line) for line in lines[:-1][:LINES_TRIED]):
        return "JSON records with commas between them", r"write one record a line (sed 's/},[[:space:]]*$/}/')"
    return _records(text, any(isinstance(_value(line), dict) for line in lines[:LINES_TRIED]))


def _records(text: bytes, has_lines: bool) -> tuple[str, str] | None:
    """Records that have several lines, or several of which are in one line."""
    characters = text.decode(errors="replace")
    try:
        value, end = json.JSONDecoder().raw_decode(characters)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    rest = characters[end:]
    if "\n" in characters[:end] and rest.lstrip()[:1] in ("", "{", ","):
        return "JSON records of several lines each", "write one record a line (jq -c .)"
    if not has_lines and rest.lstrip(" \t\r")[:1] == "{":
        return "JSON records without line breaks between them", "write one record a line (jq -c .)"
    return None


def _with_comma(line: bytes) -> bool:
    line = line.rstrip()
    return line.endswith(b",") and isinstance(_value(line[:-1]), dict)


def _value(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(data)
    return None


def is_record(line: bytes) -> bool:
    """Whether a line is a JSON object."""
    return isinstance(_value(line), dict)


def _markup(head: bytes) -> tuple[str, str] | None:
    """HTML and XML; of other text the lines themselves tell that they are no JSON."""
    text = head.removeprefix(BOM).lstrip()
    lines = text.split(b"\n")
    if not text or any(map(is_record, lines[:LINES_TRIED])):
        return None
    if markup := _TAG.match(text):
        return ("HTML" if markup[1].lower() in (b"!doctype html", b"html", b"head", b"body") else "XML"), _EXTRACT
    return None
