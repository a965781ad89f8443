"""Inputs with columns of their own: FineWeb's and The Stack's files in one run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from beam_pipeline.options import UsageError, resolve_part
from beam_pipeline.planned_sources import list_sources
from beam_pipeline.preflight import UnusableSettings, check_columns
from beam_pipeline.settings import Settings
from schemas.shards import Source
from tests import runs
from tests.web import warcs
from transforms.io import storage
from transforms.io.readers import ReadOptions, check, first_look, read, split


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``web/`` with text and id, ``stack/`` with content and hexsha, and the settings of a run over both."""
    folder = tmp_path_factory.mktemp("inputs")
    texts = runs.sample_texts()
    (folder / "web").mkdir()
    (folder / "stack").mkdir()
    pq.write_table(pa.table({"text": texts[:20], "id": [f"w{n}" for n in range(20)]}), folder / "web" / "a.parquet")
    rows = [{"content": text, "hexsha": f"s{n}", "text": "a summary"} for n, text in enumerate(texts[20:40])]
    (folder / "stack" / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "input": [
            str(folder / "web"),
            {"uri": f"{folder}/stack/*.jsonl", "text_column": "content", "id_column": "hexsha"},
        ],
        "output": str(folder / "out"),
        "tokens": False,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def settings(folder: Path, **own: object) -> Settings:
    values = yaml.safe_load((folder / "config.yaml").read_text())
    values["input"][1] |= own
    return resolve_part(Settings, values)


def test_each_input_is_read_by_its_columns(folder: Path) -> None:
    done = subprocess.run(
        runs.command("--config", folder / "config.yaml"), cwd=runs.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    tables = [pq.read_table(file) for file in sorted((folder / "out" / "text").iterdir())]
    rows = pa.concat_tables(tables).to_pylist()
    assert {row["user_id"][0] for row in rows} == {"w", "s"}
    texts = runs.sample_texts()
    for row in rows:
        place = int(row["user_id"][1:]) + (20 if row["user_id"][0] == "s" else 0)
        assert row["text"].split() == texts[place].split()
    stack = next(row for row in rows if row["user_id"][0] == "s")
    found = runs.ask("trace", "--output", folder / "out", "--user-id", stack["user_id"], "--text")
    assert found["text"]["source"] == texts[int(stack["user_id"][1:]) + 20]


def test_a_column_that_an_input_has_not_is_named_with_its_file(folder: Path) -> None:
    chosen = settings(folder, text_column="contents")
    with pytest.raises(UnusableSettings, match=r"text_column: .*b\.jsonl has no 'contents' .* did you mean 'content'"):
        check_columns(list_sources(chosen), chosen.first_reading())
    chosen = settings(folder, id_column="sha")
    with pytest.raises(UnusableSettings, match=r"id_column: .*b\.jsonl has no 'sha'"):
        check_columns(list_sources(chosen), chosen.first_reading())


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"shards": "3"}, "'shards' can't be given for one input"),
        ({"format": "cvs"}, r"\.jsonl: format: must be one of parquet, arrow, warc, csv, text, jsonl, not 'cvs'"),
        ({"uri": None}, "has no `uri`"),
        ({"id_column": "content"}, "is text_column already"),
    ],
)
def test_what_cannot_be_given_is_refused(folder: Path, own: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settings(folder, **own)


def test_columns_of_inputs_decide_results(folder: Path) -> None:
    assert settings(folder).deciding("fingerprints") != settings(folder, id_column="text2").deciding("fingerprints")


GOOD = {
    "parquet": lambda path: pq.write_table(pa.table({"text": ["one text", "two"]}), path),
    "jsonl": lambda path: path.write_text('{"text": "one text"}\n{"text": "two"}\n'),
    "csv": lambda path: path.write_text("text,id\none text,1\ntwo,2\n"),
    "text": lambda path: path.write_text("one text\n\ntwo\n"),
    "warc": lambda path: path.write_bytes(
        b"".join(warcs.record(text, "conversion", media="text/plain") for text in (b"one text", b"two"))
    ),
}


def reading(place: Path, name: str) -> ReadOptions:
    return ReadOptions(of_inputs=((str(place), "text", "id", name),))


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("given", GOOD)
def test_a_format_that_is_named_is_how_a_source_is_read(tmp_path: Path, name: str, given: str) -> None:
    path = tmp_path / "source"
    GOOD[name](path)
    info = storage.stat(str(path))
    assert info is not None
    source = Source(0, info.uri, info.etag, info.size)
    seen = first_look(source, reading(path, given))
    if given == name:
        [shard] = split(source, reading(path, given))
        [batch] = read(shard, reading(path, given))
        assert batch["text"].to_pylist() == (["one text\n\ntwo\n"] if name == "text" else ["one text", "two"])
        assert not seen.reason
    elif given != "text" or name == "parquet":
        assert check(source, reading(path, given)), "is read as what it isn't"
