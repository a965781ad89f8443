"""The recipes that ship with the package run on the sample."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from beam_pipeline import recipes
from beam_pipeline.sample import documents_path
from beam_pipeline.settings import Settings
from tests import runs
from transforms.recipe.spec import PlannedRecipe
from transforms.recipe.steps import apply_step


@pytest.fixture(scope="module")
def sample() -> pa.RecordBatch:
    """Its documents, five after one another made one, as they are short; and one that no recipe keeps."""
    rows = []
    for line in documents_path().read_bytes().splitlines():
        with contextlib.suppress(ValueError, KeyError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row["text"], str) and row["id"][2:3] == "-":
                rows.append((row["lang"], row["text"].encode(errors="ignore").decode()))
    by_language = {language: [text for own, text in rows if own == language] for language, _ in rows}
    joined = [
        (language, "\n".join(texts[place : place + 5]))
        for language, texts in by_language.items()
        for place in range(0, len(texts), 5)
    ]
    joined.append(("en", "Too short."))
    texts = [text for _, text in joined]
    return pa.record_batch(
        {
            "text": pa.array(texts),
            "id": pa.nulls(len(texts), pa.string()),
            "outcome": pa.nulls(len(texts), pa.uint8()),
            "language": pa.array([language for language, _ in joined]).dictionary_encode(),
            "language_score": pa.array([0.9] * len(texts), pa.float32()),
        }
    )


@pytest.mark.parametrize("name", recipes.NAMES)
def test_a_recipe_runs_on_the_sample(name: str, sample: pa.RecordBatch) -> None:
    settings = Settings(input=["in"], output="out", tokenizer="t", recipe=name)
    recipe = PlannedRecipe.of(settings.steps())
    data = sample
    for spec in recipe.steps:
        data = apply_step(data, spec.load(), recipe.outcomes)
    kept = data["outcome"].null_count
    assert 0 < kept < len(data)


def test_every_recipe_is_there_and_says_what_it_is() -> None:
    folder = Path(recipes.__file__).parent
    assert sorted(file.stem for file in folder.glob("*.yaml")) == sorted(recipes.NAMES)
    for name in recipes.NAMES:
        text = recipes.text_of(name)
        assert text is not None
        assert text.startswith("# ")
        assert isinstance(yaml.safe_load(text)["recipe"], list)
    assert recipes.text_of("mine.yaml") is None


def test_a_run_by_name(tmp_path: Path) -> None:
    runs.run(documents_path(), tmp_path / "out", "--recipe", "multilingual", "--direct_num_workers", 1)
    counts = runs.manifest(tmp_path / "out")["counts"]
    assert counts["dropped"]["fineweb2_few_words"] > 0
