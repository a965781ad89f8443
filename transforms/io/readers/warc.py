"""WARC and WET: a record is a row; its text, if it is text. HTML is left to ``extract``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from schemas import outcomes, pages
from schemas.shards import Shard, Source
from transforms.io.read_options import ReadOptions
from transforms.io.readers.common import Warn
from transforms.io.readers.reader import FirstLook, Look, Reader, Rows
from transforms.io.readers.rows import Row, batches_of, row_of
from transforms.io.readers.streams import compression_in
from transforms.io.readers.warc_records import BROKEN, CUT_SHORT, TOO_LARGE, Record, records
from transforms.kernels.web.page import page_of

INFLATED = 4
"""About how many bytes of text are in a byte of a compressed WET file."""
FIELDS = {
    **dict.fromkeys(("record_id", "type", "url", "date", "digest"), pa.string()),
    **dict.fromkeys((pages.WARC_OFFSET, pages.WARC_LENGTH, pages.WARC_WITHIN), pa.int64()),
    "status": pa.int64(),
    "mime": pa.string(),
    "charset": pa.string(),
}
"""The columns that can be kept of a record, and their types."""
REASONS = {
    BROKEN: outcomes.BROKEN_RECORD,
    CUT_SHORT: outcomes.TRUNCATED_RECORD,
    TOO_LARGE: outcomes.TOO_LARGE,
}
"""What is wrong with a record -> its outcome."""


def is_warc(look: Look) -> bool:
    """Whether a source begins with a WARC record."""
    return look.text.lstrip(b"\r\n").startswith(b"WARC/")


def _split(source: Source, file: BinaryIO, look: Look) -> list[Shard]:
    return [Shard(source, size=source.size * (1 if look.compression == "plain" else INFLATED))]


def _first_look(source: Source, file: BinaryIO, look: Look) -> FirstLook:
    """The columns are those of ``fields_of``; the text has no name, so none is missing."""
    columns = tuple(FIELDS)
    types = {column.path: [FIELDS[column.path]] for column in look.options.columns if column.path in FIELDS}
    rows = look.text.count(b"WARC-Type:")
    return FirstLook(source, "", (look.options.text_column, *columns), rows, True, columns, types)


def _read(shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None, warn: Warn) -> Rows:
    return batches_of(shard, _rows(shard, file, keep), options, keep, warn=warn)


def _rows(shard: Shard, file: BinaryIO, keep: np.ndarray | None) -> Iterator[Row]:
    if shard.rows == 0:
        return
    skipped = Row(None, None, outcomes.NOT_A_PAGE)
    for number, record in enumerate(records(shard.source.uri, file, compression_in(file))):
        wanted = keep is None or (number < len(keep) and bool(keep[number]))
        yield row_of_record(record) if wanted else skipped


def row_of_record(record: Record) -> Row:
    """A record as a document: its id is the record's."""
    fields = fields_of(record)
    identifier = fields["record_id"]
    if record.reason:
        return Row(identifier, None, REASONS[record.reason], fields)
    page = page_of(record.type, record.headers, record.block)
    fields |= {"status": page.status or None, "mime": page.mime or None, "charset": page.charset or None}
    if page.outcome:
        return Row(identifier, None, page.outcome, fields)
    return Row(identifier, None, outcomes.NOT_EXTRACTED, fields) if page.html else row_of(identifier, page.text, fields)


def fields_of(record: Record) -> dict[str, Any]:
    """What a record says of itself, and where it is: the columns that can be kept."""
    return {
        "record_id": record.headers.get("warc-record-id") or None,
        "type": record.type or None,
        "url": record.url or None,
        "date": record.headers.get("warc-date"),
        "digest": record.headers.get("warc-payload-digest") or record.headers.get("warc-block-digest"),
        pages.WARC_OFFSET: record.offset,
        pages.WARC_LENGTH: record.length or None,
        pages.WARC_WITHIN: record.within,
    }


READER = Reader("warc", is_warc, _split, _read, _first_look, format="warc")
