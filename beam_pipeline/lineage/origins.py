"""From a document of a run on to the record of a web archive, or the member of an archive, that its text was in."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import pyarrow as pa

from beam_pipeline.lineage import runs
from beam_pipeline.lineage.texts import TextGone, find_row, read_row, reading_of
from schemas import pages
from schemas.shards import Shard
from transforms.io import storage
from transforms.io.kept_columns import KeptColumn
from transforms.io.lineage import Lineage
from transforms.io.readers import ReadOptions, UnreadableSource
from transforms.io.readers.archives import MEMBER, MEMBER_ROW
from transforms.io.readers.streams import compression_in
from transforms.io.readers.warc_records import record_at

_TEXTS, _NUMBERS = ("url", "date", pages.WARC_FILE), (pages.WARC_OFFSET, pages.WARC_LENGTH, pages.WARC_WITHIN)
_OF_ARCHIVE = (KeptColumn(MEMBER, MEMBER, pa.string()), KeptColumn(MEMBER_ROW, MEMBER_ROW, pa.int64()))
_OF_RECORD = (
    *(KeptColumn(name, name, pa.string()) for name in _TEXTS),
    *(KeptColumn(name, name, pa.int64()) for name in _NUMBERS),
)


def origin_of(lineage: Lineage, found: dict[str, Any]) -> dict[str, Any]:
    """Where in which archive a document is, by the row of its source; nothing for other documents.

    Args:
      found: a row of the view ``lineage``.

    Returns:
      ``url``, ``date``, ``record_id``, ``warc_file``, ``warc_offset``, ``warc_length``, ``warc_within``
      (``schemas.pages``); of a zip or tar, ``member`` and ``member_row``; or ``origin`` with the reason why the source
      can't be asked.
    """
    run = uuid.UUID(str(found["run"]))
    settings = runs.settings(lineage, str(run))
    if "text_column" not in settings:  # recorded by another program than the pipeline: it has read no source
        return {}
    options = reading_of(settings)
    try:
        shard, row = find_row(lineage, run, options, found["source_uri"], found["source_row"])
        columns = {"parquet": _OF_RECORD, "warc": _OF_RECORD, "archive": _OF_ARCHIVE}.get(shard.format, ())
        return _values(shard, row, dataclasses.replace(options, columns=columns)) if columns else {}
    except (storage.StorageError, UnreadableSource, TextGone) as error:
        return {"origin": f"isn't known: {error}"}


def fetch(origin: dict[str, Any]) -> bytes:
    """The record of a web archive as it is stored there, decompressed: its headers and all that follows.

    Args:
      origin: of ``origin_of``.

    Raises:
      TextGone: the document isn't from a web archive, or the archive has another record there by now.
      StorageError: the archive can't be read.
    """
    if pages.WARC_FILE not in origin:
        raise TextGone("--fetch: " + origin.get("origin", "the document isn't from a web archive"))
    uri, offset, within = (origin[name] for name in (pages.WARC_FILE, pages.WARC_OFFSET, pages.WARC_WITHIN))
    with storage.open_input(uri) as file:
        found = record_at(uri, file, compression_in(file), offset, within)
    if found is None or found.headers.get("warc-record-id") != origin["record_id"]:
        raise TextGone(f"{uri}: there is no record {origin['record_id']} at byte {offset} any more")
    return found.head + found.block


def _values(shard: Shard, row: int, options: ReadOptions) -> dict[str, Any]:
    """What the source's row has in these columns, without those that it hasn't."""
    names = [column.name for column in options.columns]
    for batch in read_row(shard, row, options):
        for found in batch.select(["row", "id", *names]).to_pylist():
            if found.pop("row") == row:
                values = {name: value for name, value in found.items() if value is not None}
                if shard.format == "warc":
                    values[pages.WARC_FILE] = shard.source.uri
                if pages.WARC_FILE in values:
                    values["record_id"] = values.get("id")
                elif shard.format == "parquet":
                    return {}
                values.pop("id", None)
                return values
    return {}
