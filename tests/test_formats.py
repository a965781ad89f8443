"""What people bring by mistake is named with what to do about it; JSON Lines are never taken for something else."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pyarrow import orc

from schemas.shards import Source
from tests.test_readers import LINES, OPTIONS, put, read_source, source_of
from transforms.io.readers import FirstLook, ReadOptions, UnreadableSource, check, first_look, first_looks, read, split

RECORDS = [{"id": i, "text": f"text {i}, of a few words"} for i in range(3)]
TABLE = pa.Table.from_pylist(RECORDS)
OWN_LINES = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS)
MANY = [{"id": i, "text": "of many words " * 50, "empty": {}} for i in range(1000)]


def of_writer(write: Callable[[io.BytesIO], object]) -> bytes:
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE documents (text)")
    return connection.serialize()


PARQUET = of_writer(lambda sink: pq.write_table(TABLE, sink))
OTHERS: dict[str, tuple[bytes, str, str]] = {
    "array": (json.dumps(RECORDS).encode(), "one JSON array", "jq -c '.[]'"),
    "array-pretty": (json.dumps(RECORDS, indent=2).encode(), "one JSON array", "jq -c '.[]'"),
    "array-of-one": (json.dumps(RECORDS[:1], indent=0).encode(), "one JSON array", "jq"),
    "array-by-line": (b"[\n" + b",\n".join(OWN_LINES.splitlines()) + b"\n]\n", "one JSON array", "jq"),
    "array-long": (json.dumps(MANY).encode(), "one JSON array", "jq"),
    "array-long-pretty": (json.dumps(MANY, indent=1).encode(), "one JSON array", "jq"),
    "array-bom": (b"\xef\xbb\xbf" + json.dumps(MANY).encode(), "one JSON array", "jq"),
    "array-gzip": (gzip.compress(json.dumps(MANY).encode()), "one JSON array in gzip", "jq"),
    "commas": (b",\n".join(OWN_LINES.splitlines()), "JSON records with commas", "sed"),
    "commas-crlf": (OWN_LINES.replace(b"}\n", b"},\r\n"), "JSON records with commas", "sed"),
    "pretty": (b"\n".join(json.dumps(r, indent=2).encode() for r in RECORDS), "several lines each", "jq -c ."),
    "one-pretty": (json.dumps(RECORDS[0], indent=2).encode(), "several lines each", "jq -c ."),
    "no-breaks": (OWN_LINES.replace(b"\n", b""), "without line breaks", "jq -c ."),
    "old-mac": (OWN_LINES.replace(b"\n", b"\r"), "without line breaks", "jq -c ."),
    "rfc-7464": (b"".join(b"\x1e" + line for line in OWN_LINES.splitlines(keepends=True)), "7464", "tr -d"),
    "parquet-gzip": (gzip.compress(PARQUET), "a Parquet file in gzip", "gzip -d"),
    "gzip-gzip": (gzip.compress(gzip.compress(OWN_LINES)), "gzip in gzip", "gzip -d"),
    "html": (b"<!DOCTYPE html>\n<html><body>" + OWN_LINES[:50] + b"</body></html>", "HTML", "extract"),
    "xml": (b'<?xml version="1.0"?>\n<mediawiki xml:lang="de">\n</mediawiki>', "XML", "extract"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "a PDF file", "extract"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG picture", "extract"),
    "utf-16": (OWN_LINES.decode().encode("utf-16"), "UTF-16", "iconv"),
    "utf-16-no-bom": (OWN_LINES.decode().encode("utf-16-le"), "UTF-16", "iconv"),
    "utf-16-big": (OWN_LINES.decode().encode("utf-16-be"), "UTF-16", "iconv"),
    "utf-32": (OWN_LINES.decode().encode("utf-32"), "UTF-32", "iconv"),
    "feather": (b"FEA1" + bytes(40), "Feather", "Parquet"),
    "orc": (of_writer(lambda sink: orc.write_table(TABLE, sink)), "ORC", "Parquet"),
    "sqlite": (database(), "SQLite", "Parquet"),
    "numpy": (of_writer(lambda sink: np.save(sink, np.arange(3))), "NumPy", "Parquet"),
    "pickle": (pickle.dumps(RECORDS), "pickle", "Parquet"),
    "rtf": (b"{\\rtf1\\ansi text}", "RTF", "extract"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    data, what, remedy = OTHERS[name]
    source = put(tmp_path / "x.jsonl", data)
    (shard,) = split(source, OPTIONS)
    assert what in shard.error
    assert remedy in shard.error
    assert first_look(source, OPTIONS) == FirstLook(source, shard.error)
    assert check(source, OPTIONS) == shard.error


GOOD = b'{"id": 7, "text": "good"}\n'


@pytest.mark.parametrize(
    "start",
    [
        b'{"text": "half a',
        b'{"text": "first"} {}',
        b'{"text": "first"},',
        b"[1, 2]",
        b"[",
        b"nonsense",
        b"id,text",
        b"<html>",
        b"{",
        b'{"a":',
        b"BZ",
        b"PK",
        b"\xef\xbb\xbf",
    ],
)
def test_one_odd_line_at_the_start_does_not_cost_the_others(tmp_path: Path, start: bytes) -> None:
    source = put(tmp_path / "x", start + b"\n" + GOOD * 3)
    assert [row[2] for row in read_source(source)][-3:] == ["good"] * 3


@pytest.mark.parametrize(
    "line",
    [
        b'{"abc": {"DUCK": 1}, "text": "good"}',
        b'{"abcd":"WEBP", "text": "good"}',
        b' {"ftyp": 1, "text": "good"}',
        b'{"text": "good", "a": "PAR1"}',
        b'{"x": NaN, "text": "good"}',
        b'{"url": "caf\xe9", "text": "good"}',
        b'{"x": ' + b"[" * 2000 + b"]" * 2000 + b', "text": "good"}',
        b'{"x": "' + b"long" * 100_000 + b'", "text": "good"}',
    ],
)
def test_bytes_within_a_record_mean_nothing(tmp_path: Path, line: bytes) -> None:
    for data in (line, line + b"\n" + line, gzip.compress(line + b"\n"), b"\n\r\n" + line):
        rows = read_source(put(tmp_path / "x", data))
        assert {row[2] for row in rows} == {"good"}


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    source = put(tmp_path / "x", b"\n\n" + GOOD + b" \t\r\n\r\n" + GOOD + b"\n" * 3_000_000 + GOOD)
    assert read_source(source) == [(row, "7", "good", None) for row in range(3)]
    keep = np.array([False, False, True])
    (shard,) = split(source, OPTIONS)
    assert [batch["row"].to_pylist() for batch in read(shard, OPTIONS, keep)] == [[2]]
    assert read_source(put(tmp_path / "y", b"\n \n\t\r\n")) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"body": "a", "url": "b"}\n' * 5, "there is no field 'text' (text_column) (missing_text); the fields"),
        (b"# A title\n\nSome words.\n", "none of its 2 rows can be used: it is no JSON object (invalid_json)"),
        (b"[1]\n[2]\n", "no JSON object"),
        (b'{"text": 5}\n{"text": 6}\nx\n', "in 2 of them the text 'text' (text_column) isn't a string"),
        (b'{"text": null}\n', "is null (null_text)"),
        (b'{"text": ""}\n', "is empty (empty_text)"),
    ],
)
def test_a_source_without_a_usable_row_is_unreadable_with_the_commonest_reason(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    source = put(tmp_path / "x", data)
    assert reason in check(source, OPTIONS)
    assert check(put(tmp_path / "x", data + GOOD), OPTIONS) == ""


def test_a_parquet_source_without_a_usable_row_is_unreadable_unless_other_shards_may_have_some(tmp_path: Path) -> None:
    texts = pa.table({"text": pa.array([None, None, ""], pa.string())})
    pq.write_table(texts, tmp_path / "x", row_group_size=1)
    source = source_of(tmp_path / "x")
    assert "in 2 of them the text 'text' (text_column) is null" in check(source, OPTIONS)
    assert [row[3] for row in read_source(source, ReadOptions(shard_bytes=1))] == ["null_text"] * 2 + ["empty_text"]


def test_the_first_look_tells_columns_and_fields(tmp_path: Path) -> None:
    lines = put(tmp_path / "a.jsonl", b'{"body": "x"}\n{"url": "y", "body": "z"}\n')
    parquet = put(tmp_path / "b.parquet", PARQUET)
    nothing = put(tmp_path / "c.jsonl", b"")
    looks = list(first_looks([lines, parquet, nothing], ReadOptions(text_column="body")))
    assert looks[0] == FirstLook(lines, "", ("body", "url"), 2, True)
    assert (looks[1].columns, looks[1].has_text) == (("id", "text"), False)
    assert "no column 'body'" in looks[1].reason
    assert looks[2] == FirstLook(nothing)
    assert first_look(parquet, OPTIONS) == FirstLook(parquet, "", ("id", "text"), 3, True)
    long = put(tmp_path / "d.jsonl", b'{"x": "' + b"y" * 300_000 + b'", "text": "a"}\n')
    assert first_look(long, OPTIONS).has_text is None
    assert first_look(put(tmp_path / "e", zstandard.compress(LINES)), OPTIONS).columns == ("id", "text")


def test_of_many_sources_the_first_look_takes_a_bounded_number_and_every_kind(tmp_path: Path) -> None:
    put(tmp_path / "x", GOOD)
    made = source_of(tmp_path / "x")
    for i in range(40):
        (tmp_path / f"{i:02}.jsonl").hardlink_to(tmp_path / "x")
    (tmp_path / "41.html").write_bytes(OTHERS["html"][0])
    sources = [Source(i, str(tmp_path / f"{i:02}.jsonl"), made.etag, made.size) for i in range(40)]
    looks = list(first_looks([*sources, source_of(tmp_path / "41.html")], OPTIONS, most=5))
    assert len(looks) == 5
    assert next(look.reason for look in looks if look.source.uri.endswith("html")).startswith("is HTML")


def test_a_shard_that_cannot_be_read_says_so_when_it_is_read(tmp_path: Path) -> None:
    (shard,) = split(put(tmp_path / "x", OTHERS["sqlite"][0]), OPTIONS)
    with pytest.raises(UnreadableSource, match="tar"):
        next(read(shard, OPTIONS))
