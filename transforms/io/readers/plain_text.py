"""Plain text, compressed or not: a document is the file or a paragraph, as the setting ``plain_text`` says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from schemas import outcomes
from schemas.shards import Shard, Source
from transforms.io.read_options import ReadOptions
from transforms.io.readers.common import MAX_LINE_BYTES, UnreadableSource, Warn
from transforms.io.readers.formats import is_record, refusal
from transforms.io.readers.reader import FirstLook, Look, Reader, Rows
from transforms.io.readers.rows import Row, batches_of, row_of
from transforms.io.readers.streams import compression_in, decompress, whole_lines

INFLATED = 3


def _matches(look: Look) -> bool:
    """The setting asks for it, and it is nothing else: no other format, no JSON Lines, no bytes that aren't text."""
    if look.options.plain_text == "no" or not look.size or refusal(look.head):
        return False
    return b"\0" not in look.text and not any(map(is_record, look.text.split(b"\n")[:100]))


def _split(source: Source, file: BinaryIO, look: Look) -> list[Shard]:
    return [Shard(source, size=source.size * (1 if look.compression == "plain" else INFLATED))]


def _first_look(source: Source, file: BinaryIO, look: Look) -> FirstLook:
    return FirstLook(source, "", (look.options.text_column,), 1, True)


def _read(shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None, warn: Warn) -> Rows:
    texts = _paragraphs(shard, file, warn) if options.plain_text == "paragraph" else _file(shard, file, warn)
    return batches_of(shard, map(_row, texts), options, keep, warn=warn)


def _row(data: bytes) -> Row:
    try:
        return row_of(None, data.decode())
    except UnicodeDecodeError:
        return Row(None, None, outcomes.INVALID_UTF8)


def _stream(shard: Shard, file: BinaryIO, warn: Warn) -> Iterator[bytes]:
    return decompress(shard.source.uri, file, compression_in(file), warn)


def _file(shard: Shard, file: BinaryIO, warn: Warn) -> Iterator[bytes]:
    """All of it."""
    parts: list[bytes] = []
    size = 0
    for chunk in _stream(shard, file, warn):
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_LINE_BYTES:
            raise UnreadableSource(shard.source.uri, f"more than {MAX_LINE_BYTES} bytes, too many for one document")
    yield b"".join(parts).removeprefix(b"\xef\xbb\xbf")


def _paragraphs(shard: Shard, file: BinaryIO, warn: Warn) -> Iterator[bytes]:
    """Runs of lines that aren't blank."""
    held: list[bytes] = []
    size = 0
    for lines in whole_lines(shard.source.uri, _stream(shard, file, warn)):
        for line in lines:
            if line and not line.isspace():
                held.append(line)
                size += len(line)
                if size > MAX_LINE_BYTES:
                    raise UnreadableSource(shard.source.uri, f"a paragraph of more than {MAX_LINE_BYTES} bytes")
            elif held:
                yield b"\n".join(held)
                held, size = [], 0
    if held:
        yield b"\n".join(held)


READER = Reader("plain text", _matches, _split, _read, _first_look, format="text")
