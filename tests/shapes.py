"""Files as producers of training data write them, and what must come out of each.

DuckDB, polars and pandas write their own files. Spark isn't installed for a test: its physical shapes (INT96, lists
with other names, strings without annotation) are made with pyarrow. Data sets are made in the form that their
cards and their files have, with texts of ours.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

TEXTS = ["Ein Satz.", "A sentence.", "Une phrase."]
UTC = datetime.UTC


@dataclasses.dataclass(frozen=True)
class Shape:
    """Files of one form.

    Attributes:
      write: puts them into a folder.
      expected: of each kept column its values, file by file in the order of their names; ``text`` and ``id`` too.
      keep: as the setting ``keep_columns``.
    """

    name: str
    write: Callable[[Path], None]
    expected: dict[str, list[Any]]
    keep: tuple[str, ...] = ()
    text: str = "text"
    id: str = "id"


def json_lines(*rows: dict[str, Any], name: str = "a.jsonl") -> Callable[[Path], None]:
    """Writes JSON Lines, compressed as the name says."""
    data = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    packed = {".gz": gzip.compress, ".zst": zstandard.compress}.get(Path(name).suffix, bytes)(data)
    return lambda folder: write(folder / name, packed)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def arrow(columns: dict[str, Any], name: str = "a.parquet", **options: Any) -> Callable[[Path], None]:
    """Writes Parquet with pyarrow, as Hugging Face's datasets do."""
    return lambda folder: pq.write_table(pa.table(columns), folder / name, **options)


def both(*writes: Callable[[Path], None]) -> Callable[[Path], None]:
    def all_of_them(folder: Path) -> None:
        for each in writes:
            each(folder)

    return all_of_them


def duck(query: str) -> Callable[[Path], None]:
    """Runs a COPY of DuckDB; ``{folder}`` is where to, ``texts`` a table with text, id, lang and score."""

    def run(folder: Path) -> None:
        connection = duckdb.connect()
        connection.execute("CREATE TABLE texts (text VARCHAR, id BIGINT, lang VARCHAR, score DOUBLE)")
        rows = zip(TEXTS, (7, 8, 9), ("de", "en", "fr"), (0.5, None, 0.25), strict=True)
        connection.executemany("INSERT INTO texts VALUES (?, ?, ?, ?)", [list(row) for row in rows])
        connection.execute(query.format(folder=folder))
        connection.close()

    return run


HPLT = {"f": "x.warc.gz", "u": "http://a", "lang": ["deu_Latn", "nld_Latn"], "prob": [0.99, 0.01], "text": TEXTS[0],
        "id": "b1", "doc_scores": [8.5, 10, 9.25]}  # fmt: skip
OSCAR = {"content": TEXTS[0], "warc_headers": {"warc-record-id": "<urn:uuid:1>", "warc-target-uri": "http://a"},
         "metadata": {"identification": {"label": "de", "prob": 0.87}, "annotation": None}}  # fmt: skip
FINEWEB = {
    "text": TEXTS, "id": ["<urn:uuid:1>", "<urn:uuid:2>", "<urn:uuid:3>"], "dump": ["CC-MAIN-2024-10"] * 3,
    "url": ["http://a", "http://b", "http://c"], "language": ["de", "en", "fr"], "language_score": [0.9, 0.8, 0.7],
    "token_count": [3, 2, 2],
}  # fmt: skip

SHAPES = [
    Shape(
        "FineWeb",
        arrow(FINEWEB, row_group_size=1),
        {"id": FINEWEB["id"], "url": FINEWEB["url"], "token_count": [3, 2, 2], "their_score": [0.9, 0.8, 0.7]},
        ("url", "token_count", "language_score as their_score"),
    ),
    Shape(
        "FineWeb2",
        arrow(FINEWEB | {"minhash_cluster_size": [1, 5, 2], "top_langs": ['{"deu": 0.9}'] * 3}),
        {"minhash_cluster_size": [1, 5, 2], "top_langs": ['{"deu": 0.9}'] * 3, "their_language": ["de", "en", "fr"]},
        ("minhash_cluster_size", "top_langs", "language as their_language"),
    ),
    Shape(
        "Dolma",
        json_lines(
            {
                "id": "1",
                "text": TEXTS[0],
                "source": "cc",
                "added": "2024-01-01T00:00:00.000Z",
                "metadata": {"url": "http://a", "length": 9},
            },
            {
                "id": "2",
                "text": TEXTS[1],
                "source": "cc",
                "added": "2024-01-02T00:00:00.000Z",
                "metadata": {"length": 11},
            },
            name="a.json.gz",
        ),
        {"origin": ["cc", "cc"], "metadata.url": ["http://a", None], "metadata.length": [9, 11]},
        ("source as origin", "metadata.url", "metadata.length"),
    ),
    Shape(
        "Dolma, two collections",
        both(
            json_lines({"id": "1", "text": TEXTS[0], "metadata": {"subreddit": "x"}}, name="a.json.gz"),
            json_lines({"id": 2, "text": TEXTS[1], "metadata": {"olc": True}}, name="b.json.gz"),
        ),
        {"id": ["1", "2"], "metadata": ['{"subreddit":"x"}', '{"olc":true}']},
        ("metadata",),
    ),
    Shape(
        "RedPajama 1",
        both(
            json_lines({"text": TEXTS[0], "meta": {"url": "http://a", "language": "de", "source": "wikipedia"}}),
            json_lines(
                {"text": TEXTS[1], "meta": {"arxiv_id": "2101.1", "yymm": "2101", "language": "en"}}, name="b.jsonl"
            ),
        ),
        {
            "id": [None, None],
            "meta.url": ["http://a", None],
            "meta.yymm": [None, "2101"],
            "meta.language": ["de", "en"],
        },
        ("meta.url", "meta.yymm", "meta.language"),
    ),
    Shape(
        "RedPajama 2",
        json_lines(
            {
                "url": "http://a",
                "digest": "sha1:X",
                "length": 9,
                "nlines": 1,
                "raw_content": TEXTS[0],
                "source_domain": "a",
                "title": "",
            },
            name="a.json.gz",
        ),
        {"text": TEXTS[:1], "id": ["sha1:X"], "nlines": [1], "title": [""]},
        ("nlines", "title"),
        "raw_content",
        "digest",
    ),
    Shape(
        "RedPajama 2, quality signals",
        json_lines(
            {
                "text": TEXTS[0],
                "quality_signals": {"rps_doc_word_count": [[0, 9, 2.0]], "rps_lines": [[0, 4, 1], [4, 9, 0]]},
            }
        ),
        {"quality_signals.rps_doc_word_count": [[[0, 9, 2]]], "lines": [[[0, 4, 1], [4, 9, 0]]]},
        ("quality_signals.rps_doc_word_count", "quality_signals.rps_lines as lines"),
    ),
    Shape(
        "CulturaX",
        arrow(
            {
                "text": TEXTS,
                "timestamp": ["2020/01/02 03:04:05"] * 3,
                "url": ["u"] * 3,
                "source": ["mC4", "OSCAR-2301", "mC4"],
            }
        ),
        {"timestamp": ["2020/01/02 03:04:05"] * 3, "origin": ["mC4", "OSCAR-2301", "mC4"]},
        ("timestamp", "source as origin"),
    ),
    Shape(
        "mC4",
        json_lines(
            {"text": TEXTS[0], "timestamp": "2019-04-25T12:57:54Z", "url": "http://a"},
            name="c4-de.tfrecord-00000.json.gz",
        ),
        {"timestamp": [datetime.datetime(2019, 4, 25, 12, 57, 54)], "url": ["http://a"]},
        ("timestamp=timestamp[s]", "url"),
    ),
    Shape(
        "HPLT 1",
        json_lines(
            {"id": 1, "document_lang": "de", "scores": [0.8, 1], "langs": ["de"], "text": TEXTS[0], "url": "u"},
            name="a.jsonl.zst",
        ),
        {"id": ["1"], "scores": [[0.8, 1.0]], "document_lang": ["de"]},
        ("scores", "document_lang"),
    ),
    Shape(
        "HPLT 2",
        json_lines(HPLT, HPLT | {"prob": [1], "doc_scores": [3], "lang": []}, name="a.jsonl.zst"),
        {
            "id": ["b1", "b1"],
            "prob": [[0.99, 0.01], [1.0]],
            "langs": [["deu_Latn", "nld_Latn"], []],
            "u": ["http://a"] * 2,
        },
        ("prob", "lang as langs", "u"),
    ),
    Shape(
        "Common Corpus",
        arrow(
            {
                "identifier": ["x/1", "x/2", "x/3"],
                "text": TEXTS,
                "date": pa.array([None, "1887", ""]),
                "word_count": pa.array([2, None, 2], pa.int64()),
                "license": pa.array(["PD"] * 3).dictionary_encode(),
            }
        ),
        {"id": ["x/1", "x/2", "x/3"], "date": [None, "1887", ""], "word_count": [2, None, 2], "license": ["PD"] * 3},
        ("date", "word_count", "license"),
        id="identifier",
    ),
    Shape(
        "The Pile",
        json_lines({"text": TEXTS[0], "meta": {"pile_set_name": "Pile-CC"}}, name="00.jsonl.zst"),
        {"set": ["Pile-CC"]},
        ("meta.pile_set_name as set",),
    ),
    Shape(
        "OSCAR",
        json_lines(OSCAR, name="de_part_1.jsonl.zst"),
        {"text": TEXTS[:1], "id": ["<urn:uuid:1>"], "metadata.identification.prob": [0.87], "url": ["http://a"]},
        ("metadata.identification.prob", "warc_headers.warc-target-uri as url"),
        "content",
        "warc_headers.warc-record-id",
    ),
    Shape(
        "DCLM",
        json_lines(
            {
                "text": TEXTS[0],
                "url": "http://a",
                "metadata": {"Content-Length": "9", "WARC-Date": "d"},
                "language_id_whole_page_fasttext": {"en": 0.95},
            },
            name="a.jsonl.zstd",
        ),
        {"size": [9], "en": [0.95]},
        ("metadata.Content-Length=int32 as size", "language_id_whole_page_fasttext.en as en"),
    ),
    Shape(
        "The Stack",
        arrow(
            {
                "content": TEXTS,
                "hexsha": ["a", "b", "c"],
                "max_stars_count": pa.array([1, None, 3]),
                "max_stars_repo_licenses": [["MIT"], [], ["MIT", "BSD"]],
            }
        ),
        {"text": TEXTS, "id": ["a", "b", "c"], "stars": [1, None, 3], "licences": [["MIT"], [], ["MIT", "BSD"]]},
        ("max_stars_count as stars", "max_stars_repo_licenses as licences"),
        "content",
        "hexsha",
    ),
    Shape(
        "datatrove, Parquet",
        arrow({"text": TEXTS, "id": ["a", "b", "c"], "metadata": [{"url": "u", "token_count": 3}] * 2 + [None]}),
        {"metadata.url": ["u", "u", None], "metadata.token_count": [3, 3, None]},
        ("metadata.url", "metadata.token_count"),
    ),
    Shape(
        "nested texts",
        arrow({"document": [{"body": {"text": text}, "id": i} for i, text in enumerate(TEXTS)]}),
        {"text": TEXTS, "id": ["0", "1", "2"]},
        text="document.body.text",
        id="document.id",
    ),
    Shape(
        "names with dots",
        arrow({"text": TEXTS, "meta.url": ["u"] * 3, "meta": [{"url": "no"}] * 3}),
        {"meta.url": ["u"] * 3},
        ("meta.url",),
    ),
    Shape(
        "Spark: INT96, decimals, partitions",
        both(
            lambda folder: (folder / "lang=de").mkdir(),
            arrow(
                {
                    "text": TEXTS,
                    "day": [datetime.datetime(2024, 2, 29, 12)] * 3,
                    "price": [decimal.Decimal("1.50")] * 3,
                    "tags": [["a"], None, []],
                },
                "lang=de/part-00000-x.c000.snappy.parquet",
                use_deprecated_int96_timestamps=True,
                use_compliant_nested_type=False,
                compression="snappy",
                store_schema=False,
            ),
            lambda folder: write(folder / "_SUCCESS", b""),
        ),
        {
            "lang": ["de"] * 3,
            "day": [datetime.datetime(2024, 2, 29, 12)] * 3,
            "price": [decimal.Decimal("1.50")] * 3,
            "tags": [["a"], None, []],
        },
        ("lang", "day", "price", "tags"),
    ),
    Shape(
        "Spark: strings without annotation",
        arrow(
            {"text": pa.array(TEXTS).cast(pa.binary()), "url": pa.array(["u", None, "ü"]).cast(pa.binary())},
            store_schema=False,
        ),
        {"text": TEXTS, "url": ["u", None, "ü"]},
        ("url=string",),
    ),
    Shape(
        "DuckDB: struct, list, map, enum",
        duck(
            "COPY (SELECT text, id, {{'url': 'u', 'n': 1::TINYINT}} AS meta, [lang] AS langs,"
            " MAP {{'k': score}} AS scores, lang::ENUM('de', 'en', 'fr') AS kind FROM texts)"
            " TO '{folder}/a.parquet' (COMPRESSION zstd)"
        ),
        {
            "id": ["7", "8", "9"],
            "meta": [{"url": "u", "n": 1}] * 3,
            "langs": [["de"], ["en"], ["fr"]],
            "kind": ["de", "en", "fr"],
            "scores": [[("k", 0.5)], [("k", None)], [("k", 0.25)]],
        },
        ("meta", "langs", "kind", "scores"),
    ),
    Shape(
        "DuckDB: partitions",
        duck("COPY texts TO '{folder}/out' (FORMAT parquet, PARTITION_BY (lang))"),
        {"text": TEXTS, "lang": ["de", "en", "fr"], "score": [0.5, None, 0.25]},
        ("lang", "score"),
    ),
    Shape(
        "DuckDB: JSON",
        duck("COPY (SELECT text, id, {{'score': score}} AS m FROM texts) TO '{folder}/a.json' (FORMAT json)"),
        {"id": ["7", "8", "9"], "m.score": [0.5, None, 0.25]},
        ("m.score",),
    ),
    Shape(
        "DuckDB: CSV",
        duck("COPY texts TO '{folder}/a.csv' (HEADER)"),
        {"text": TEXTS, "id": ["7", "8", "9"], "score": [0.5, None, 0.25], "lang": ["de", "en", "fr"]},
        ("score=float64", "lang"),
    ),
    Shape(
        "polars: Parquet",
        lambda folder: pl.DataFrame(
            {
                "text": TEXTS,
                "id": [1, 2, 3],
                "cat": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
                "nothing": [None] * 3,
                "when": [datetime.datetime(2024, 1, 1)] * 3,
                "s": [{"a": [1, 2]}, {"a": []}, {"a": None}],
                "u": pl.Series([1, 2, 3], dtype=pl.UInt8),
            }
        ).write_parquet(folder / "a.parquet"),
        {
            "id": ["1", "2", "3"],
            "cat": ["x", "y", "x"],
            "nothing": [None] * 3,
            "when": [datetime.datetime(2024, 1, 1)] * 3,
            "s.a": [[1, 2], [], None],
            "u": [1, 2, 3],
        },
        ("cat", "nothing", "when", "s.a", "u"),
    ),
    Shape(
        "polars: NDJSON",
        lambda folder: pl.DataFrame({"text": TEXTS, "s": [{"a": 1.5}, {"a": None}, {"a": 2.0}]}).write_ndjson(
            folder / "a.jsonl"
        ),
        {"text": TEXTS, "s.a": [1.5, None, 2.0]},
        ("s.a",),
    ),
    Shape(
        "pandas: index, categories, nullable",
        lambda folder: pd.DataFrame(
            {
                "text": TEXTS,
                "cat": pd.Categorical(["x", "y", "x"]),
                "n": pd.array([1, None, 3], dtype="Int64"),
                "when": pd.to_datetime(["2024-01-01"] * 3),
                "flag": [True, False, True],
            },
            index=["i", "j", "k"],
        ).to_parquet(folder / "a.parquet"),
        {
            "id": ["i", "j", "k"],
            "cat": ["x", "y", "x"],
            "n": [1, None, 3],
            "flag": [True, False, True],
            "when": [datetime.datetime(2024, 1, 1)] * 3,
        },
        ("cat", "n", "when", "flag"),
        id="__index_level_0__",
    ),
    Shape(
        "pandas: whole numbers that became floats",
        both(
            lambda folder: pd.DataFrame({"text": TEXTS[:2], "n": [1, 2]}).to_parquet(folder / "a.parquet"),
            lambda folder: pd.DataFrame({"text": TEXTS[:2], "n": [1, None]}).to_parquet(folder / "b.parquet"),
        ),
        {"n": [1, 2, 1, None]},
        ("n=int64",),
    ),
    Shape(
        "pandas: JSON",
        lambda folder: pd.DataFrame({"text": TEXTS, "n": [1, 2, 3], "x": [0.5, None, 1.0]}).to_json(
            folder / "a.jsonl", orient="records", lines=True, force_ascii=True
        ),
        {"text": TEXTS, "n": [1, 2, 3], "x": [0.5, None, 1.0]},
        ("n", "x"),
    ),
    Shape(
        "Parquet, JSON Lines and CSV together",
        both(
            arrow(
                {"text": TEXTS[:1], "n": pa.array([1], pa.int8()), "url": pa.array(["u"], pa.large_string())},
                "a.parquet",
            ),
            json_lines({"text": TEXTS[1], "n": 300, "url": None}, name="b.jsonl"),
            lambda folder: write(folder / "c.csv", f"text,url\n{TEXTS[2]},v\n".encode()),
        ),
        {"text": TEXTS, "n": [1, 300, None], "url": ["u", None, "v"]},
        ("n", "url"),
    ),
]
