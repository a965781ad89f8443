"""Rows as JSON Lines, compressed with zstd: for what reads text and no Parquet.

A line has the columns of its row by their names. Numbers that JSON lacks (NaN, infinity) are null. Times are in ISO
8601; those outside of the years 1 to 9999 are null. Decimals are strings, and bytes that aren't UTF-8 are in base64.
Each batch is a zstd frame, so that readers can split the object; all frames together are one stream for ``zstd -d``.
"""

from __future__ import annotations

import base64
import datetime
import decimal
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import zstandard

from transforms.io import storage

LEVEL = 3
"""zstd's own default: at level 1 the bytes of text are 10 % more."""


class JsonLinesWriter:
    """Writes one object whole or not at all, a zstd frame a batch, in memory bounded by one batch."""

    def __init__(self, uri: str) -> None:
        self._output = storage.open_output(uri)
        self._file = self._output.__enter__()

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends a frame."""
        told = pa.RecordBatch.from_arrays([_told(column) for column in batch.columns], batch.schema.names)
        lines = b"".join(orjson.dumps(row, default=_other, option=_OPTIONS) for row in told.to_pylist())
        self._file.write(zstandard.ZstdCompressor(LEVEL, write_checksum=True).compress(lines))

    def close(self, error: BaseException | None = None) -> None:
        """Commits the object, or with an error leaves none."""
        self._output.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


_UNITS = {"s": 1, "ms": 10**3, "us": 10**6}  # nanoseconds end with the year 2262
_FIRST, _END = -62_135_596_800, 253_402_300_800  # the years 1 and 10000, in seconds since 1970


def _told(column: pa.Array) -> pa.Array:
    """Dates and times as strings, to the nanosecond, which Python's own don't have; others as they are."""
    kind, form = column.type, "%Y-%m-%d"
    if pa.types.is_time(kind):
        return column.cast(pa.string())
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("s" if kind == pa.date32() else "ms"))
    elif pa.types.is_timestamp(kind):
        form += "T%H:%M:%S" + ("%Ez" if kind.tz else "")
    else:
        return column
    unit = _UNITS.get(column.type.unit)
    if unit:
        count = column.cast(pa.int64())
        named = pc.and_(pc.greater_equal(count, _FIRST * unit), pc.less(count, _END * unit))
        column = pc.if_else(named, column, pa.scalar(None, column.type))
    return pc.strftime(column, form)


def _other(value: Any) -> Any:
    """A value for which JSON has no form of its own."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.datetime):  # pandas' own, within lists and structs
        return value.isoformat()
    if isinstance(value, tuple):  # months, days and nanoseconds
        return list(value)
    raise TypeError(f"a {type(value).__name__} can't be written as JSON")
