"""Columns of the sources beside the text: found, cast without loss, carried to fingerprints, steps and tokens."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline.preflight import UnusableSettings, check_columns
from beam_pipeline.settings import Settings
from tests import runs
from tests.test_readers import source_of
from transforms.io.kept_columns import KeptColumn
from transforms.io.readers import ReadOptions, UnreadableSource, batching, first_look, read, split


def lines(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def table_of(path: Path, *records: str) -> Path:
    path.write_text("".join(record + "\n" for record in records))
    return path


def parquet(path: Path, rows: list[dict[str, Any]] | pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows), path, **options)
    return path


def kept(paths: list[Path], *columns: str, text: str = "text", identifier: str = "id") -> pa.Table:
    """What readers make of some files, with the types that planning finds."""
    sources = [dataclasses.replace(source_of(path), number=number) for number, path in enumerate(paths)]
    wanted = tuple(map(KeptColumn.parse, columns))
    found = check_columns(sources, ReadOptions(text, identifier, columns=wanted))
    options = ReadOptions(text, identifier, columns=found)
    batches = [batch for source in sources for shard in split(source, options) for batch in read(shard, options)]
    return pa.Table.from_batches(batches, options.schema)


def test_a_column_is_null_in_a_source_that_lacks_it(tmp_path: Path) -> None:
    paths = [
        parquet(tmp_path / "a.parquet", [{"text": "a", "url": "u"}]),
        parquet(tmp_path / "b.parquet", [{"text": "b"}]),
        lines(tmp_path / "c.jsonl", {"text": "c"}, {"text": "d", "url": "v"}),
        table_of(tmp_path / "d.csv", "text,url", "e,w", "f"),
    ]
    assert kept(paths, "url")["url"].to_pylist() == ["u", None, None, "v", "w", None]


CASTS = [
    (pa.int32(), pa.int64(), pa.int64()),
    (pa.int8(), pa.uint8(), pa.int16()),
    (pa.float32(), pa.float64(), pa.float64()),
    (pa.int16(), pa.float32(), pa.float32()),
    (pa.int32(), pa.float32(), pa.float64()),
    (pa.null(), pa.int64(), pa.int64()),
    (pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.string()),
    (pa.string(), pa.large_string(), pa.string()),
    (pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("us")),
    (pa.list_(pa.int32()), pa.list_(pa.int64()), pa.list_(pa.int64())),
    (pa.struct([("a", pa.int8())]), pa.struct([("b", pa.string())]), pa.struct([("a", pa.int8()), ("b", pa.string())])),
    (pa.decimal128(5, 2), pa.decimal128(9, 4), pa.decimal128(9, 4)),
    (pa.int64(), pa.float64(), None),
    (pa.string(), pa.int64(), None),
    (pa.uint64(), pa.int64(), None),
    (pa.timestamp("us"), pa.timestamp("us", "UTC"), None),
    (pa.bool_(), pa.int8(), None),
    (pa.struct([("a", pa.int32())]), pa.string(), None),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "expected"), CASTS)
def test_types_that_differ_are_cast_where_nothing_is_lost_and_else_refused_by_name(
    one: pa.DataType, other: pa.DataType, expected: pa.DataType | None, tmp_path: Path
) -> None:
    paths = []
    for name, kind in (("a", one), ("b", other)):
        table = pa.table({"text": ["a", "b"], "x": pa.nulls(2, kind)})
        paths.append(parquet(tmp_path / f"{name}.parquet", table))
    for ordered in (paths, paths[::-1]):
        if expected is None:
            with pytest.raises(UnusableSettings) as refused:
                kept(ordered, "x")
            assert all(str(part) in str(refused.value) for part in (*paths, "x=string"))
        elif pa.types.is_struct(expected):
            assert {*kept(ordered, "x").schema.field("x").type} == {*expected}
        else:
            assert kept(ordered, "x").schema.field("x").type == expected


def test_a_declared_type_parses_and_prints(tmp_path: Path) -> None:
    paths = [
        lines(tmp_path / "a.jsonl", {"text": "a", "x": 7, "y": {"k": [1]}}, {"text": "a", "x": "eight", "y": 0.5}),
        parquet(tmp_path / "year=2024" / "b.parquet", [{"text": "b", "x": "9", "y": {"k": 1}}]),
    ]
    table = kept(paths, "x=int16 as number", "y=string", "year=int32")
    assert table["number"].to_pylist() == [7, None, 9]
    assert table["y"].to_pylist() == ['{"k":[1]}', "0.5", '{"k":1}']
    assert table["year"].to_pylist() == [None, None, 2024]


def test_folders_are_columns_where_a_file_has_none(tmp_path: Path) -> None:
    paths = [
        parquet(tmp_path / "lang=de" / "topic=a%2Fb" / "x.parquet", [{"text": "a"}]),
        lines(
            tmp_path / "lang=fr" / "topic=__HIVE_DEFAULT_PARTITION__" / "x", {"text": "b"}, {"text": "c", "lang": "it"}
        ),
    ]
    table = kept(paths, "lang", "topic")
    assert table["lang"].to_pylist() == ["de", "fr", "it"]
    assert table["topic"].to_pylist() == ["a/b", None, None]


def test_a_value_of_another_type_is_null_and_told(tmp_path: Path) -> None:
    source = source_of(
        lines(tmp_path / "a.jsonl", {"text": "a", "x": 1}, {"text": "b", "x": "?"}, {"text": "c", "x": 2})
    )
    options = ReadOptions(columns=(KeptColumn("x", "x", pa.int64()),))
    told: list[str] = []
    [batch] = read(split(source, options)[0], options, warn=told.append)
    assert batch["x"].to_pylist() == [1, None, 2]
    assert told == [
        "column 'x' (keep_columns): 1 values aren't int64 and are null, the first in row 1; keep it as x=string to "
        "have them all"
    ]


def test_a_source_that_planning_has_not_seen_is_unreadable_if_its_type_is_another(tmp_path: Path) -> None:
    source = source_of(parquet(tmp_path / "a.parquet", [{"text": "a", "x": "?"}]))
    options = ReadOptions(columns=(KeptColumn("x", "x", pa.int64()),))
    with pytest.raises(UnreadableSource, match=r"'x' .* is string here and int64 in other sources"):
        list(read(split(source, options)[0], options))


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (["urll"], "did you mean 'url'"),
        (["meta.urk"], "did you mean 'meta.url'"),
        (["url=text8"], "there is no type 'text8'"),
        (["language"], "'language as source_language'"),
        (["signature"], "the pipeline has a column 'signature' itself"),
        (["url", "meta.url as url"], "'url' is named twice"),
    ],
)
def test_columns_that_cannot_be_kept_are_refused_by_name(columns: list[str], reason: str, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"text": "a", "url": "u", "meta": {"url": "v"}})
    with (
        pytest.raises(ValueError, match=reason)
        if "mean" not in reason
        else pytest.raises(UnusableSettings, match=reason)
    ):
        settings = Settings(input=[str(path)], output=str(tmp_path / "o"), tokenizer="t", keep_columns=columns)
        check_columns([source_of(path)], settings.first_reading())


def test_batches_are_bounded_with_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": "a", "tags": ["x" * 10] * 3, "m": {"s": "y" * 20}} for _ in range(50)]
    monkeypatch.setattr(batching, "BATCH_BYTES", 400)
    bounds = []
    for path in (parquet(tmp_path / "a.parquet", rows, row_group_size=7), lines(tmp_path / "b.jsonl", *rows)):
        columns = (KeptColumn("tags", "tags", pa.list_(pa.string())), KeptColumn("m.s", "m.s", pa.string()))
        options = ReadOptions(columns=columns)
        batches = [batch for shard in split(source_of(path), options) for batch in read(shard, options)]
        assert [row for batch in batches for row in batch["tags"].to_pylist()] == [row["tags"] for row in rows]
        bounds.append([batch.num_rows for batch in batches])
    assert bounds[0] == bounds[1]
    assert max(bounds[0]) == 400 // (1 + 3 * 18 + 20)


def test_a_damaged_footer_is_a_reason_whatever_is_kept(tmp_path: Path) -> None:
    rows = [{"text": "a", "m": {"a": {"b": [1, 2]}, "u": "x"}, "t": ["a"]}, {"text": "b", "m": None, "t": []}]
    data = parquet(tmp_path / "a", rows).read_bytes()
    types = {"m.a.b": pa.list_(pa.int64()), "m.u": pa.string(), "t": pa.list_(pa.string())}
    options = ReadOptions(columns=tuple(KeptColumn(path, path, kind) for path, kind in types.items()))
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    generator = random.Random(1)
    readable = 0
    for number in range(400):
        damaged = bytearray(data)
        for _ in range(generator.randint(1, 4)):
            damaged[generator.randrange(footer, len(data) - 8)] = generator.randrange(256)
        (tmp_path / str(number)).write_bytes(damaged)
        source = source_of(tmp_path / str(number))
        first_look(source, options)
        with contextlib.suppress(UnreadableSource):
            readable += sum(batch.num_rows for shard in split(source, options) for batch in read(shard, options)) > 0
    assert 10 < readable < 390


@pytest.fixture(scope="module")
def run_with_columns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over two sources, one of which has no scores, with an editor that reads a kept column."""
    folder = tmp_path_factory.mktemp("columns")
    texts = [text.replace("\n", " ") for text in runs.sample_texts() if len(text) > 200][:60]
    rows = [
        {"text": text, "id": str(i), "url": f"http://h{i}.org/", "meta": {"score": i / 2, "tags": ["a", f"t{i}"]}}
        for i, text in enumerate(texts)
    ]
    parquet(folder / "in" / "lang=xx" / "a.parquet", rows[:40], row_group_size=7)
    lines(folder / "in" / "b.jsonl", *({"text": row["text"], "url": row["url"]} for row in rows[40:]))
    (folder / "config.yaml").write_text(
        "keep_columns: [url, meta.score as score, meta.tags, lang]\n"
        "token_columns: [url, meta.tags, vowels]\n"
        "recipe:\n"
        "  - tests.example_steps:vowels\n"
        "  - tests.example_steps:signed\n"
        "  - rule: {reason: low_score, keep: 'coalesce(score, 100) >= 5 and vowels > 0'}\n"
    )
    flags = ("--config", folder / "config.yaml", "--with_text", "--direct_num_workers", 1)
    runs.run(folder / "in", folder / "out", *flags)
    return folder / "out"


def test_kept_columns_are_in_fingerprints_of_every_document(run_with_columns: Path) -> None:
    tables = [pq.read_table(file) for file in sorted((run_with_columns / "fingerprints").glob("*.parquet"))]
    rows = pa.concat_tables(tables, promote_options="permissive").to_pylist()
    assert len(rows) == 60
    assert {row["lang"] for row in rows} == {"xx", None}
    assert sum(row["score"] is None for row in rows) == 20
    dropped = [row for row in rows if row["score"] is not None and row["score"] < 5]
    assert len(dropped) == 10
    assert all(row["outcome"] and row["url"] and row["meta.tags"][0] == "a" for row in dropped)


def test_token_files_have_what_token_columns_names_and_editors_saw_kept_columns(run_with_columns: Path) -> None:
    rows = runs.tokens(run_with_columns).to_pylist()
    assert len(rows) > 20
    for row in rows:
        assert row["text"].endswith(f"\nSource: {row['url']}")
        assert row["vowels"] > 0
        assert row["source"].endswith("jsonl") or row["meta.tags"] == ["a", row["url"].replace("http://h", "t")[:-5]]
    assert "low_score" in json.loads((run_with_columns / "run.json").read_text())["counts"]["dropped"]


@pytest.mark.parametrize(("name", "reason"), [("source", "themselves"), ("nothing", "there is no kept column")])
def test_token_columns_that_cannot_be_are_refused(name: str, reason: str, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"text": "a", "source": "u"})
    flags = ("--keep_columns", "source", "--token_columns", name)
    assert reason in runs.run(path, tmp_path / "out", *flags, status=2).stderr
