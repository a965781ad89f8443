"""From single rows to batches: for readers of formats that are decoded row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from schemas import outcomes
from schemas.shards import MAX_ROWS_PER_SOURCE, Shard
from transforms.io.kept_columns import lookup
from transforms.io.read_options import MIB, ReadOptions
from transforms.io.readers.batching import cut_batches
from transforms.io.readers.common import UnreadableSource, Usable, Warn, log_warning
from transforms.io.readers.kept_values import KeptValues

PIECE_BYTES, PIECE_ROWS = 2 * MIB, 1 << 14  # of rows turned into Arrow at once


class Row(NamedTuple):
    """One row: ``text`` is None exactly where ``outcome`` isn't 0; ``fields`` has the values that can be kept."""

    id: str | None
    text: str | None
    outcome: int = 0
    fields: Mapping[str, Any] = {}


def row_of(identifier: str | None, text: str | None, fields: Mapping[str, Any] | None = None) -> Row:
    """A row whose text is usable unless it's missing, empty, or has a lone surrogate in it."""
    fields = fields or {}
    if text is None:
        return Row(identifier, None, outcomes.NULL_TEXT, fields)
    if not text:
        return Row(identifier, None, outcomes.EMPTY_TEXT, fields)
    try:
        text.encode()
    except UnicodeEncodeError:
        return Row(identifier, None, outcomes.INVALID_UTF8, fields)
    return Row(identifier, text, 0, fields)


def batches_of(
    shard: Shard,
    rows: Iterator[Row],
    options: ReadOptions,
    keep: np.ndarray | None,
    hint: str = "",
    warn: Warn | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a shard, all of them in order -> batches as ``transforms.io.readers.read`` promises them.

    Args:
      rows: every row of the shard; those that ``keep`` doesn't want are left out here.
      hint: what a whole source looks like of which no row can be used.
      warn: takes which kept columns had values of another type; by default that is logged.
    """
    return cut_batches(_pieces(shard, rows, options, keep, hint, warn))


def _pieces(
    shard: Shard, rows: Iterator[Row], options: ReadOptions, keep: np.ndarray | None, hint: str, warn: Warn | None
) -> Iterator[pa.RecordBatch]:
    uri = shard.source.uri
    usable, kept = Usable(), KeptValues(uri, options)
    held: list[Row] = []
    places: list[int] = []
    count = held_bytes = 0
    for row in rows:
        if keep is None or (count < len(keep) and keep[count]):
            held.append(row)
            places.append(shard.first_row + count)
            held_bytes += len(row.text or "")
        count += 1
        if shard.first_row + count > MAX_ROWS_PER_SOURCE:
            raise UnreadableSource(uri, f"more than {MAX_ROWS_PER_SOURCE} rows, the most that a source can have")
        if held_bytes >= PIECE_BYTES or len(held) >= PIECE_ROWS:
            piece = _piece(places, held, options, kept)
            usable.count(piece)
            yield piece
            held, places, held_bytes = [], [], 0
    if held:
        piece = _piece(places, held, options, kept)
        usable.count(piece)
        yield piece
    if keep is not None and count != len(keep):
        raise ValueError(f"keep: has {len(keep)} rows, but {uri} has {count}")
    if shard.rows not in (-1, count):
        raise UnreadableSource(uri, f"it has {count} rows, but had {shard.rows} before")
    if keep is None and shard.whole:
        usable.refuse_if_none(uri, options, hint)
    kept.tell(warn or log_warning(uri))


def _piece(places: list[int], rows: list[Row], options: ReadOptions, kept: KeptValues) -> pa.RecordBatch:
    outcome = np.array([row.outcome for row in rows], np.uint8)
    columns = [
        pa.array(places, pa.uint32()),
        pa.array([row.id for row in rows], pa.string()),
        pa.array([row.text for row in rows], pa.string()),
        pa.array(outcome, mask=outcome == 0),
    ]
    columns += kept.arrays(np.array(places), [[lookup(row.fields, path) for path in kept.paths] for row in rows])
    return pa.RecordBatch.from_arrays(columns, schema=options.schema)
