"""Rows as JSON Lines, compressed with zstd: for what reads text and no Parquet.

A line has the columns of its row by their names. Numbers that JSON lacks (NaN, infinity) are null, times are in ISO
8601, decimals are strings, and bytes that aren't UTF-8 are in base64. Each batch is a zstd frame, so that readers can
split the object; all frames together are one stream for ``zstd -d``.
"""

from __future__ import annotations

import base64
import datetime
import decimal
from typing import Any

import orjson
import pyarrow as pa
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
        lines = b"".join(orjson.dumps(row, default=_other, option=_OPTIONS) for row in batch.to_pylist())
        self._file.write(zstandard.ZstdCompressor(LEVEL, write_checksum=True).compress(lines))

    def close(self, error: BaseException | None = None) -> None:
        """Commits the object, or with an error leaves none."""
        self._output.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


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
    raise TypeError(f"a {type(value).__name__} can't be written as JSON")
