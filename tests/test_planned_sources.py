"""Which objects of the inputs are sources: what only describes data is passed over and listed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from beam_pipeline.planned_sources import PlanError, list_sources
from beam_pipeline.settings import Settings
from transforms.io import storage

BESIDE = (
    "README.md", "LICENSE", "dataset_info.json", "dataset_dict.json", "state.json", "a.jsonl.crc", "a.jsonl.sha256",
    "_SUCCESS", ".a.jsonl.crc", "_temporary/0/b.jsonl", "sub/readme.txt",
)  # fmt: skip
DATA = ("a.jsonl", "sub/b.jsonl", "readme-like.jsonl", "state.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as Spark and Hugging Face leave it."""
    for name in (*BESIDE, *DATA):
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"text": "a"}\n')
    return tmp_path / "in"


def listed(*inputs: object, output: object = "/nowhere") -> list[str]:
    return [
        source.uri for source in list_sources(Settings(input=list(map(str, inputs)), output=str(output), tokenizer="t"))
    ]


def test_what_only_describes_data_is_passed_over_and_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "beam_pipeline")
    assert listed(folder) == sorted(str(folder / name) for name in DATA)
    [said] = [record.getMessage() for record in caplog.records]
    for name in ("README.md", "_SUCCESS", "dataset_info.json", "_temporary", ".a.jsonl.crc"):
        assert str(folder / name) in said
    assert "_temporary/0" not in said
    assert "and 1 more" in said


def test_a_file_that_is_named_is_read(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "beam_pipeline")
    assert listed(folder / "README.md", folder / "_SUCCESS") == [str(folder / "README.md"), str(folder / "_SUCCESS")]
    assert listed(f"{folder}/*/readme.txt") == [str(folder / "sub/readme.txt")]
    assert listed(f"{folder}/*.jsonl") == sorted(str(folder / name) for name in DATA if "/" not in name)
    assert not caplog.records


def test_a_folder_without_data_says_what_it_has(folder: Path) -> None:
    (folder / "docs").mkdir()
    (folder / "docs" / "README.md").write_text("words")
    with pytest.raises(PlanError, match=r"nothing to read in .*docs; passed over, .*docs/README\.md"):
        listed(folder / "docs")


@pytest.mark.parametrize("nothing", ["{}/*.parquet", "{}/missing", "{}/sub/*/x"])
def test_one_input_of_two_that_matches_nothing_is_refused(folder: Path, nothing: str) -> None:
    with pytest.raises(storage.NotFound, match=r"no file matches|no such file"):
        listed(f"{folder}/*.jsonl", nothing.format(folder))


def test_the_run_s_own_output_is_not_listed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "beam_pipeline")
    (folder / "out").mkdir()
    (folder / "out" / "README.md").write_text("of a run")
    assert listed(folder / "sub", folder / "out" / "..", output=folder / "out")
    assert str(folder / "out" / "README.md") not in caplog.text
