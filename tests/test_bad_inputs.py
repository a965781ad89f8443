"""What can't be used is an outcome with a reason or a listed source, and wrong usage is one clear line."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests import runs
from tests.test_parquet_footer import encrypted

TEXT = "The ferry leaves at seven from the old harbour, and number {} is painted on its side in white letters."


def write_good(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": [TEXT.format(row) for row in range(50)]}), folder / "good.parquet")


def test_unreadable_sources_are_listed_and_the_rest_is_done(tmp_path: Path) -> None:
    sources, output = tmp_path / "in", tmp_path / "out"
    write_good(sources)
    whole = (sources / "good.parquet").read_bytes()
    (sources / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    pq.write_table(pa.table({"content": ["no text column"]}), sources / "column.parquet")
    lines = b"".join(json.dumps({"text": TEXT.format(row)}).encode() + b"\n" for row in range(500))
    (sources / "cut.jsonl.gz").write_bytes(gzip.compress(lines)[:-200])
    (sources / "_SUCCESS").write_bytes(b"")
    done = runs.run(sources, output, "--direct_num_workers", 1, status=3)
    manifest = runs.manifest(output)
    reasons = {Path(source["uri"]).name: source["reason"] for source in manifest["unreadable"]}
    assert set(reasons) == {"cut.parquet", "column.parquet", "cut.jsonl.gz"}
    assert "text_column" in reasons["column.parquet"]
    assert manifest["counts"]["documents"] == 50
    assert "cut.jsonl.gz" in done.stderr
    again = runs.run(sources, output, "--direct_num_workers", 1, status=3)
    assert "cut.jsonl.gz" in again.stderr

    strict = tmp_path / "strict"
    refused = runs.run(sources, strict, "--strict", status=2)
    assert "cut.jsonl.gz" in refused.stderr
    assert not strict.exists() or not list(strict.iterdir())


def test_what_is_no_source_is_named_and_what_is_nearly_one_is_read(tmp_path: Path) -> None:
    sources, output = tmp_path / "in", tmp_path / "out"
    write_good(sources)
    records = [{"id": row, "text": TEXT.format(row + 100)} for row in range(20)]
    lines = [json.dumps(record).encode() + b"\n" for record in records]
    (sources / "array.jsonl").write_bytes(json.dumps(records).encode())
    (sources / "body.jsonl").write_bytes(b"".join(lines).replace(b'"text"', b'"body"'))
    (sources / "notes.md").write_bytes(b"# Notes\n\nNothing to read.\n")
    encrypted(sources / "secret.parquet", pa.table({"text": ["a"], "other": [1]}), "text", plaintext_footer=True)
    encrypted(
        sources / "open.parquet", pa.table({"text": [TEXT.format(7000)], "id": ["a"]}), "id", plaintext_footer=True
    )
    (sources / "tail.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines[:2])) + b"trailing garbage")
    done = runs.run(sources, output, "--direct_num_workers", 1, status=3)
    manifest = runs.manifest(output)
    reasons = {Path(source["uri"]).name: source["reason"] for source in manifest["unreadable"]}
    assert set(reasons) == {"array.jsonl", "body.jsonl", "notes.md", "secret.parquet"}
    assert "one JSON array" in reasons["array.jsonl"]
    assert "there is no field 'text' (text_column) (missing_text)" in reasons["body.jsonl"]
    assert "(invalid_json)" in reasons["notes.md"]
    assert "it is encrypted" in reasons["secret.parquet"]
    warnings = {Path(source["uri"]).name: source["warning"] for source in manifest["read_with_warnings"]}
    assert set(warnings) == {"open.parquet", "tail.jsonl.gz"}
    assert "trailing" not in warnings["tail.jsonl.gz"]
    assert "garbage after the last gzip member" in done.stderr
    assert manifest["counts"]["documents"] == 53
    assert manifest["counts"]["invalid"] == {}
    # The second line of two with a blank one between them is row 1.
    shown = runs.ask("trace", "--output", output, "--source", sources / "tail.jsonl.gz", "--row", 1, "--text")
    assert TEXT.format(101) in json.dumps(shown)

    strict = tmp_path / "strict"
    refused = runs.run(sources, strict, "--strict", status=2)
    assert all(name in refused.stderr for name in reasons)
    assert not strict.exists() or not list(strict.iterdir())
    trained = runs.command("train-tokenizer", "--input", sources, "--output", tmp_path / "t.json", "--vocab_size", 300)
    done = subprocess.run(trained, cwd=runs.ROOT, capture_output=True, text=True, check=False)
    assert "secret.parquet" in done.stderr
    assert (tmp_path / "t.json").exists(), done.stderr


def test_a_source_of_which_nothing_is_left_is_listed_although_its_rows_have_their_outcomes(tmp_path: Path) -> None:
    sources, output = tmp_path / "in", tmp_path / "out"
    write_good(sources)
    pq.write_table(pa.table({"text": ["", None, ""]}), sources / "shards.parquet", row_group_size=1)
    (sources / "blanks.jsonl").write_bytes(b'{"text": " \\n\\t "}\n' * 2)
    (sources / "half.jsonl").write_bytes(b'{"text": ""}\n{"text": "%s"}\n' % TEXT.format(900).encode())
    runs.run(sources, output, "--direct_num_workers", 1, "--shard_bytes", 1, status=3)
    manifest = runs.manifest(output)
    assert {Path(source["uri"]).name: source["reason"] for source in manifest["unreadable"]} == {
        "shards.parquet": "none of its 3 rows can be used: most are empty_text",
        "blanks.jsonl": "none of its 2 rows can be used: most are empty_text",
    }
    assert manifest["counts"]["documents"] == 57
    assert manifest["counts"]["invalid"] == {"empty_text": 5, "null_text": 1}
    answer = runs.ask("trace", "--output", output, "--source", sources / "shards.parquet", "--row", 1)
    assert answer["reason"] == "null_text"


def test_unusable_rows_are_outcomes(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    rows = [
        json.dumps({"id": "good", "text": TEXT.format(1)}).encode(),
        b'{"id": "null", "text": null}',
        b'{"id": "empty", "text": ""}',
        b'{"id": "blanks", "text": " \\n\\t "}',
        b'{"id": "number", "text": 7}',
        b'{"id": "missing"}',
        b'{"id": "broken", "text": "half',
        b'{"id": "latin-1", "text": "caf\xe9 au lait"}',
        b'{"id": "surrogate", "text": "lone \\ud83d end"}',
        b"[1, 2]",
    ]
    source.write_bytes(b"\n".join(rows) + b"\n")
    runs.run(source, tmp_path / "out", "--direct_num_workers", 1)
    counts = runs.manifest(tmp_path / "out")["counts"]
    assert counts["documents"] == len(rows)
    assert counts["kept"] == 1
    assert counts["invalid"] == {
        "null_text": 1, "empty_text": 2, "text_not_a_string": 1, "missing_text": 1, "invalid_json": 2,
        "invalid_utf8": 2,
    }  # fmt: skip
    answer = runs.ask("trace", "--output", tmp_path / "out", "--source", source, "--row", 7)
    assert (answer["outcome"], answer["reason"]) == ("invalid", "invalid_utf8")


def test_wrong_usage_is_one_line_and_status_2(tmp_path: Path) -> None:
    write_good(tmp_path / "in")
    for flags, message in [
        (("--min_similarity", 1.5), "min_similarity"),
        (("--min_similarty", 0.9), "did you mean --min_similarity"),
        (("--filters", "tests.example_filters:missing"), "tests.example_filters:missing"),
        (("--eos", "<nothing>"), "<nothing>"),
        (("--config", tmp_path / "none.yaml"), "none.yaml"),
        (("--lineage_dsn", "host=127.0.0.1 port=1 connect_timeout=1"), "127.0.0.1"),
    ]:
        refused = runs.run(tmp_path / "in", tmp_path / "out", *flags, status=2)
        assert message in refused.stderr, flags
        assert "Traceback" not in refused.stderr
        assert not (tmp_path / "out").exists()
    refused = runs.run(tmp_path / "nothing-here", tmp_path / "out", status=2)
    assert "nothing-here" in refused.stderr


def test_a_broken_filter_is_named_with_its_place(tmp_path: Path) -> None:
    write_good(tmp_path / "in")
    failed = runs.run(
        tmp_path / "in", tmp_path / "out", "--filters", "tests.example_filters:fails",
        "--no-check_steps", "--direct_num_workers", 1, status=1,
    )  # fmt: skip
    assert "step fails failed at shard" in failed.stderr
    assert "good.parquet" in failed.stderr
    assert "this filter is broken" in failed.stderr
    assert "tests/example_filters.py, line 27, in fails: raise RuntimeError" in failed.stderr
    assert "Traceback" not in failed.stderr
