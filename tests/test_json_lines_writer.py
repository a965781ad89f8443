"""Rows as JSON Lines: every type that a column can have, one stream of many frames, whole or not at all."""

from __future__ import annotations

import datetime
import decimal
import io
import json
from pathlib import Path

import pyarrow as pa
import zstandard

from transforms.io.json_lines_writer import JsonLinesWriter

ROWS = {
    "text": pa.array(['a\u2028"b"\n', "", "\N{GRINNING FACE}"]),
    "share": pa.array([0.5, float("nan"), None], pa.float32()),
    "big": pa.array([2**64 - 1, 0, None], pa.uint64()),
    "day": pa.array([datetime.date(2024, 2, 29), None, None]),
    "at": pa.array([datetime.datetime(2024, 2, 29, 1, 2, 3, 4000), None, None], pa.timestamp("us")),
    "price": pa.array([decimal.Decimal("1.50"), None, None]),
    "bytes": pa.array([b"abc", b"\xff\x00", None]),
    "took": pa.array([datetime.timedelta(seconds=1.5), None, None]),
    "nested": pa.array([{"a": [1, 2], "b": None}, None, {"a": [], "b": "c"}]),
    "language": pa.array(["de", "de", None]).dictionary_encode(),
}


def lines_of(data: bytes) -> list[dict[str, object]]:
    stream = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True)
    return [json.loads(line) for line in stream.read().decode().split("\n")[:-1]]


def test_every_type_has_a_form_in_json(tmp_path: Path) -> None:
    writer = JsonLinesWriter(str(tmp_path / "x.jsonl.zst"))
    writer.write(pa.record_batch(ROWS))
    assert not list(tmp_path.glob("*.zst"))
    writer.write(pa.record_batch({"text": ["second frame"]}))
    writer.close()
    first, second, third, more = lines_of((tmp_path / "x.jsonl.zst").read_bytes())
    assert first == {
        "text": "a\u2028\"b\"\n", "share": 0.5, "big": 2**64 - 1, "day": "2024-02-29",
        "at": "2024-02-29T01:02:03.004000",
        "price": "1.50", "bytes": "abc", "took": 1.5, "nested": {"a": [1, 2], "b": None}, "language": "de",
    }  # fmt: skip
    assert second["bytes"] == "/wA=" and second["share"] is None and second["nested"] is None
    assert third["text"] == "\N{GRINNING FACE}" and third["nested"] == {"a": [], "b": "c"}
    assert more == {"text": "second frame"}


def test_times_of_every_unit_and_year(tmp_path: Path) -> None:
    count = 1_700_000_000_123_456_789
    rows = {
        "ns": pa.array([count, None], pa.timestamp("ns")),
        "there": pa.array([count // 10**6, None], pa.timestamp("ms", "Asia/Kathmandu")),
        "seconds": pa.array([-62_135_596_800, 10**12], pa.timestamp("s")),
        "far": pa.array([2**63 - 1, -(2**63)], pa.timestamp("us", "UTC")),
        "time": pa.array([1, None], pa.time64("ns")),
        "day": pa.array([-719_162, 2**31 - 1], pa.date32()),
        "day64": pa.array([86_400_000, None], pa.date64()),
        "listed": pa.array([[count], None], pa.list_(pa.timestamp("ns"))),
        "apart": pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
    }
    writer = JsonLinesWriter(str(tmp_path / "x.jsonl.zst"))
    writer.write(pa.record_batch(rows))
    writer.write(pa.record_batch(rows).slice(1))
    writer.close()
    first, second, again = lines_of((tmp_path / "x.jsonl.zst").read_bytes())
    assert first == {
        "ns": "2023-11-14T22:13:20.123456789", "there": "2023-11-15T03:58:20.123+05:45",
        "seconds": "0001-01-01T00:00:00", "far": None, "time": "00:00:00.000000001", "day": "0001-01-01",
        "day64": "1970-01-02", "listed": ["2023-11-14T22:13:20.123456789"], "apart": [1, 2, 3],
    }  # fmt: skip
    assert second == again == dict.fromkeys(rows)


def test_what_is_given_up_leaves_no_object(tmp_path: Path) -> None:
    writer = JsonLinesWriter(str(tmp_path / "x.jsonl.zst"))
    writer.write(pa.record_batch({"text": ["a"]}))
    writer.close(ValueError("given up"))
    assert not list(tmp_path.glob("*.zst"))
