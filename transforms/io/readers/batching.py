"""Cuts a stream of documents into batches whose bounds depend on the documents alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import DOCUMENTS
from transforms.io.readers.common import BATCH_BYTES, BATCH_ROWS


def string_lengths(values: pa.Array) -> np.ndarray:
    """Bytes of each value of a string array, 0 where it is null (int64)."""
    # Parquet's and our own nulls take no bytes, so the offsets alone tell.
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    return np.diff(offsets).astype(np.int64) if len(values) else np.zeros(0, np.int64)


def value_bytes(values: pa.Array) -> np.ndarray:
    """About how many bytes each value of an array of any type has (int64): those of its strings and lists."""
    kind = values.type
    if pa.types.is_struct(kind):
        return sum(map(value_bytes, values.flatten()), np.zeros(len(values), np.int64))
    if pa.types.is_map(kind):
        return value_bytes(values.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))))
    if pa.types.is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
        ends = np.cumsum(lengths, dtype=np.int64)
        inner = np.concatenate([[0], np.cumsum(8 + value_bytes(pc.list_flatten(values)))])
        return inner[ends] - inner[ends - lengths]
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return pc.fill_null(pc.binary_length(values), 0).to_numpy().astype(np.int64)
    return np.zeros(len(values), np.int64)


def cut_batches(pieces: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Joins and cuts batches of ``schemas.columns.DOCUMENTS``, with kept columns, greedily, in order.

    A batch ends before the row with which its texts, ids and kept values would exceed ``BATCH_BYTES``, and after
    ``BATCH_ROWS`` rows; a larger document is alone in its batch. How the input was cut leaves no trace. Batches own
    their memory: offsets are 0 and nothing beyond the batch is kept alive or pickled. One copy of the text, 0.2 ms/MB.
    """
    held: list[pa.RecordBatch] = []
    held_bytes = held_rows = 0
    for piece in pieces:
        sizes = string_lengths(piece["text"]) + string_lengths(piece["id"])
        for kept in piece.columns[len(DOCUMENTS) :]:
            sizes += value_bytes(kept)
        ends = np.cumsum(sizes)
        start = 0
        while start < piece.num_rows:
            before = int(ends[start - 1]) if start else 0
            stop = int(np.searchsorted(ends, before + BATCH_BYTES - held_bytes, side="right"))
            stop = min(stop, start + BATCH_ROWS - held_rows)
            if stop <= start and held_rows == 0:
                stop = start + 1
            if stop > start:
                held.append(piece.slice(start, stop - start))
                held_bytes += int(ends[stop - 1]) - before
                held_rows += stop - start
                start = stop
            if start < piece.num_rows:
                yield _joined(held)
                held, held_bytes, held_rows = [], 0, 0
    if held_rows:
        yield _joined(held)


def _joined(held: list[pa.RecordBatch]) -> pa.RecordBatch:
    schema = held[0].schema
    columns = [pa.concat_arrays([batch.column(i) for batch in held]) for i in range(len(schema))]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def cut_batches_reference(weights: list[int]) -> list[int]:
    """Rows of each batch that ``cut_batches`` makes of documents of these many bytes: row by row."""
    rows: list[int] = []
    total = 0
    for weight in weights:
        if not rows or total + weight > BATCH_BYTES or rows[-1] == BATCH_ROWS:
            rows.append(0)
            total = 0
        rows[-1] += 1
        total += weight
    return rows
