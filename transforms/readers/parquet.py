"""Parquet sources: shards are runs of row groups, rows are read a small piece at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_pipeline import storage
from schemas import outcomes
from schemas.columns import DOCUMENTS
from schemas.shards import MAX_ROWS_PER_SOURCE, Shard, Source
from transforms.readers.batching import cut_batches
from transforms.readers.common import MIB, SHARD_ROWS, ReadOptions, UnreadableSource

MAGIC = b"PAR1"
PIECE_ROWS = 1024  # rows decoded at once: 3 MB of ordinary documents
PIECE_BYTES = 4 * MIB
FETCH_BYTES = 16 * MIB  # compressed bytes of neighbouring small row groups that are fetched together
DECODED_BYTES = 1 << 30  # what is decoded at once has to fit 32-bit offsets, whatever a dictionary expands to


@contextlib.contextmanager
def _decoding(uri: str, where: str) -> Iterator[None]:
    """What pyarrow says of bad data becomes ``UnreadableSource``; faults of the storage and lack of memory pass.

    pyarrow raises plain ``OSError`` for corrupt data, and passes on what the file object raised, which is always a
    ``StorageError``.
    """
    try:
        yield
    except (storage.StorageError, MemoryError):
        raise
    except (OSError, pa.ArrowException, UnicodeDecodeError, OverflowError) as error:
        raise UnreadableSource(uri, f"{where}: {str(error).strip() or type(error).__name__}") from error


def split_parquet(source: Source, file: BinaryIO, options: ReadOptions) -> list[Shard]:
    """The shards of a Parquet file, from its footer: see ``transforms.readers.split``."""
    try:
        parquet = _open(source, file)
        column, _ = _text_column(source, parquet, options)
        with _decoding(source.uri, "the footer"):
            return _plan(source, parquet.metadata, column, options)
    except UnreadableSource as unreadable:
        return [Shard(source, error=unreadable.reason)]


def _open(source: Source, file: BinaryIO) -> pq.ParquetFile:
    with _decoding(source.uri, "the Parquet footer can't be read"):
        # pre_buffer merges the column chunks of a row group into few large reads, which is what counts on S3.
        parquet = pq.ParquetFile(file, pre_buffer=True, page_checksum_verification=True)
        _ = parquet.schema_arrow
        return parquet


def _plan(source: Source, metadata: pq.FileMetaData, column: int, options: ReadOptions) -> list[Shard]:
    if metadata.num_rows > MAX_ROWS_PER_SOURCE:
        raise UnreadableSource(source.uri, f"{metadata.num_rows} rows, but a source can have {MAX_ROWS_PER_SOURCE}")
    shards: list[Shard] = []
    first_group = first_row = row = text_bytes = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        too_many_rows = row + row_group.num_rows - first_row > SHARD_ROWS
        if group > first_group and (text_bytes >= options.shard_bytes or too_many_rows):
            shards.append(Shard(source, first_group, group - first_group, first_row, row - first_row))
            first_group, first_row, text_bytes = group, row, 0
        row += row_group.num_rows
        text_bytes += row_group.column(column).total_uncompressed_size
    if metadata.num_row_groups:
        shards.append(Shard(source, first_group, metadata.num_row_groups - first_group, first_row, row - first_row))
    if row != metadata.num_rows:
        raise UnreadableSource(source.uri, f"the footer counts {metadata.num_rows} rows, its row groups {row}")
    return shards or [Shard(source, rows=0)]


def _is_text(kind: pa.DataType, declared_utf8: bool) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return declared_utf8
    # A column of nulls only is written without a type; pyarrow 16 reads string_view as string.
    return pa.types.is_null(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _text_column(source: Source, parquet: pq.ParquetFile, options: ReadOptions) -> tuple[int, str | None]:
    """Number of the text's leaf column, and name of the id column, None if it can't be had."""
    with _decoding(source.uri, "the Parquet schema can't be read"):
        schema = parquet.schema_arrow
        names = list(schema.names)
        leaves = [parquet.schema.column(i) for i in range(len(parquet.schema))]
        found = names.count(options.text_column)
        if found != 1:
            shown = ", ".join(names[:50]) + (", ..." if len(names) > 50 else "")
            many = f"{found} columns named" if found else "no column"
            raise UnreadableSource(
                source.uri, f"{many} {options.text_column!r} (text_column); its columns are: {shown}"
            )
        kind = schema.field(options.text_column).type
        index = next((i for i, leaf in enumerate(leaves) if leaf.path == options.text_column), -1)
        if index < 0 or not _is_text(kind, leaves[index].converted_type == "UTF8"):
            raise UnreadableSource(source.uri, f"column {options.text_column!r} (text_column) is {kind}, not a string")
        has_id = names.count(options.id_column) == 1
        return index, options.id_column if has_id and _is_primitive(schema.field(options.id_column).type) else None


def _is_primitive(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if isinstance(kind, pa.BaseExtensionType) or pa.types.is_nested(kind) or pa.types.is_float16(kind):
        return False
    return not pa.types.is_null(kind)


def read_parquet(
    shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None
) -> Iterator[pa.RecordBatch]:
    """The rows of a shard: see ``transforms.readers.read``."""
    return cut_batches(_pieces(shard, file, options, keep))


def _pieces(shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None) -> Iterator[pa.RecordBatch]:
    uri = shard.source.uri
    parquet = _open(shard.source, file)
    text_index, id_name = _text_column(shard.source, parquet, options)
    columns = [options.text_column] + ([id_name] if id_name else [])
    for groups, first, rows in _fetches(shard, parquet, text_index, keep):
        where = f"row group {groups[0]}" if len(groups) == 1 else f"row groups {groups[0]} to {groups[-1]}"
        wanted = None if keep is None else keep[first : first + rows]
        batch_rows = _batch_rows(parquet.metadata, groups, text_index)
        batches = parquet.iter_batches(batch_rows, row_groups=groups, columns=columns, use_threads=False)
        done = 0
        while True:
            with _decoding(uri, where):
                batch = next(batches, None)
            if batch is None:
                break
            rows_of_batch = np.arange(batch.num_rows) + shard.first_row + first + done
            texts = batch.column(batch.schema.get_field_index(options.text_column))
            ids = batch.column(batch.schema.get_field_index(id_name)) if id_name else None
            if wanted is not None and not wanted[done : done + batch.num_rows].all():
                mask = pa.array(wanted[done : done + batch.num_rows])
                with _decoding(uri, where):
                    texts, ids = texts.filter(mask), ids.filter(mask) if ids is not None else None
                rows_of_batch = rows_of_batch[wanted[done : done + batch.num_rows]]
            done += batch.num_rows
            with _decoding(uri, where):
                yield from _documents(rows_of_batch, texts, ids)
        if done != rows:
            raise UnreadableSource(uri, f"{where}: the footer says {rows} rows, but the pages hold {done}")


def _fetches(
    shard: Shard, parquet: pq.ParquetFile, text_index: int, keep: np.ndarray | None
) -> Iterator[tuple[list[int], int, int]]:
    """Runs of row groups to fetch together: (row groups, first row within the shard, rows).

    Small neighbours go together, row groups of which nothing is wanted are left out.
    """
    groups: list[int] = []
    first = rows = held = row = 0
    for group in range(shard.first_row_group, shard.first_row_group + shard.row_groups):
        with _decoding(shard.source.uri, f"row group {group} in the footer"):
            row_group = parquet.metadata.row_group(group)
            size, count = row_group.column(text_index).total_compressed_size, row_group.num_rows
        wanted = keep is None or bool(keep[row : row + count].any())
        if groups and (not wanted or held + size > FETCH_BYTES):
            yield groups, first, rows
            groups = []
        if wanted:
            if not groups:
                first, rows, held = row, 0, 0
            groups.append(group)
            rows += count
            held += size
        row += count
    if groups:
        yield groups, first, rows
    if row != shard.rows:
        raise UnreadableSource(
            shard.source.uri, f"{row} rows in the shard's row groups, {shard.rows} when it was split"
        )


def _batch_rows(metadata: pq.FileMetaData, groups: list[int], text_index: int) -> int:
    """Rows to decode at once, so that a piece is some MiB; 1 for documents of many MiB."""
    rows = sum(metadata.row_group(group).num_rows for group in groups)
    size = sum(metadata.row_group(group).column(text_index).total_uncompressed_size for group in groups)
    return max(1, min(PIECE_ROWS, PIECE_BYTES * rows // max(1, size)))


def _documents(rows: np.ndarray, texts: pa.Array, ids: pa.Array | None) -> Iterator[pa.RecordBatch]:
    """Rows as read -> batches of ``DOCUMENTS``; halved while the texts would exceed 32-bit offsets."""
    if len(rows) > 1 and _decoded_bytes(texts) > DECODED_BYTES:
        half = len(rows) // 2
        yield from _documents(rows[:half], texts[:half], None if ids is None else ids[:half])
        yield from _documents(rows[half:], texts[half:], None if ids is None else ids[half:])
        return
    text = _as_string(texts)
    outcome = np.zeros(len(rows), np.uint8)
    outcome[pc.equal(pc.binary_length(text), 0).fill_null(False).to_numpy(zero_copy_only=False)] = outcomes.EMPTY_TEXT
    outcome[invalid_utf8(text)] = outcomes.INVALID_UTF8
    outcome[text.is_null().to_numpy(zero_copy_only=False)] = outcomes.NULL_TEXT
    out = outcome != 0
    if out.any():
        text = pc.if_else(pa.array(out), pa.scalar(None, pa.string()), text)
    identifier = pa.nulls(len(rows), pa.string()) if ids is None else _identifiers(ids)
    columns = [pa.array(rows, pa.uint32()), identifier, text, pa.array(outcome, mask=~out)]
    yield pa.RecordBatch.from_arrays(columns, schema=DOCUMENTS)


def _decoded_bytes(values: pa.Array) -> int:
    if not pa.types.is_dictionary(values.type):
        return values.nbytes
    lengths = pc.binary_length(_as_string(values.dictionary))
    return pc.sum(pc.take(lengths, values.indices)).as_py() or 0


def _as_string(values: pa.Array) -> pa.Array:
    """Any string-like array as ``string``, bytes as they are: nothing is checked."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_null(values.type):
        return values.cast(pa.string())
    if pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type):
        values = values.view(pa.large_binary()).cast(pa.binary())
    return values.view(pa.string())


def invalid_utf8(text: pa.Array) -> np.ndarray:
    """Mask of the values of a string array that aren't UTF-8 (bool); 5,000 MB/s while there are none."""
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return invalid_utf8_reference(text)
    return np.zeros(len(text), bool)


def invalid_utf8_reference(text: pa.Array) -> np.ndarray:
    """``invalid_utf8``, value by value."""
    invalid = np.zeros(len(text), bool)
    for i, value in enumerate(text.view(pa.binary())):
        data = value.as_py()
        if data is not None:
            try:
                data.decode()
            except UnicodeDecodeError:
                invalid[i] = True
    return invalid


def _identifiers(ids: pa.Array) -> pa.Array:
    """Ids of any primitive type as strings, null where they aren't UTF-8."""
    if pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    kind = ids.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        ids = ids.view(pa.timestamp(kind.unit))  # UTC, whatever time zones this machine knows
    if pa.types.is_fixed_size_binary(kind):
        ids = ids.cast(pa.binary())
    if _is_text(ids.type, declared_utf8=True):
        ids = _as_string(ids)
        invalid = invalid_utf8(ids)
        return pc.if_else(pa.array(invalid), pa.scalar(None, pa.string()), ids) if invalid.any() else ids
    return ids.cast(pa.string())
