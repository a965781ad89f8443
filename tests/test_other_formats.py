"""Arrow IPC, plain text, archives, and every compression: rows where they are expected, damage as a reason."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from schemas.shards import Shard
from tests.test_readers import OPTIONS, put, read_source, rows_of
from transforms.io.kept_columns import KeptColumn
from transforms.io.readers import ReadOptions, UnreadableSource, check, first_look, read, split

LINES = b"".join(json.dumps({"id": str(i), "text": f"text {i} äx字"}).encode() + b"\n" for i in range(300))
ROWS = [(i, str(i), f"text {i} äx字", None) for i in range(300)]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
}
TABLE = pa.table({"id": [str(i) for i in range(300)], "text": [row[2] for row in ROWS], "url": ["u"] * 300})


# Compressions


@pytest.mark.parametrize("name", COMPRESS)
def test_streams_one_after_another_are_read(tmp_path: Path, name: str) -> None:
    compress = COMPRESS[name]
    half = len(LINES) // 2 + 7
    for data in (compress(LINES), compress(LINES[:half]) + compress(b"") + compress(LINES[half:])):
        source = put(tmp_path / "x.jsonl", data)
        assert read_source(source) == ROWS
        assert first_look(source, OPTIONS).columns == ("id", "text")


@pytest.mark.parametrize("name", COMPRESS)
def test_damage_in_a_stream_is_a_reason(tmp_path: Path, name: str) -> None:
    data = COMPRESS[name](LINES)
    assert name in check(put(tmp_path / "cut", data[:-9]), OPTIONS)
    chance = random.Random(name)
    for _ in range(100):
        damaged = bytearray(data)
        for _ in range(3):
            damaged[chance.randrange(8, len(data))] ^= 1 << chance.randrange(8)
        check(put(tmp_path / "x", bytes(damaged)), OPTIONS)  # a reason or not, never anything else


@pytest.mark.parametrize("name", ["bzip2", "xz", "lz4"])
def test_garbage_behind_the_last_stream_is_left_out_with_a_warning(tmp_path: Path, name: str) -> None:
    source = put(tmp_path / "x", COMPRESS[name](LINES) + b"garbage that is no stream")
    warnings: list[str] = []
    assert rows_of(read(Shard(source, format="json lines"), OPTIONS, warn=warnings.append)) == ROWS
    assert f"garbage after the last stream of {name}" in warnings[0]


# Arrow


def arrow(table: pa.Table, stream: bool = False, rows: int = 70, **options: object) -> bytes:
    sink = io.BytesIO()
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("codec", [None, "zstd", "lz4"])
def test_arrow_is_read_batch_by_batch(tmp_path: Path, stream: bool, codec: str | None) -> None:
    source = put(tmp_path / "x.parquet", arrow(TABLE, stream, compression=codec))
    assert read_source(source) == ROWS
    (shard,) = split(source, OPTIONS)
    assert shard.format == "arrow"
    keep = np.arange(300) % 7 == 3
    assert rows_of(read(shard, OPTIONS, keep)) == [row for row in ROWS if row[0] % 7 == 3]
    assert first_look(source, OPTIONS).columns == ("id", "text", "url")


@pytest.mark.parametrize(
    "kind", ["string", "large_string", "string_view", "large_binary", "dictionary<values=string, indices=int32>"]
)
def test_texts_of_any_string_like_type(tmp_path: Path, kind: str) -> None:
    texts = pa.array(["a", "", None, "äx字"])
    if kind.startswith("dictionary"):
        texts = texts.dictionary_encode()
    else:
        texts = texts.cast(pa.type_for_alias(kind))
    rows = read_source(put(tmp_path / "x", arrow(pa.table({"text": texts}))))
    assert [row[2:] for row in rows] == [("a", None), (None, "empty_text"), (None, "null_text"), ("äx字", None)]


def test_nested_columns_and_kept_ones(tmp_path: Path) -> None:
    table = pa.table({"doc": pa.array([{"body": "a", "n": 1}, {"body": "b", "n": 2}]), "text": ["x", "y"]})
    source = put(tmp_path / "x", arrow(table))
    options = ReadOptions(columns=(KeptColumn("doc.n", "n", pa.int64()),))
    (batch,) = read(split(source, options)[0], options)
    assert (batch["text"].to_pylist(), batch["n"].to_pylist()) == (["x", "y"], [1, 2])


def test_what_is_wrong_with_an_arrow_file_is_told(tmp_path: Path) -> None:
    whole = arrow(TABLE)
    assert "cut short" in check(put(tmp_path / "a", whole[:-100]), OPTIONS)
    assert "Arrow" in check(put(tmp_path / "b", arrow(TABLE, stream=True)[:3000]), OPTIONS)
    assert "text_column" in check(put(tmp_path / "c", arrow(TABLE.rename_columns(["id", "body", "url"]))), OPTIONS)
    assert "isn't a string but int64" in check(put(tmp_path / "d", arrow(pa.table({"text": [1]}))), OPTIONS)
    chance = random.Random(1)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        check(put(tmp_path / "x", bytes(damaged)), OPTIONS)


# Plain text


def test_plain_text_is_read_if_the_setting_says_what_a_document_is(tmp_path: Path) -> None:
    source = put(tmp_path / "x.jsonl", b"\xef\xbb\xbfFirst line\nsecond\n\n \nAnother {paragraph}\n\n\ngr\xfcn\n")
    assert "none of its" in check(source, OPTIONS)
    paragraphs = read_source(source, ReadOptions(plain_text="paragraph"))
    assert paragraphs == [
        (0, None, "First line\nsecond", None),
        (1, None, "Another {paragraph}", None),
        (2, None, None, "invalid_utf8"),
    ]
    text = "A whole\n\nbook.\n"
    book = put(tmp_path / "y", gzip.compress(text.encode()))
    assert read_source(book, ReadOptions(plain_text="file")) == [(0, None, text, None)]
    lines = put(tmp_path / "z", LINES)
    assert read_source(lines, ReadOptions(plain_text="file")) == ROWS  # JSON Lines stay what they are
    with pytest.raises(ValueError, match="plain_text"):
        ReadOptions(plain_text="line")


# Archives


def members() -> dict[str, bytes]:
    sink = io.BytesIO()
    pq.write_table(TABLE.slice(200), sink)
    return {
        "a/one.jsonl": LINES[: LINES.index(b'{"id": "100"')],
        "README.md": b"<html>Read me</html>\n",
        "b/three": sink.getvalue(),
    }


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as archive:
        archive.mkdir("folder")
        for name, data in files.items():
            archive.writestr(name, data)
    return sink.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


ARCHIVES: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zipped,
    "zip-stored": lambda files: zipped(files, zipfile.ZIP_STORED),
    "tar": tarred,
    **{f"tar-{name}": lambda files, name=name: COMPRESS[name](tarred(files)) for name in COMPRESS},
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_members_are_read_one_after_another(tmp_path: Path, name: str) -> None:
    files = members()
    source = put(tmp_path / "x", ARCHIVES[name](files))
    expected = ROWS[:100] + [(100 + i, *row[1:]) for i, row in enumerate(ROWS[200:])]
    (shard,) = split(source, OPTIONS)
    warnings: list[str] = []
    assert rows_of(read(shard, OPTIONS, warn=warnings.append)) == expected
    assert any("member README.md" in warning and "left out" in warning for warning in warnings)
    keep = np.arange(200) % 9 == 0
    assert rows_of(read(shard, OPTIONS, keep, str)) == [row for row in expected if row[0] % 9 == 0]
    options = ReadOptions(columns=(KeptColumn("member", "m", pa.string()), KeptColumn("member_row", "r", pa.int64())))
    where = [row for batch in read(shard, options, warn=str) for row in batch.select(["row", "m", "r"]).to_pylist()]
    assert where[150] == {"row": 150, "m": "b/three", "r": 50}
    assert first_look(source, OPTIONS).columns == ("id", "text")


@pytest.mark.parametrize("name", ["zip", "tar", "tar-gzip"])
def test_what_is_wrong_with_an_archive_is_told(tmp_path: Path, name: str) -> None:
    make = ARCHIVES[name]
    if name == "zip":  # a tar without members is zeros
        assert "empty" in check(put(tmp_path / "e", zipped({})), OPTIONS)
    assert "archive within" in check(put(tmp_path / "n", make({"x.zip": zipped(members())})), OPTIONS)
    assert "member README.md" in check(put(tmp_path / "r", make({"README.md": b"<html>"})), OPTIONS)
    whole = make(members())
    broken = members() | {"b/three": members()["b/three"][:-9]}
    assert "cut short" in " ".join(_warnings(put(tmp_path / "m", make(broken))))
    chance = random.Random(name)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 0xFF
        with_reason = put(tmp_path / "x", bytes(damaged))
        for shard in split(with_reason, OPTIONS):
            try:
                list(read(shard, OPTIONS, warn=str))
            except UnreadableSource as unreadable:
                assert unreadable.reason


def _warnings(source) -> list[str]:
    warnings: list[str] = []
    list(itertools.chain.from_iterable(read(shard, OPTIONS, warn=warnings.append) for shard in split(source, OPTIONS)))
    return warnings


def test_a_member_without_a_name_is_a_reason(tmp_path: Path) -> None:
    whole = zipped({"a": b'{"text": "x"}\n'})
    name = whole.rindex(b"PK\x01\x02") + 28  # its length in the list of members
    assert whole[name : name + 2] == b"\x01\x00"
    assert "the archive can't be read" in check(
        put(tmp_path / "x.zip", whole[:name] + b"\x00\x00" + whole[name + 2 :]), OPTIONS
    )
