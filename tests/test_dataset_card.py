"""The card under an output: ``load_dataset`` reads it, and nobody's own README.md is lost."""

from __future__ import annotations

import logging
import shutil
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from beam_pipeline import dataset_card
from schemas.run_layout import RunLayout
from tests import runs


def test_a_run_leaves_a_card_that_names_the_training_data_alone(finished: Path) -> None:
    text = (finished / "README.md").read_text()
    _, metadata, rest = text.split("---\n", 2)
    [config] = yaml.safe_load(metadata)["configs"]
    assert sorted(finished.glob(config["data_files"])) == sorted((finished / "tokens").iterdir())
    manifest = runs.manifest(finished)
    assert f"# {manifest['counts']['kept']:,} documents, {manifest['tokens']:,} tokens" in rest
    assert all(f"`{name}`" in rest for name in runs.tokens(finished).schema.names)
    top = next(iter(manifest["languages"]))
    assert f"| {top} | {manifest['languages'][top]['documents']:,} |" in rest


def test_somebody_s_own_readme_stays(finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(finished / "README.md", tmp_path)
    plan: Any = types.SimpleNamespace(
        layout=RunLayout(str(tmp_path)),
        tokens=types.SimpleNamespace(uri=str(tmp_path / "tokens")),
        token_schema=runs.tokens(finished).schema,
    )
    contents = runs.manifest(finished)
    contents["tokens"] = 12345
    dataset_card.write(plan, contents)
    assert "12,345 tokens" in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("# Ours\n")
    caplog.set_level(logging.WARNING)
    dataset_card.write(plan, contents)
    assert (tmp_path / "README.md").read_text() == "# Ours\n"
    assert "README.md isn't this project's" in caplog.text


def test_many_languages_are_cut() -> None:
    languages = {f"l{number}": {"documents": 1, "tokens": 2} for number in range(30)}
    text = dataset_card.card({"counts": {"kept": 30}, "tokens": 60, "languages": languages}, "tokens", ["input_ids"])
    assert "| l19 |" in text and "| l20 |" not in text and "10 more languages are in `run.json`" in text
