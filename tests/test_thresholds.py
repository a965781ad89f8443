"""Thresholds by language are quantiles of stored attributes, and a recipe reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from beam_pipeline.sample import documents_path
from beam_pipeline.thresholds import BINS, KEYS, LOOKED, as_yaml, quantiles_of, thresholds
from tests import runs
from tests.recipe.test_families import planned
from transforms.recipe.fineweb2 import checked


def counted(values: np.ndarray) -> np.ndarray:
    """The same values for everything that is looked at."""
    return np.stack([np.bincount(np.round(values / looked.step).astype(np.int64), minlength=BINS) for looked in LOOKED])


def test_a_threshold_drops_at_most_its_share() -> None:
    values = np.random.default_rng(3).beta(2, 8, 5000).round(3)
    for share in (0.0, 0.01, 0.1, 0.5):
        found = thresholds({"de": counted(values)}, dict.fromkeys(KEYS, share), 10, score_of_fineweb2=False)["deu_Latn"]
        assert (
            (values > found["dup_line_frac"]).mean() <= share < (values > found["dup_line_frac"] - 0.002).mean() + 1e-9
        )
        assert (values < found["line_punct_thr"]).mean() <= share
        assert share <= (values < found["line_punct_thr"] + 0.002).mean()
        assert [n for n, _ in found["dup_n_grams"]] == [5, 6, 7, 8, 9, 10]


def test_the_language_score_by_the_formula_of_fineweb2() -> None:
    values = np.array([0.5] * 50 + [0.8] * 100 + [0.9] * 50)
    found = thresholds({"xx": counted(values)}, quantiles_of("0.1"), 10, score_of_fineweb2=True)["xx"]
    assert found["language_score"] == pytest.approx(0.8 - values.std(), abs=0.002)
    low = thresholds({"xx": counted(values / 4)}, quantiles_of("0.1"), 10, score_of_fineweb2=True)["xx"]
    assert low["language_score"] == 0.3


def test_languages_with_few_documents_are_left_out() -> None:
    counts = {"de": counted(np.full(99, 0.1)), "en": counted(np.full(100, 0.1)), "und": counted(np.full(500, 0.1))}
    assert list(thresholds(counts, quantiles_of("0.1"), 100, score_of_fineweb2=True)) == ["en"]


def test_quantiles() -> None:
    found = quantiles_of("0.2,new_line_ratio=0.05")
    assert found["new_line_ratio"] == 0.05
    assert found["dup_n_grams"] == 0.2
    for given, message in (
        ("x", "neither a number"), ("0.7", "between 0 and 0.5"), ("lines=0.1", "no threshold 'lines'"), ("nan", "0.5")
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            quantiles_of(given)


def test_the_command_writes_what_a_recipe_reads(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("- text_statistics: {repetition: true}\n")
    runs.run(documents_path(), tmp_path / "out", "--recipe", recipe, "--direct_num_workers", 1)
    file = tmp_path / "thresholds.yaml"
    asked = runs.command("thresholds", "--run", tmp_path / "out", "--min-documents", 5, "--to", file)
    done = subprocess.run(asked, cwd=runs.ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = checked(yaml.safe_load(file.read_text()), "thresholds.yaml")
    assert {"eng", "deu_Latn"} & {*found} or "en" in found
    assert found["deu_Latn"]["stopwords"][0] == "der"
    assert "fineweb2_newlines" in planned({"fineweb2": {"thresholds": str(file)}}).reasons
    refused = runs.command("thresholds", "--run", tmp_path / "nothing")
    done = subprocess.run(refused, cwd=runs.ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "there is no finished run" in " ".join(done.stderr.split())


def test_yaml_comes_back_as_it_was() -> None:
    found = thresholds({"no": counted(np.full(200, 0.1))}, quantiles_of("0.1"), 100, score_of_fineweb2=True)
    assert yaml.safe_load(as_yaml(found)) == found
