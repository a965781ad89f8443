"""WARC and WET as sources: every record a row, beside fastwarc; what is read is where it says it is."""

from __future__ import annotations

import gzip
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from fastwarc.warc import ArchiveIterator

from tests.test_readers import OPTIONS, put, read_source, rows_of
from tests.web.warcs import TEXT, by_record, good, record, response
from transforms.io.kept_columns import KeptColumn
from transforms.io.readers import ReadOptions, UnreadableSource, first_look, read, split
from transforms.io.readers.streams import compression_of
from transforms.io.readers.warc_records import records

INFO = record(b"software: test\r\n", "warcinfo", media="application/warc-fields")
PIECES = [INFO, *(good(f"page-{i}") for i in range(20)), record(b"GET / HTTP/1.1\r\n\r\n", "request")]


def wet(text: str, name: str) -> bytes:
    return record(text.encode(), "conversion", f"http://mill.example/{name}", media="text/plain")


@pytest.mark.parametrize(
    "pack",
    [
        lambda: b"".join(PIECES),
        lambda: by_record(*PIECES),
        lambda: gzip.compress(b"".join(PIECES)),
        lambda: b"".join(map(zstandard.compress, PIECES)),
    ],
)
def test_records_are_those_of_fastwarc(pack: Callable[[], bytes]) -> None:
    data = pack()
    ours = list(records("x", io.BytesIO(data), compression_of(data[:8])))
    theirs = [
        (found.record_id, found.headers["WARC-Target-URI"], found.reader.read(), found.stream_pos)
        for found in ArchiveIterator(io.BytesIO(data), parse_http=False)
    ]
    assert [(r.headers["warc-record-id"], r.url, r.block) for r in ours] == [found[:3] for found in theirs]
    if len({r.offset for r in ours}) > 1:  # of records in one member, fastwarc counts in another way
        assert [r.offset for r in ours] == [found[3] for found in theirs]
        assert all(a.offset + a.length == b.offset for a, b in itertools.pairwise(ours))


def test_wet_is_read_record_by_record(tmp_path: Path) -> None:
    texts = [f"{i}: {TEXT}\nзвук" for i in range(5)]
    data = by_record(INFO, *(wet(text, f"page-{i}") for i, text in enumerate(texts)))
    source = put(tmp_path / "x.jsonl", data)
    rows = read_source(source)
    assert [row[2:] for row in rows] == [(None, "not_a_page"), *((text, None) for text in texts)]
    assert rows[3][1] == "<urn:uuid:http://mill.example/page-2>"
    (shard,) = split(source, OPTIONS)
    keep = np.array([row == 3 for row in range(6)])
    assert rows_of(read(shard, OPTIONS, keep)) == [rows[3]]
    assert first_look(source, OPTIONS).reason == ""


def test_what_a_record_says_of_itself_can_be_kept(tmp_path: Path) -> None:
    data = by_record(INFO, *(wet(f"text {i}", f"page-{i}") for i in range(3)))
    source = put(tmp_path / "x", data)
    names = ("url", "date", "record_id", "warc_offset", "warc_length", "mime")
    look = first_look(source, ReadOptions(columns=tuple(map(KeptColumn.parse, names))))
    columns = tuple(KeptColumn(name, name, look.types[name][0]) for name in names)
    options = ReadOptions(columns=columns)
    (batch,) = read(split(source, options)[0], options)
    rows = batch.select(list(names)).to_pylist()
    assert rows[2]["url"] == "http://mill.example/page-1"
    assert (rows[2]["date"], rows[2]["mime"]) == ("2026-01-15T12:00:00Z", "text/plain")
    assert rows[2]["record_id"] == batch["id"][2].as_py()
    piece = data[rows[2]["warc_offset"] :][: rows[2]["warc_length"]]
    assert gzip.decompress(piece) == wet("text 1", "page-1")


def test_html_is_left_to_extract_and_told_so(tmp_path: Path) -> None:
    source = put(tmp_path / "x", by_record(INFO, good("a"), good("b")))
    with pytest.raises(UnreadableSource, match="beam_pipeline extract"):
        read_source(source)
    text = record(response(b"plain text", "Content-Type: text/plain"))
    rows = read_source(put(tmp_path / "y", by_record(INFO, good("a"), text)))
    assert [row[2:] for row in rows] == [(None, "not_a_page"), (None, "not_extracted"), ("plain text", None)]
