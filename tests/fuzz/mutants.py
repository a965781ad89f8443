"""Small good files and their damage: mutant number N of a file is always the same bytes."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

ROWS = 300
WORDS = ["the", "ferry", "leaves", "old", "harbour", "grün", "número", "漢字", "🙂", "seven", "painted", "letters"]
EDGES = [0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF]
MOST_FAULTS = 3


def texts(seed: int, rows: int = ROWS) -> list[str | None]:
    """Documents of a few words, some of them missing, empty or given twice."""
    chance = random.Random(seed)
    made: list[str | None] = []
    for _ in range(rows):
        kind = chance.random()
        made.append(
            None if kind < 0.05 else "" if kind < 0.1 else " ".join(chance.choices(WORDS, k=chance.randint(1, 12)))
        )
    return made


def parquet(seed: int, ids: pa.Array, **options: Any) -> bytes:
    """A Parquet file of several row groups and pages."""
    sink = io.BytesIO()
    table = pa.table({"id": ids, "text": texts(seed), "other": np.arange(ROWS) / 7})
    pq.write_table(table, sink, row_group_size=120, data_page_size=1500, **options)
    return sink.getvalue()


def lines() -> bytes:
    """JSON Lines."""
    return b"".join(orjson.dumps({"id": row, "text": text, "url": ["x"]}) + b"\n" for row, text in enumerate(texts(9)))


STRINGS = pa.array([f"id-{row}" for row in range(ROWS)])
NUMBERS = pa.array(range(ROWS))
DECIMALS = NUMBERS.cast(pa.decimal128(21, 2))
PLAIN = {"use_dictionary": False}
FILES: dict[str, Callable[[], bytes]] = {
    "plain": lambda: parquet(1, STRINGS, compression="none", column_encoding={"text": "PLAIN", "id": "PLAIN"}, **PLAIN),
    "snappy-dictionary": lambda: parquet(2, STRINGS, compression="snappy"),
    "gzip-delta-length-v2": lambda: parquet(
        3, NUMBERS, compression="gzip", data_page_version="2.0",
        column_encoding={"text": "DELTA_LENGTH_BYTE_ARRAY", "id": "DELTA_BINARY_PACKED"}, **PLAIN,
    ),
    "zstd-delta-v2": lambda: parquet(
        4, STRINGS, compression="zstd", data_page_version="2.0",
        column_encoding={"text": "DELTA_BYTE_ARRAY", "id": "DELTA_BYTE_ARRAY"}, **PLAIN,
    ),
    "lz4-checksum": lambda: parquet(5, NUMBERS, compression="lz4", write_page_checksum=True),
    "brotli-indexed": lambda: parquet(6, DECIMALS, compression="brotli", write_page_index=True),
    "lines": lines,
    "lines-gzip": lambda: gzip.compress(lines()[:9000], mtime=0) + gzip.compress(lines()[9000:], mtime=0),
    "lines-zstd": lambda: zstandard.ZstdCompressor(write_checksum=True).compress(lines()),
}  # fmt: skip
PARQUET = [name for name in FILES if not name.startswith("lines")]
LINES = [name for name in FILES if name.startswith("lines")]


def hot_spots(data: bytes) -> list[tuple[int, int]]:
    """Where damage is put: the footer of a Parquet file, its page headers, and anywhere."""
    if not data.startswith(b"PAR1"):
        return [(0, min(len(data), 40)), (0, len(data)), (max(0, len(data) - 40), len(data))]
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    metadata = pq.read_metadata(io.BytesIO(data))
    spots = [(footer, len(data)), (footer, len(data)), (0, footer)]
    for group in range(metadata.num_row_groups):
        for column in range(2):
            chunk = metadata.row_group(group).column(column)
            for start in (chunk.data_page_offset, chunk.dictionary_page_offset):
                if start:
                    spots.append((start, start + 40))
    return spots


def mutant(data: bytes, spots: list[tuple[int, int]], name: str, number: int) -> bytes:
    """The file with one to three faults."""
    chance = random.Random(f"{name}/{number}")
    out = bytearray(data)
    for _ in range(chance.randint(1, MOST_FAULTS)):
        first, last = chance.choice(spots[:3]) if chance.random() < 0.6 else chance.choice(spots)
        at = min(chance.randrange(first, last), len(out) - 1)
        if at < 0:
            break
        kind = chance.random()
        if kind < 0.3:
            out[at] ^= 1 << chance.randrange(8)
        elif kind < 0.55:
            out[at] = chance.randrange(256)
        elif kind < 0.7:
            out[at] = chance.choice(EDGES)
        elif kind < 0.78:  # a number of Thrift's or of a length, as large as it gets
            out[at : at + 5] = b"\xff\xff\xff\xff\x0f"
        elif kind < 0.84:
            del out[at : at + chance.randint(1, 8)]
        elif kind < 0.9:
            out[at:at] = chance.randbytes(chance.randint(1, 8))
        elif kind < 0.95:
            other = chance.randrange(len(out))
            out[at : at + 16] = out[other : other + 16]
        elif kind < 0.98:
            out[at : at + 64] = chance.randbytes(min(64, len(out) - at))
        else:
            del out[at:]
    return bytes(out)
