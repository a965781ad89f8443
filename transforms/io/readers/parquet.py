"""Parquet sources: shards are runs of row groups, rows are read a small piece at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import outcomes
from schemas.columns import DOCUMENTS
from schemas.shards import MAX_ROWS_PER_SOURCE, Shard, Source
from transforms.io.kept_columns import KeptColumn
from transforms.io.read_options import MIB, ReadOptions
from transforms.io.readers.batching import cut_batches
from transforms.io.readers.column_types import common_type
from transforms.io.readers.common import SHARD_ROWS, UnreadableSource, Usable, Warn, decoding
from transforms.io.readers.formats import PARQUET_MAGIC
from transforms.io.readers.kept_values import KeptArrays
from transforms.io.readers.parquet_footer import Footer, names_of, read_footer
from transforms.io.readers.parquet_schema import Column
from transforms.io.readers.reader import FirstLook, Look, Reader
from transforms.kernels.text.utf8 import all_utf8

PIECE_ROWS = 1024  # rows decoded at once: 3 MB of ordinary documents
PIECE_BYTES = 4 * MIB
FETCH_BYTES = 16 * MIB  # compressed bytes of neighbouring small row groups that are fetched together
DECODED_BYTES = 1 << 30  # what is decoded at once has to fit 32-bit offsets, whatever a dictionary expands to


def _matches(look: Look) -> bool:
    return look.head.startswith(PARQUET_MAGIC) or look.tail.endswith(PARQUET_MAGIC)


def _damage(look: Look) -> str:
    """What the magic bytes tell of a file that has one of the two only."""
    if not look.tail.endswith(PARQUET_MAGIC):
        return "starts as a Parquet file but doesn't end as one: cut short, or not Parquet"
    if not look.head.startswith(PARQUET_MAGIC):
        return "ends as a Parquet file but doesn't start as one: its first bytes are damaged"
    return ""


def _first_look(source: Source, file: BinaryIO, look: Look) -> FirstLook:
    if damage := _damage(look):
        return FirstLook(source, damage)
    columns: list[str] = []
    paths: list[str] = []
    with contextlib.suppress(UnreadableSource):
        columns, paths = names_of(source.uri, file, source.size)
    has_text = look.options.text_column in (*columns, *paths) if columns else None
    try:
        footer = read_footer(source.uri, file, source.size, look.options)
        kept = zip(look.options.columns, footer.kept, strict=True)
        types = {column.path: [_type_of(source, column, found)] for column, found in kept if found}
    except UnreadableSource as unreadable:
        return FirstLook(source, unreadable.reason, (*columns,), has_text=has_text, paths=(*paths,))
    return FirstLook(source, "", (*columns,), int(footer.rows.sum()), has_text, (*paths,), types)


def _type_of(source: Source, column: KeptColumn, found: Column) -> pa.DataType:
    try:
        return found.type()[0]
    except UnreadableSource as error:
        raise UnreadableSource(
            source.uri, f"the type of column {column.path!r} (keep_columns) can't be read{error.reason}"
        ) from error


def split_parquet(source: Source, file: BinaryIO, look: Look) -> list[Shard]:
    """Runs of consecutive row groups of ``shard_bytes`` uncompressed bytes of text or a little more.

    They have 2**20 rows at most, unless a single row group has more. Rows and first rows come from the footer, so
    nothing else is read. ``begin`` and ``end`` of a shard are numbers of row groups.
    """
    if damage := _damage(look):
        return [Shard(source, error=damage)]
    try:
        return _plan(source, read_footer(source.uri, file, source.size, look.options), look.options)
    except UnreadableSource as unreadable:
        return [Shard(source, error=unreadable.reason)]


def _plan(source: Source, footer: Footer, options: ReadOptions) -> list[Shard]:
    rows, text_bytes = footer.rows.tolist(), footer.uncompressed.tolist()
    if sum(rows) > MAX_ROWS_PER_SOURCE:
        raise UnreadableSource(source.uri, f"{sum(rows)} rows, but a source can have {MAX_ROWS_PER_SOURCE}")
    shards: list[Shard] = []
    first_group = first_row = row = held = 0
    for group in range(len(rows)):
        too_many_rows = row + rows[group] - first_row > SHARD_ROWS
        if group > first_group and (held >= options.shard_bytes or too_many_rows):
            shards.append(_shard(source, first_group, group, first_row, row, held))
            first_group, first_row, held = group, row, 0
        row += rows[group]
        held += text_bytes[group]
    if rows:
        shards.append(_shard(source, first_group, len(rows), first_row, row, held))
    return shards or [Shard(source, rows=0)]


def _shard(source: Source, first_group: int, end_group: int, first_row: int, end_row: int, size: int) -> Shard:
    return Shard(source, first_group, first_group, end_group, first_row, end_row - first_row, size=size)


def read_parquet(
    shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None, warn: Warn
) -> Iterator[pa.RecordBatch]:
    """The rows of a shard: see ``transforms.io.readers.read``."""
    return cut_batches(_pieces(shard, file, options, keep, warn))


def _pieces(
    shard: Shard, file: BinaryIO, options: ReadOptions, keep: np.ndarray | None, warn: Warn
) -> Iterator[pa.RecordBatch]:
    uri = shard.source.uri
    if not shard.end:
        return  # a file without rows
    footer = read_footer(uri, file, shard.source.size, options)
    for warning in footer.warnings if shard.begin == 0 else ():
        warn(warning)
    kept = _Kept(uri, footer, options)
    usable = Usable()
    for groups, first, rows in _fetches(shard, footer, keep):
        last = groups[-1] + shard.begin
        where = f"row group {last}" if len(groups) == 1 else f"row groups {last - len(groups) + 1} to {last}"
        wanted = None if keep is None else keep[first : first + rows]
        batch_rows = _batch_rows(footer, shard, groups)
        parquet = footer.fetch(file, [shard.begin + group for group in groups])
        with decoding(uri, where):
            batches = parquet.iter_batches(batch_rows, use_threads=False)
        done = 0
        while True:
            with decoding(uri, where):
                batch = next(batches, None)
            if batch is None:
                break
            rows_of_batch = np.arange(batch.num_rows) + shard.first_row + first + done
            done += batch.num_rows
            if wanted is not None and not wanted[done - batch.num_rows : done].all():
                chosen = wanted[done - batch.num_rows : done]
                with decoding(uri, where):
                    batch = batch.filter(pa.array(chosen))
                rows_of_batch = rows_of_batch[chosen]
            with decoding(uri, where):
                texts = footer.text.inner(batch.column(0))
                ids = footer.id.inner(batch.column(1)) if footer.id else None
                for found in documents(rows_of_batch, texts, ids, kept.of(batch, rows_of_batch), options.schema):
                    usable.count(found)
                    yield found
        if done != rows:
            raise UnreadableSource(uri, f"{where}: the footer says {rows} rows, but the pages hold {done}")
    if keep is None and shard.end - shard.begin == len(footer.rows):
        usable.refuse_if_none(uri, options)
    kept.arrays.tell(warn)


def _fetches(shard: Shard, footer: Footer, keep: np.ndarray | None) -> Iterator[tuple[list[int], int, int]]:
    """Runs of row groups to fetch together: (row groups, first row, rows), all counted within the shard.

    Small neighbours go together, row groups of which nothing is wanted are left out.
    """
    counts, sizes = (values[_groups_of(shard)].tolist() for values in (footer.rows, footer.compressed))
    groups: list[int] = []
    first = rows = held = row = 0
    for group, (count, size) in enumerate(zip(counts, sizes, strict=True)):
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


def _groups_of(shard: Shard) -> slice:
    return slice(shard.begin, shard.end)


def _batch_rows(footer: Footer, shard: Shard, groups: list[int]) -> int:
    """Rows to decode at once, so that a piece is some MiB; 1 for documents of many MiB."""
    of_shard = _groups_of(shard)
    rows = int(footer.rows[of_shard][groups].sum())
    size = int(footer.decoded[of_shard][groups].sum())
    return max(1, min(PIECE_ROWS, PIECE_BYTES * rows // max(1, size)))


class _Kept:
    """Takes what is kept out of batches as they are read.

    Raises:
      UnreadableSource: a column's type isn't that of the other sources, and can't be cast to it without loss.
    """

    def __init__(self, uri: str, footer: Footer, options: ReadOptions) -> None:
        self.arrays = KeptArrays(uri, options)
        self._columns = list(zip(options.columns, footer.kept, strict=True))
        for column, found in self._columns:
            if found is None or column.type is None or column.declared:
                continue
            kind, _ = found.type()
            if common_type(column.kind, kind) != column.kind:
                raise UnreadableSource(
                    uri,
                    f"column {column.path!r} (keep_columns) is {kind} here and {column.kind} in other sources: "
                    f"keep it as {column.path}=string, or leave it out",
                )

    def of(self, batch: pa.RecordBatch, rows: np.ndarray) -> list[pa.Array]:
        """The kept columns of a batch, in the types in which they are kept."""
        place = batch.num_columns - sum(found is not None for _, found in self._columns)
        found_arrays: list[pa.Array | None] = []
        for _, found in self._columns:
            found_arrays.append(found.inner(batch.column(place)) if found else None)
            place += found is not None
        return self.arrays.of(rows, found_arrays)


def documents(
    rows: np.ndarray,
    texts: pa.Array,
    ids: pa.Array | None,
    kept: Sequence[pa.Array] = (),
    schema: pa.Schema = DOCUMENTS,
) -> Iterator[pa.RecordBatch]:
    """Rows as read -> batches of documents; halved while the texts would exceed 32-bit offsets."""
    if len(rows) > 1 and _decoded_bytes(texts) > DECODED_BYTES:
        half = len(rows) // 2
        for part in (slice(None, half), slice(half, None)):
            parts = [values[part] for values in kept]
            yield from documents(rows[part], texts[part], None if ids is None else ids[part], parts, schema)
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
    columns = [pa.array(rows, pa.uint32()), identifier, text, pa.array(outcome, mask=~out), *kept]
    yield pa.RecordBatch.from_arrays(columns, schema=schema)


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
    """Mask of the values of a string array that aren't UTF-8 (bool); 6 GB/s while there are none."""
    if _all_utf8(text):
        return np.zeros(len(text), bool)
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return invalid_utf8_reference(text)
    return np.zeros(len(text), bool)


def _all_utf8(text: pa.StringArray) -> bool:
    """Whether the bytes of a string array are UTF-8, those under its nulls too."""
    _, offsets_buffer, values_buffer = text.buffers()
    if not len(text) or values_buffer is None:
        return True
    offsets = np.frombuffer(offsets_buffer, np.int32, len(text) + 1, 4 * text.offset)
    values = np.frombuffer(values_buffer, np.uint8)
    values.flags.writeable = offsets.flags.writeable = False  # one compiled version, whatever Arrow says of its buffers
    return all_utf8(values, offsets)


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
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(ids.type):
        ids = _as_string(ids)
        invalid = invalid_utf8(ids)
        return pc.if_else(pa.array(invalid), pa.scalar(None, pa.string()), ids) if invalid.any() else ids
    return ids.cast(pa.string())


READER = Reader("parquet", _matches, split_parquet, read_parquet, _first_look, format="parquet")
