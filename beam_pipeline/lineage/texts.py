"""A document's text as its source has it, and as its tokens have it."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tokenizers

from beam_pipeline.lineage import runs
from beam_pipeline.lineage.edited_texts import edits_of
from beam_pipeline.plan import read_plan
from beam_pipeline.settings import own_columns
from schemas.errors import ToldError
from schemas.shards import Shard, Source
from transforms.io.lineage import Lineage
from transforms.io.own_objects import opened
from transforms.io.pinned_files import PinnedFile, PinnedFileChanged
from transforms.io.postgres import Connection
from transforms.io.readers import ReadOptions, UnreadableSource, read, split


class TextGone(ToldError):
    """A text can't be shown as the run saw it."""


def texts_of(lineage: Lineage, found: dict[str, Any], output: str = "") -> dict[str, Any]:
    """The texts behind a row of the view ``lineage``.

    Args:
      lineage: where the row is from.
      found: the row.
      output: where the run's output is now, if it isn't where the run wrote it.

    Returns:
      ``source``: the text as its source has it, None if the row has none. Of a document that editors have changed also
      ``edits``, the lines that differ. Of a kept document also ``input_ids`` and ``decoded``, what they stand for,
      control tokens included; of a dropped duplicate also ``witness``, the text that it was dropped for.

    Raises:
      StorageError: an object is gone, or changed since the run read it.
      TextGone: a source or the tokenizer isn't what it was.
    """
    try:
        return _texts_of(lineage, found, output)
    except (UnreadableSource, PinnedFileChanged) as error:
        raise TextGone(f"{error}; without --text the lineage answers still") from error


def _texts_of(lineage: Lineage, found: dict[str, Any], output: str) -> dict[str, Any]:
    run = uuid.UUID(str(found["run"]))
    settings = runs.settings(lineage, str(run))
    options = reading_of(settings)
    texts = {"source": source_text(lineage, run, options, found["source_uri"], found["source_row"])}
    if texts["source"] and (edits := edits_of(settings, found, texts["source"], output)):
        texts["edits"] = edits
    if found["witness_uri"] is not None:
        other = uuid.UUID(str(found.get("witness_run") or run))  # of a corpus, maybe an earlier run
        options = options if other == run else reading_of(runs.settings(lineage, str(other)))
        texts["witness"] = source_text(lineage, other, options, found["witness_uri"], found["witness_row"])
    if found["token_object"] is None:
        return texts
    plan = read_plan(output or settings["output"])
    if plan is None:
        raise TextGone(f"{output or settings['output']} has no plan.json that can be read")
    if not plan.deciding.writes_tokens:
        return texts  # the run has written the text itself
    tokenizer = PinnedFile(settings["tokenizer"], plan.deciding.tokenizer_sha256)
    ids = token_ids(found["token_object"], found["token_row"])
    decoded = tokenizers.Tokenizer.from_buffer(tokenizer.read()).decode(ids, skip_special_tokens=False)
    return texts | {"decoded": decoded, "input_ids": ids}


def reading_of(settings: Mapping[str, Any]) -> ReadOptions:
    """How a run with these settings has read its sources."""
    plain_text = settings.get("plain_text", "no")  # not there in runs of before
    columns = settings["text_column"], settings["id_column"]
    of_inputs = own_columns(settings.get("input_columns", {}), *columns)
    return ReadOptions(*columns, int(settings["shard_bytes"]), plain_text, of_inputs=of_inputs)


def source_text(lineage: Lineage, run: uuid.UUID, options: ReadOptions, uri: str, row: int) -> str | None:
    """The text of a source's row, None if it has none that can be used. Reads the part of the source that it is in."""
    return text_in(*find_row(lineage, run, options, uri, row), options)


def text_in(shard: Shard, row: int, options: ReadOptions) -> str | None:
    """The text of a row of a source in a shard of it, as ``find_row`` finds it."""
    for batch in read_row(shard, row, options):
        for found, text in zip(batch["row"].to_pylist(), batch["text"].to_pylist(), strict=True):
            if found == row:
                return str(text) if text is not None else None
    return None


def find_row(lineage: Lineage, run: uuid.UUID, options: ReadOptions, uri: str, row: int) -> tuple[Shard, int]:
    """The shard that a source's row is in, as the run has split it or else as it is split now, and the row."""

    def query(connection: Connection) -> tuple[Source, int, list[Any]]:
        number, etag, size, rows = connection.execute(
            "SELECT number, etag, bytes, coalesce(rows, (SELECT sum(segment.rows) FROM segments AS segment"
            " WHERE segment.run = source.run AND segment.source = source.number))::bigint"
            " FROM sources AS source WHERE run = %s AND uri = %s",
            (run, uri),
        ).fetchall()[0]
        parts = connection.execute(
            "SELECT first_row, rows, counts -> 'part' FROM segments WHERE run = %s AND source = %s"
            " AND %s BETWEEN first_row AND first_row + rows - 1 AND counts ? 'part'",
            (run, number, row),
        ).fetchall()
        return Source(number, uri, etag, size), rows, parts

    source, rows_of_source, parts = lineage.read(query)
    for first_row, rows, part in parts:
        return Shard(source, 0, part["begin"], part["end"], first_row, rows, format=part["format"]), row
    for shard in split(source, options):
        rows = rows_of_source if shard.rows < 0 else shard.rows
        if 0 <= row - shard.first_row < rows:
            return dataclasses.replace(shard, rows=rows), row
    raise TextGone(f"{uri} has no row {row} any more")


def read_row(shard: Shard, row: int, options: ReadOptions) -> Iterator[pa.RecordBatch]:
    """The batches that a row of a source is in: of other rows nothing is decoded that needn't be."""
    keep = np.zeros(shard.rows, bool)
    keep[row - shard.first_row] = True
    return read(shard, options, keep)


def token_ids(uri: str, row: int) -> list[int]:
    """The token ids in a row of a token object. Reads one row group of one column."""
    with opened(uri) as file:
        parquet = pq.ParquetFile(file)
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if row < rows:
                return parquet.read_row_group(group, columns=["input_ids"])["input_ids"][row].as_py()
            row -= rows
    raise IndexError(f"{uri} has no row {row}")
