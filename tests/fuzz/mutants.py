"""Small good files and their damage: mutant number N of a file is always the same bytes."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import lz4.frame
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tests.web import warcs

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


def arrow(stream: bool, compression: str | None) -> bytes:
    """An Arrow IPC file or stream of several record batches."""
    table = pa.table({"id": STRINGS, "text": texts(10), "other": pa.array(texts(11)).dictionary_encode()})
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=120)
    return sink.getvalue()


def comma_separated() -> bytes:
    """CSV with quoted fields, some over several lines."""
    sink = io.StringIO()
    rows = csv.writer(sink)
    rows.writerow(["id", "text", "url"])
    rows.writerows([row, f'{text}\n"{row}", so' if row % 5 == 0 else text, "x"] for row, text in enumerate(texts(12)))
    return sink.getvalue().encode()


def tar() -> bytes:
    """JSON Lines and other things in tar.gz."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for number in range(3):
            member = tarfile.TarInfo(f"part-{number}.jsonl")
            member.size = len(lines())
            archive.addfile(member, io.BytesIO(lines()))
    return gzip.compress(sink.getvalue(), mtime=0)


def zipped() -> bytes:
    """JSON Lines in zip."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(zipfile.ZipInfo(f"part-{number}.jsonl"), lines())
    return sink.getvalue()


def crawled(compress: Callable[[bytes], bytes]) -> bytes:
    """WARC, each record compressed alone; one body is chunked, one compressed, one in Latin-1."""
    page = warcs.page().encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(page), page)
    records = [
        warcs.good("first"),
        warcs.record(warcs.response(chunked, "Content-Type: text/html", "Transfer-Encoding: chunked")),
        warcs.record(warcs.response(gzip.compress(page, mtime=0), "Content-Type: text/html", "Content-Encoding: gzip")),
        warcs.record(warcs.response("grün".encode("latin-1"), "Content-Type: text/plain; charset=latin-1")),
        warcs.record("Grüße, number 4".encode(), "conversion", media="text/plain"),
    ]
    return b"".join(map(compress, records * 4))


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
    "other-bz2": lambda: bz2.compress(lines()),
    "other-xz": lambda: lzma.compress(lines()),
    "other-lz4": lambda: lz4.frame.compress(lines(), content_checksum=True),
    "other-arrow": lambda: arrow(stream=False, compression=None),
    "other-arrow-lz4": lambda: arrow(stream=False, compression="lz4"),
    "other-arrow-stream-zstd": lambda: arrow(stream=True, compression="zstd"),
    "other.csv": comma_separated,
    "other.csv.gz": lambda: gzip.compress(comma_separated(), mtime=0),
    "other.tar.gz": tar,
    "other.zip": zipped,
    "other-warc": lambda: crawled(bytes),
    "other-warc-gzip": lambda: crawled(lambda record: gzip.compress(record, mtime=0)),
    "other-warc-zstd": lambda: crawled(zstandard.ZstdCompressor(write_checksum=True).compress),
}  # fmt: skip
LINES = [name for name in FILES if name.startswith("lines")]
OTHERS = [name for name in FILES if name.startswith("other")]
PARQUET = [name for name in FILES if name not in LINES + OTHERS]


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
