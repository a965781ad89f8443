"""CSV and TSV: records with quotes and line breaks in them, damage that costs its own row only."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
import zstandard

from tests.test_readers import OPTIONS, put, read_source, rows_of
from transforms.io.readers import FirstLook, ReadOptions, UnreadableSource, csv_table, first_look, read, split

ROWS = [("a", 'he said "no",\nand left'), ("b", "zwölf\tBoxkämpfer; | 'q'"), ("c", "x" * 200_000)]


def table(delimiter: str, terminator: str = "\r\n") -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, lineterminator=terminator)
    writer.writerows([("id", "text", "n"), *((*row, "1") for row in ROWS)])
    return sink.getvalue().encode()


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("terminator", ["\n", "\r\n"])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress, zstandard.compress, lambda data: b"\xef\xbb\xbf" + data])
def test_every_record_is_a_row(tmp_path: Path, delimiter: str, terminator: str, wrap) -> None:
    source = put(tmp_path / "x.jsonl", wrap(table(delimiter, terminator)))
    assert [(row, *values) for row, values in enumerate(ROWS)] == [row[:3] for row in read_source(source)]
    (shard,) = split(source, OPTIONS)
    assert shard.format == "csv"
    keep = np.array([False, True, False])
    assert [row[0] for row in rows_of(read(shard, OPTIONS, keep))] == [1]
    look = first_look(source, OPTIONS)
    assert (look.reason, look.columns, look.has_text) == ("", ("id", "text", "n"), True)


def test_what_is_wrong_with_a_cell_costs_its_row_only(tmp_path: Path) -> None:
    data = b"id,text\n1,good\n2,\n\n3\n4,gr\xfcn\n\xff,id\n5,a,b\n"
    assert read_source(put(tmp_path / "x", data)) == [
        (0, "1", "good", None),
        (1, "2", None, "empty_text"),
        (2, None, None, "missing_text"),
        (3, "4", None, "invalid_utf8"),
        (4, None, "id", None),
        (5, "5", "a", None),
    ]


def test_a_table_whose_header_lacks_the_text_column_is_named_by_its_first_line(tmp_path: Path) -> None:
    source = put(tmp_path / "x", b"id,content\n1,a\n")
    with pytest.raises(UnreadableSource, match="id,content"):
        read_source(source)
    assert read_source(source, ReadOptions(text_column="content")) == [(0, "1", "a", None)]


def test_json_lines_that_look_like_a_table_stay_json_lines(tmp_path: Path) -> None:
    source = put(tmp_path / "x", b'text,"id"\n{"text": "good"}\n')
    assert [row[3] for row in read_source(source)] == ["invalid_json", None]


def test_a_quote_left_open_is_a_reason_and_takes_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_table, "MOST_CELL_CHARACTERS", 1000)
    source = put(tmp_path / "x", b'id,text\n1,a\n2,"' + b"line\n" * 1000)
    with pytest.raises(UnreadableSource, match=r"record 3: .*quote"):
        read_source(source)
    assert isinstance(first_look(source, OPTIONS), FirstLook)
