"""What the readers promise: every row accounted for, the same batches always, bad data told from bad storage."""

from __future__ import annotations

import base64
import gzip
import io
import itertools
import json
import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import outcomes
from schemas.columns import DOCUMENTS
from schemas.shards import Shard, Source
from transforms.io import storage
from transforms.io.readers import (
    BATCH_BYTES,
    ReadOptions,
    UnreadableSource,
    batching,
    check,
    parquet,
    ranges,
    read,
    split,
    streams,
)
from transforms.io.readers.json_line import parse_line

OPTIONS = ReadOptions()
BAD_UTF8 = [b"gr\xfcn", b"cut\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]
Row = tuple[int, str | None, str | None, str | None]


def source_of(path: Path) -> Source:
    info = storage.stat(str(path))
    assert info is not None
    return Source(0, info.uri, info.etag, info.size)


def put(path: Path, data: bytes) -> Source:
    path.write_bytes(data)
    return source_of(path)


def put_table(path: Path, table: pa.Table, **options: Any) -> Source:
    pq.write_table(table, path, **options)
    return source_of(path)


def rows_of(batches: Iterator[pa.RecordBatch]) -> list[Row]:
    """(row, id, text, outcome) of all rows, after the checks that hold for every batch."""
    rows: list[Row] = []
    for batch in batches:
        batch.validate(full=True)
        assert batch.schema.equals(DOCUMENTS)
        assert batch.num_rows > 0
        assert batch["text"].is_null().equals(batch["outcome"].is_valid())
        assert batch.num_rows == 1 or batch["text"].nbytes <= BATCH_BYTES + 5 * batch.num_rows
        codes = [None if code is None else outcomes.OWN[code][1] for code in batch["outcome"].to_pylist()]
        rows += zip(batch["row"].to_pylist(), batch["id"].to_pylist(), batch["text"].to_pylist(), codes, strict=True)
    return rows


def read_source(source: Source, options: ReadOptions = OPTIONS) -> list[Row]:
    return [row for shard in split(source, options) for row in rows_of(read(shard, options))]


def fields_of_lines(tmp_path: Path, *lines: bytes) -> list[tuple[str | None, str | None, str | None]]:
    usable = b'{"text": "usable"}'  # a source without any such line is unreadable
    rows = read_source(put(tmp_path / "x", b"".join(line + b"\n" for line in (*lines, usable))))
    assert [row[0] for row in rows] == list(range(len(lines) + 1))
    assert rows.pop()[2] == "usable"
    return [row[1:] for row in rows]


# Options


@pytest.mark.parametrize("options", [{"text_column": ""}, {"id_column": ""}, {"id_column": "text"}, {"shard_bytes": 0}])
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ReadOptions(**options)


# Formats


def test_formats_are_told_by_their_bytes_and_never_by_their_name(tmp_path: Path) -> None:
    line = b'{"id": "a", "text": "b"}\n'
    expected = [(0, "a", "b", None)]
    assert read_source(put(tmp_path / "x.parquet", line)) == expected
    assert read_source(put(tmp_path / "x.zst", gzip.compress(line))) == expected
    assert read_source(put(tmp_path / "x.gz", zstandard.compress(line))) == expected
    assert read_source(put_table(tmp_path / "x.jsonl", pa.table({"id": ["a"], "text": ["b"]}))) == expected


def test_an_empty_object_has_no_documents(tmp_path: Path) -> None:
    source = put(tmp_path / "x.jsonl.zst", b"")
    assert split(source, OPTIONS) == [Shard(source)]
    assert read_source(source) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"PAR1 is how this text begins", "doesn't end"),
        (b"broken at the start PAR1", "doesn't start"),
        (b"PAR1" + b"\0" * 20 + b"PAR1", "footer"),
        ("{}".encode("utf-16"), "UTF-16"),
    ],
)
def test_other_formats_and_damaged_ends_are_one_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    source = put(tmp_path / "x", data)
    (shard,) = split(source, OPTIONS)
    assert reason in shard.error
    assert check(source, OPTIONS) == shard.error
    with pytest.raises(UnreadableSource, match=re.escape(source.uri)):
        next(read(shard, OPTIONS))


# Parquet: splitting


def test_parquet_shards_are_runs_of_row_groups(tmp_path: Path) -> None:
    table = pa.table({"text": [os.urandom(500).hex() for _ in range(100)]})
    source = put_table(tmp_path / "x", table, row_group_size=10, use_dictionary=False)
    shards = split(source, ReadOptions(shard_bytes=25_000))
    assert [(s.part, s.begin, s.end, s.first_row, s.rows) for s in shards] == [
        (0, 0, 3, 0, 30),
        (3, 3, 6, 30, 30),
        (6, 6, 9, 60, 30),
        (9, 9, 10, 90, 10),
    ]
    assert split(source, OPTIONS) == [Shard(source, 0, 0, 10, 0, 100)]
    assert [row[2] for row in read_source(source, ReadOptions(shard_bytes=25_000))] == table["text"].to_pylist()


def test_a_shard_has_at_most_a_million_rows_unless_a_row_group_has_more(tmp_path: Path) -> None:
    table = pa.table({"text": pa.nulls(2_500_000, pa.string())})
    source = put_table(tmp_path / "x", table, row_group_size=400_000)
    assert [shard.rows for shard in split(source, OPTIONS)] == [800_000, 800_000, 900_000]
    source = put_table(tmp_path / "y", table, row_group_size=1 << 20)
    assert [shard.rows for shard in split(source, OPTIONS)] == [1 << 20, 1 << 20, 2_500_000 - (2 << 20)]


def test_a_parquet_file_without_rows_is_one_empty_shard(tmp_path: Path) -> None:
    source = put_table(tmp_path / "x", pa.table({"text": pa.array([], pa.string())}))
    assert [shard.rows for shard in split(source, OPTIONS)] == [0]
    assert read_source(source) == []


def test_a_missing_text_column_is_told_with_the_setting_and_the_columns(tmp_path: Path) -> None:
    source = put_table(tmp_path / "x", pa.table({"content": ["a"], "url": ["b"]}))
    (shard,) = split(source, OPTIONS)
    assert all(word in shard.error for word in ("text_column", "'text'", "content", "url"))
    assert read_source(source, ReadOptions(text_column="content")) == [(0, None, "a", None)]


@pytest.mark.parametrize("values", [pa.array([["a"]]), pa.array([1]), pa.array([{"x": "a"}]), pa.array([0.5])])
def test_a_text_column_that_is_no_string_is_an_error(tmp_path: Path, values: pa.Array) -> None:
    (shard,) = split(put_table(tmp_path / "x", pa.table({"text": values})), OPTIONS)
    assert "not a string" in shard.error


# Parquet: rows


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_any_codec_and_page_version(tmp_path: Path, codec: str, version: str) -> None:
    texts = [f"text {i}" for i in range(3000)]
    source = put_table(
        tmp_path / "x", pa.table({"text": texts}), compression=codec, data_page_version=version, row_group_size=700
    )
    assert read_source(source) == [(i, None, text, None) for i, text in enumerate(texts)]


TEXTS = ["grün", None, "", "b\0c", "grün"]
KINDS = [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_string_types_and_outcomes_of_rows(tmp_path: Path, kind: pa.DataType) -> None:
    source = put_table(tmp_path / "x", pa.table({"text": pa.array(TEXTS).cast(kind), "id": pa.array(TEXTS).cast(kind)}))
    assert read_source(source) == [
        (0, "grün", "grün", None),
        (1, None, None, "null_text"),
        (2, "", None, "empty_text"),
        (3, "b\0c", "b\0c", None),
        (4, "grün", "grün", None),
    ]


def test_a_column_of_nulls_has_no_type_and_an_outcome_a_row(tmp_path: Path) -> None:
    source = put_table(tmp_path / "a.parquet", pa.table({"id": ["a", "b"], "text": pa.nulls(2)}))
    keep = np.ones(2, bool)  # read in part, a source may have nothing that is usable
    assert rows_of(read(split(source, OPTIONS)[0], OPTIONS, keep)) == [
        (0, "a", None, "null_text"),
        (1, "b", None, "null_text"),
    ]


def test_string_views_are_read(tmp_path: Path) -> None:
    # pyarrow 16 can't write them; what another writer leaves is the type in the Arrow schema.
    views = pa.schema([pa.field("text", pa.string_view())]).serialize().to_pybytes()
    table = pa.table({"text": TEXTS}).replace_schema_metadata({"ARROW:schema": base64.b64encode(views)})
    source = put_table(tmp_path / "x", table, store_schema=False)
    assert [row[2] for row in read_source(source)] == ["grün", None, None, "b\0c", "grün"]


def test_binary_declared_as_utf8_is_text(tmp_path: Path) -> None:
    # Files of other writers have no Arrow schema; the types are then Parquet's own.
    source = put_table(tmp_path / "x", pa.table({"text": TEXTS}), store_schema=False)
    assert [row[2] for row in read_source(source)] == ["grün", None, None, "b\0c", "grün"]
    (batch,) = parquet.documents(np.arange(2), pa.array([b"a", b"\xff"]), None)
    assert batch["outcome"].to_pylist() == [None, outcomes.INVALID_UTF8]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_invalid_utf8_is_an_outcome_and_nulls_an_id(tmp_path: Path, kind: pa.DataType) -> None:
    raw = [b"good", *BAD_UTF8, None, "gut, grün".encode()]
    small = pa.array(raw, pa.binary()).view(pa.string())
    if pa.types.is_large_string(kind):
        values = pa.array(raw, pa.large_binary()).view(pa.large_string())
    else:
        values = small.dictionary_encode() if pa.types.is_dictionary(kind) else small
    source = put_table(tmp_path / "x", pa.table({"text": values, "id": values}))
    assert [row[1:] for row in read_source(source)] == [
        ("good", "good", None),
        *[(None, None, "invalid_utf8")] * len(BAD_UTF8),
        (None, None, "null_text"),
        ("gut, grün", "gut, grün", None),
    ]


def test_a_character_cut_in_two_rows_is_invalid_in_both() -> None:
    text = pa.array([b"\xc3", b"\xbc"]).view(pa.string())
    assert parquet.invalid_utf8(text).tolist() == [True, True]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.binary(max_size=4) | st.sampled_from(["ü".encode(), *BAD_UTF8]), max_size=20))
def test_invalid_utf8_equals_its_reference(values: list[bytes | None]) -> None:
    text = pa.array(values, pa.binary()).view(pa.string())
    assert (parquet.invalid_utf8(text) == parquet.invalid_utf8_reference(text)).all()


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([1, None], pa.int64()), ["1", None]),
        (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"]),
        (pa.array([1.5, 2.0]), ["1.5", "2"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([b"ab", b"\xff"]), ["ab", None]),
        (pa.array([b"ab", b"\xff\xff"], pa.binary(2)), ["ab", None]),
        (pa.array([0, 1], pa.timestamp("s", "Asia/Tokyo")), ["1970-01-01 00:00:00.000", "1970-01-01 00:00:01.000"]),
        (pa.array([0, 1], pa.date32()), ["1970-01-01", "1970-01-02"]),
        (pa.array(["1.50", None]).cast(pa.decimal128(5, 2)), ["1.50", None]),
        (pa.array([["a"], ["b"]]), [None, None]),
        (pa.nulls(2), [None, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_ids_of_any_primitive_type_are_strings(tmp_path: Path, ids: pa.Array, expected: list[str | None]) -> None:
    source = put_table(tmp_path / "x", pa.table({"text": ["a", "b"], "id": ids}))
    assert [row[1] for row in read_source(source)] == expected


def test_batches_depend_on_the_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "BATCH_BYTES", 1 << 18)
    lengths = np.random.default_rng(1).integers(0, 20_000, 400)
    lengths[[7, 8, 399]] = [300_000, (1 << 18) - 1, 1 << 18]
    table = pa.table({"text": ["x" * length for length in lengths], "id": [str(i) for i in range(400)]})
    sizes = []
    for name, row_group_size in (("a", 400), ("b", 7), ("c", 1)):
        (shard,) = split(put_table(tmp_path / name, table, row_group_size=row_group_size), OPTIONS)
        sizes.append([batch.num_rows for batch in read(shard, OPTIONS)])
    lines = b"".join(orjson.dumps(row) + b"\n" for row in table.to_pylist())
    (shard,) = split(put(tmp_path / "d", lines), OPTIONS)
    sizes.append([batch.num_rows for batch in read(shard, OPTIONS)])
    weights = [int(length) + len(str(i)) for i, length in enumerate(lengths)]
    assert sizes == [batching.cut_batches_reference(weights)] * 4


def documents(weights: list[int]) -> pa.RecordBatch:
    columns = [np.arange(len(weights)), pa.nulls(len(weights), pa.string()), ["x" * w for w in weights]]
    arrays = [pa.array(columns[0], pa.uint32()), columns[1], pa.array(columns[2], pa.string())]
    return pa.RecordBatch.from_arrays([*arrays, pa.nulls(len(weights), pa.uint8())], schema=DOCUMENTS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=60), st.lists(st.integers(0, 60)), st.integers(1, 80), st.integers(1, 20))
@example([0] * 60, [], 1, 20)
@example([5, 5, 6], [1, 2], 10, 20)
def test_cut_batches_equals_its_reference(weights: list[int], cuts: list[int], limit: int, rows: int) -> None:
    batch = documents(weights)
    bounds = [0, *sorted(min(cut, len(weights)) for cut in cuts), len(weights)]
    pieces = [batch.slice(a, b - a) for a, b in itertools.pairwise(bounds)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "BATCH_BYTES", limit)
        patch.setattr(batching, "BATCH_ROWS", rows)
        out = list(batching.cut_batches(iter(pieces)))
        assert [piece.num_rows for piece in out] == batching.cut_batches_reference(weights)
    assert pa.Table.from_batches(out, DOCUMENTS).equals(pa.Table.from_batches([batch]))
    assert all(column.offset == 0 for piece in out for column in piece.columns)


def test_a_batch_carries_no_more_than_its_rows() -> None:
    (first, second) = batching.cut_batches(iter([documents([BATCH_BYTES - 10, 100])]))
    assert len(pickle.dumps(second)) < 2000 < len(pickle.dumps(first))


@pytest.mark.parametrize("row_group_size", [1, 7, 50, 1000])
def test_keep_gives_just_these_rows(tmp_path: Path, row_group_size: int) -> None:
    texts = [f"text {i}" if i % 5 else None for i in range(1000)]
    source = put_table(tmp_path / "x", pa.table({"text": texts, "id": range(1000)}), row_group_size=row_group_size)
    (shard,) = split(source, OPTIONS)
    everything = rows_of(read(shard, OPTIONS))
    keep = np.random.default_rng(2).random(1000) < 0.3
    keep[200:600] = False
    assert rows_of(read(shard, OPTIONS, keep)) == [row for row in everything if keep[row[0]]]
    assert rows_of(read(shard, OPTIONS, np.zeros(1000, bool))) == []
    with pytest.raises(ValueError, match="keep"):
        next(read(shard, OPTIONS, keep[1:]))


def test_keep_counts_from_the_shards_first_row(tmp_path: Path) -> None:
    source = put_table(tmp_path / "x", pa.table({"text": ["a", "b", "c", "d"]}), row_group_size=2)
    _, second = split(source, ReadOptions(shard_bytes=1))
    assert rows_of(read(second, OPTIONS, np.array([False, True]))) == [(3, None, "d", None)]


def test_row_groups_of_which_nothing_is_wanted_are_not_fetched(tmp_path: Path) -> None:
    texts = [os.urandom(10_000).hex() for _ in range(20)]
    source = put_table(tmp_path / "x", pa.table({"text": texts}), row_group_size=1, use_dictionary=False)
    (shard,) = split(source, OPTIONS)
    path = Path(source.uri)
    keep = np.zeros(20, bool)
    keep[[3, 17]] = True
    data = bytearray(path.read_bytes())
    place = len(data) // 2  # in the pages of a row group in the middle
    data[place - 20_000 : place + 20_000] = b"\0" * 40_000
    source = put(path, bytes(data))
    shard = Shard(source, 0, 0, 20, 0, 20)
    assert [row[2] for row in rows_of(read(shard, OPTIONS, keep))] == [texts[3], texts[17]]
    with pytest.raises(UnreadableSource, match="row group"):
        list(read(shard, OPTIONS))


# Bad data and bad storage


@pytest.mark.parametrize("codec", ["none", "zstd", "snappy"])
def test_a_corrupt_page_is_an_unreadable_source(tmp_path: Path, codec: str) -> None:
    texts = [os.urandom(200).hex() for _ in range(500)]
    path = tmp_path / "x"
    pq.write_table(pa.table({"text": texts}), path, compression=codec, row_group_size=100, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 50] = bytes(byte ^ 0xFF for byte in data[middle : middle + 50])
    source = put(path, bytes(data))
    (shard,) = split(source, OPTIONS)
    assert shard.error == ""
    with pytest.raises(UnreadableSource, match="row group") as caught:
        list(read(shard, OPTIONS))
    assert caught.value.uri == source.uri
    assert "row group" in check(source, OPTIONS)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.uri, copy.reason) == (source.uri, caught.value.reason)


def test_pages_with_fewer_rows_than_the_footer_says_are_not_passed_over(tmp_path: Path) -> None:
    source = put_table(tmp_path / "x", pa.table({"text": ["a", "b"]}))
    with pytest.raises(UnreadableSource, match="rows"):
        list(read(Shard(source, 0, 0, 1, 0, 3), OPTIONS))


class Failing(io.BytesIO):
    """A file whose storage fails after so many reads."""

    def __init__(self, data: bytes, reads: int):
        super().__init__(data)
        self.reads = reads

    def read(self, size: int | None = -1) -> bytes:
        self.count()
        return super().read(size)

    def readinto(self, buffer: Any) -> int:
        self.count()
        return super().readinto(buffer)

    def count(self) -> None:
        self.reads -= 1
        if self.reads < 0:
            raise storage.StorageError("s3://bucket/x", "connection reset")


@pytest.mark.parametrize("reads", range(5))
def test_faults_of_the_storage_are_never_taken_for_bad_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: int
) -> None:
    pq.write_table(pa.table({"text": [os.urandom(20_000).hex() for _ in range(50)]}), tmp_path / "x", row_group_size=10)
    data = (tmp_path / "x").read_bytes()
    monkeypatch.setattr(parquet, "FETCH_BYTES", 1)
    monkeypatch.setattr(storage, "open_input", lambda *place, **how: Failing(data, reads))
    with pytest.raises(storage.StorageError, match="connection reset"):
        check(Source(0, "s3://bucket/x", "e", len(data)), OPTIONS)


def test_a_source_that_changed_is_a_fault_of_the_storage(tmp_path: Path) -> None:
    source = put(tmp_path / "x", b'{"text": "a"}\n')
    (shard,) = split(source, OPTIONS)
    put(tmp_path / "x", b'{"text": "another"}\n')
    with pytest.raises(storage.SourceChanged):
        next(read(shard, OPTIONS))
    with pytest.raises(storage.SourceChanged):
        split(source, OPTIONS)


# JSON Lines: streams

LINES = b"".join(orjson.dumps({"id": i, "text": f"text {i} {'x' * (i % 50)}"}) + b"\n" for i in range(20_000))
TEXT_LINES = [f"text {i} {'x' * (i % 50)}" for i in range(20_000)]
SKIPPABLE = b"\x53\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


def gzip_members(data: bytes, size: int) -> bytes:
    return b"".join(gzip.compress(data[i : i + size], 1) for i in range(0, len(data), size))


def zstd_frames(data: bytes, size: int) -> bytes:
    return b"".join(zstandard.compress(data[i : i + size]) for i in range(0, len(data), size))


@pytest.mark.parametrize(
    "data",
    [
        LINES,
        LINES[:-1],
        gzip.compress(LINES),
        gzip_members(LINES, 1000),
        gzip.compress(b"") + gzip_members(LINES, 300_001) + b"\0" * 70_000,
        zstandard.compress(LINES),
        zstd_frames(LINES, 1000),
        SKIPPABLE + zstd_frames(LINES, 300_001) + SKIPPABLE + zstandard.compress(b""),
        zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compress(LINES),
    ],
    ids=["plain", "unended", "gzip", "members", "padded", "zstd", "frames", "skippable", "checksum"],
)
def test_streams_of_one_or_many_parts(tmp_path: Path, data: bytes) -> None:
    source = put(tmp_path / "x", data)
    rows = read_source(source)
    assert [row[2] for row in rows] == TEXT_LINES
    assert [row[1] for row in rows] == [str(i) for i in range(20_000)]
    assert [row[0] for row in rows] == list(range(20_000))


@pytest.mark.parametrize("compressed", [gzip.compress(LINES), zstandard.compress(LINES)], ids=["gzip", "zstd"])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_a_truncated_stream_is_an_unreadable_source(tmp_path: Path, compressed: bytes, share: float) -> None:
    source = put(tmp_path / "x", compressed[: int(len(compressed) * share)])
    (shard,) = split(source, OPTIONS)
    with pytest.raises(UnreadableSource, match=r"cut short at byte \d+"):
        list(read(shard, OPTIONS))
    assert "cut short" in check(source, OPTIONS)
    whole_and_cut = put(tmp_path / "y", compressed + compressed[:-1])
    assert "cut short" in check(whole_and_cut, OPTIONS)


@pytest.mark.parametrize("compressed", [gzip.compress(LINES), zstandard.compress(LINES)], ids=["gzip", "zstd"])
def test_a_corrupt_stream_is_an_unreadable_source(tmp_path: Path, compressed: bytes) -> None:
    data = bytearray(compressed)
    data[len(data) // 2] ^= 0x55
    data[len(data) // 2 + 1] ^= 0x55
    assert check(put(tmp_path / "x", bytes(data)), OPTIONS) != ""


def test_garbage_after_a_zstd_frame_is_corrupt_as_for_zstd_itself(tmp_path: Path) -> None:
    source = put(tmp_path / "y", zstandard.compress(LINES) + b"garbage, not a frame")
    assert "corrupt" in check(source, OPTIONS)


@pytest.mark.parametrize("garbage", [b"garbage, not a member", b"\0\0\0x", b"\x1f", b"\x1fx", b"\0" * 70_000 + b"\x1f"])
@pytest.mark.parametrize("feed", [1, 1 << 16])
def test_garbage_after_gzip_is_left_out_with_a_warning_as_by_gzip_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, garbage: bytes, feed: int
) -> None:
    monkeypatch.setattr(streams, "GZIP_FEED_BYTES", feed)
    good = gzip.compress(LINES[:100]) + gzip.compress(LINES[100:3000])
    source = put(tmp_path / "x", good + garbage)
    warnings: list[str] = []
    (shard,) = split(source, OPTIONS)
    rows = rows_of(read(shard, OPTIONS, warn=warnings.append))
    lines = LINES[:3000].splitlines()
    assert [row[2] for row in rows[:-1]] == TEXT_LINES[: len(lines) - 1]
    place = len(good) + len(garbage) - len(garbage.lstrip(b"\0"))
    assert warnings == [f"garbage after the last gzip member, at byte {place}, is left out"]


def test_what_zlib_holds_back_at_the_end_of_a_feed_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"x" * 100_000
    monkeypatch.setattr(streams, "DECODE_BYTES", 7)
    for feed in (1, 13, 1000):
        monkeypatch.setattr(streams, "GZIP_FEED_BYTES", feed)
        stream = io.BytesIO(gzip.compress(data) + gzip.compress(b"y"))
        assert b"".join(streams.decompress("x", stream, "gzip", warn=str)) == data + b"y"


def test_a_line_longer_than_any_buffer(tmp_path: Path) -> None:
    long = "é" * (9 << 20)
    lines = b"".join(json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n" for text in ("a", long, "b"))
    for data in (lines, zstandard.compress(lines)):
        (shard,) = split(put(tmp_path / "x", data), OPTIONS)
        batches = list(read(shard, OPTIONS))
        assert [batch.num_rows for batch in batches] == [1, 1, 1]
        assert batches[1]["text"][0].as_py() == long


def test_a_line_too_long_for_arrow_is_an_unreadable_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "MAX_LINE_BYTES", 1000)
    assert "line" in check(put(tmp_path / "x", b"\n" + b"x" * 2_000_000), OPTIONS)


@given(st.lists(st.binary(max_size=5).map(lambda b: b.replace(b"\x00", b"\n")), max_size=20))
@example([b"\xef", b"\xbb", b"\xbf", b"a\n"])
@example([b"\xef\xbb\xbf"])
@example([b"\n"])
def test_lines_equal_their_definition(chunks: list[bytes]) -> None:
    whole = b"".join(chunks).removeprefix(b"\xef\xbb\xbf")
    expected = [line for line in whole.split(b"\n") if line.strip()]
    found = map(streams.without_blank, streams.whole_lines("x", iter(chunks)))
    assert [line for lines in found for line in lines] == expected


def test_keep_of_lines(tmp_path: Path) -> None:
    source = put(tmp_path / "x", zstandard.compress(LINES))
    (shard,) = split(source, OPTIONS)
    keep = np.random.default_rng(3).random(20_000) < 0.2
    kept = rows_of(read(shard, OPTIONS, keep))
    assert kept == [(i, str(i), TEXT_LINES[i], None) for i in np.flatnonzero(keep).tolist()]
    for wrong in (keep[:-1], np.append(keep, True)):
        with pytest.raises(ValueError, match="keep"):
            list(read(shard, OPTIONS, wrong))


# JSON Lines: lines


def test_outcomes_of_lines(tmp_path: Path) -> None:
    cases: list[tuple[bytes, tuple[str | None, str | None, str | None]]] = [
        (b'{"id": "a", "text": "b"}', ("a", "b", None)),
        (b'{"id": "a", "text": "b"}\r', ("a", "b", None)),
        (b'{"id": 7, "text": "\\u0000"}', ("7", "\0", None)),
        (b'{"id": 1.5, "text": "b"}', ("1.5", "b", None)),
        (b'{"id": true, "text": "b"}', ("true", "b", None)),
        (b'{"id": ["a"], "text": "b"}', (None, "b", None)),
        (b'{"text": "first", "text": "last"}', (None, "last", None)),
        (b'{"id": "a", "text": null}', ("a", None, "null_text")),
        (b'{"id": "a", "text": ""}', ("a", None, "empty_text")),
        (b'{"id": "a"}', ("a", None, "missing_text")),
        (b'{"id": "a", "text": 5}', ("a", None, "text_not_a_string")),
        (b'{"id": "a", "text": ["b"]}', ("a", None, "text_not_a_string")),
        (b'["text"]', (None, None, "invalid_json")),
        (b'{"text": "b"', (None, None, "invalid_json")),
        (b'{"text": "b"} {}', (None, None, "invalid_json")),
        (b"{'text': 'b'}", (None, None, "invalid_json")),
        (b'{"text": NaN}', (None, None, "null_text")),
        (b'{"id": NaN, "a": [-Infinity, NaN, {"x": Infinity}], "text": "NaN, b"}', (None, "NaN, b", None)),
        (b'{"a": 1NaN, "text": "b"}', (None, None, "invalid_json")),
        (b'{"a": 1e400, "text": "b"}', (None, "b", None)),
        (b'{"id": 12345678901234567890123, "text": "b"}', ("12345678901234567890123", "b", None)),
        (b'{"id": -98765432109876543210, "x": NaN, "text": "b"}', ("-98765432109876543210", "b", None)),
        (b'{"id": 18446744073709551615, "text": "b"}', ("18446744073709551615", "b", None)),
        (b'{"id": 1' + b"0" * 5000 + b', "text": "b"}', ("1" + "0" * 5000, "b", None)),
        (b'{"id": 1e300, "text": 12345678901234567890123}', ("1e+300", None, "text_not_a_string")),
        (
            b'\xef\xbb\xbf{"text": "of a file that was put behind another"}',
            (None, "of a file that was put behind another", None),
        ),
        (b'{"url": "caf\xe9", "id": "a", "text": "b"}', ("a", "b", None)),
        (b'{"id": "caf\xe9", "text": "b"}', (None, "b", None)),
        (b'{"id": "a", "text": "caf\xe9"', (None, None, "invalid_utf8")),
        (b"null", (None, None, "invalid_json")),
        *[(b'{"text": "' + bad + b'"}', (None, None, "invalid_utf8")) for bad in BAD_UTF8],
    ]
    assert fields_of_lines(tmp_path, *(line for line, _ in cases)) == [expected for _, expected in cases]


def test_lone_surrogates_spoil_the_field_that_they_are_in(tmp_path: Path) -> None:
    cases: list[tuple[bytes, tuple[str | None, str | None, str | None]]] = [
        (rb'{"id": "a", "text": "\ud83d"}', ("a", None, "invalid_utf8")),
        (rb'{"id": "a", "text": "\uDE00\uD83D"}', ("a", None, "invalid_utf8")),
        (rb'{"id": "a", "text": "\ud83d\ud83d\ude00"}', ("a", None, "invalid_utf8")),
        (rb'{"id": "a", "text": "\\\ud83d"}', ("a", None, "invalid_utf8")),
        (rb'{"id": "a", "text": "\ud83d\ude00"}', ("a", "😀", None)),
        (rb'{"id": "a", "text": "\\ud83d"}', ("a", "\\ud83d", None)),
        (rb'{"id": "\ud83d", "text": "b"}', (None, "b", None)),
        (rb'{"url": "\ud83d", "id": "a", "text": "b"}', ("a", "b", None)),
        (rb'{"url": "\ud83d", "id": "a", "text": 5}', ("a", None, "text_not_a_string")),
        (rb'{"text": "\ud83d"', (None, None, "invalid_json")),
    ]
    assert fields_of_lines(tmp_path, *(line for line, _ in cases)) == [expected for _, expected in cases]


def test_nesting_has_no_limit_and_is_still_checked(tmp_path: Path) -> None:
    def nested(value: bytes, levels: int = 100_000) -> bytes:
        return b'{"id": "a", "x": ' + b"[" * levels + value + b"]" * levels + b', "text": "b"}'

    mixed = b'{"text": "b", "x": ' + b'[1, {"y]": ' * 3000 + b'"[{\\""' + b'}, "\\\\"]' * 3000 + b"}"
    cases: list[tuple[bytes, tuple[str | None, str | None, str | None]]] = [
        *[(nested(b"", levels), ("a", "b", None)) for levels in (498, 499, 500, 999, 1000, 1022, 1023, 1024, 100_000)],
        (mixed, (None, "b", None)),
        (nested(b"nonsense"), (None, None, "invalid_json")),
        (nested(b'"unended'), (None, None, "invalid_json")),
        (nested(b"]"), (None, None, "invalid_json")),
        (nested(b"["), (None, None, "invalid_json")),
        (nested(b"}"), (None, None, "invalid_json")),
        (b"[" * 100_000 + b"]" * 100_000, (None, None, "invalid_json")),
        (b"]" * 100_000, (None, None, "invalid_json")),
    ]
    assert fields_of_lines(tmp_path, *(line for line, _ in cases)) == [expected for _, expected in cases]


@pytest.mark.timeout(10)
def test_long_broken_lines_take_linear_time(tmp_path: Path) -> None:
    escapes = b'{"text": "' + b'\\"[{' * 500_000
    surrogates = b'{"text": "' + b"\\ud800" * 300_000
    assert [fields[2] for fields in fields_of_lines(tmp_path, escapes, surrogates)] == ["invalid_json"] * 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def parse_line_reference(line: str) -> tuple[str | None, str | None, int]:
    """``parse_line`` for str lines, by the standard library, which lets lone surrogates through."""
    try:
        value = json.loads(line)
    except ValueError:
        return None, None, outcomes.INVALID_JSON
    if not isinstance(value, dict):
        return None, None, outcomes.INVALID_JSON
    identifier, text = value.get("id"), value.get("text", 0)
    if isinstance(identifier, bool):
        identifier = str(identifier).lower()
    elif isinstance(identifier, int | float):
        identifier = str(identifier)
    elif not isinstance(identifier, str) or not encodable(identifier):
        identifier = None
    if "text" not in value:
        return identifier, None, outcomes.MISSING_TEXT
    if text is None:
        return identifier, None, outcomes.NULL_TEXT
    if not isinstance(text, str):
        return identifier, None, outcomes.TEXT_NOT_A_STRING
    if not encodable(text):
        return identifier, None, outcomes.INVALID_UTF8
    return (identifier, text, 0) if text else (identifier, None, outcomes.EMPTY_TEXT)


def encodable(text: str) -> bool:
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


ANY_TEXT = st.text(st.sampled_from('a\\"u\nü😀\ud83d\ude00'), max_size=6)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["id", "text", "x"]), VALUES | ANY_TEXT), st.booleans())
def test_parse_line_equals_its_reference(fields: dict[str, Any], levels: bool) -> None:
    line = json.dumps(fields)
    if levels:  # the same through the path for deep nesting
        line = line[:-1] + (", " if fields else "") + '"deep": ' + "[" * 1100 + "]" * 1100 + "}"
    expected = parse_line_reference(json.dumps(fields))
    assert parse_line(line.encode(), "text", "id")[:3] == expected


def test_field_names_are_settings(tmp_path: Path) -> None:
    source = put(tmp_path / "x", b'{"key": "a", "content": "b", "text": 5}\n')
    assert read_source(source, ReadOptions(text_column="content", id_column="key")) == [(0, "a", "b", None)]


def test_check_finds_nothing_in_good_sources(tmp_path: Path) -> None:
    assert check(put(tmp_path / "x", LINES + b"broken\n"), OPTIONS) == ""
    assert check(put_table(tmp_path / "y", pa.table({"text": TEXTS}), row_group_size=1), OPTIONS) == ""
