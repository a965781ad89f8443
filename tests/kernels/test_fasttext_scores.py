"""Probabilities of labels, against the fasttext library, and models that workers share."""

from __future__ import annotations

from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from tests.kernels.test_language import SENTENCES, WORDS, Synthetic
from transforms.kernels.language.fasttext_model import (
    HIERARCHICAL_SOFTMAX,
    NEGATIVE_SAMPLING,
    ONE_VS_ALL,
    SOFTMAX,
    ModelFormatError,
)
from transforms.kernels.language.identification import LanguageModel
from transforms.recipe.fasttext_scores import FastText
from transforms.recipe.spec import StepSpec

TEXTS = [*SENTENCES.values(), " ".join(WORDS[:5]), "the a\nstraße\n\n日本 und unknown", "\n".join(WORDS * 9), "x", " "]


def by_the_library(path: Path, text: str) -> dict[str, float]:
    """The probability of every label that the library tells."""
    labels, probabilities = fasttext.load_model(str(path)).predict(text.replace("\n", " "), k=-1)
    return {label.removeprefix("__label__"): float(p) for label, p in zip(labels, probabilities, strict=True)}


def documents(texts: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})


@pytest.mark.parametrize("loss", [HIERARCHICAL_SOFTMAX, NEGATIVE_SAMPLING, SOFTMAX, ONE_VS_ALL])
@pytest.mark.parametrize(
    "shape",
    [{"word_ngrams": 2, "ngrams": (0, 0), "dimension": 8}, {"quantized": True, "norms": True}, {"word_ngrams": 3}],
    ids=["bigrams", "quantized", "subwords and trigrams"],
)
def test_probabilities_are_the_librarys(loss: int, shape: dict, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(Synthetic(loss=loss, **shape).build())
    labels = LanguageModel.from_file(path).labels
    step = FastText(model=str(path), labels=labels, type="float32")
    step.setup()
    found = {name: column.to_pylist() for name, column in step(documents(TEXTS)).items()}
    distinct = set()
    for row, text in enumerate(TEXTS):
        expected = by_the_library(path, text)
        for label in labels:
            value = found[label][row]
            if not expected:
                assert value is None
                continue
            assert value == pytest.approx(expected.get(label, 0), abs=1e-4)
            distinct.add(round(value, 3))
    assert len(distinct) > 10


def test_a_window_newlines_and_the_best_label(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(Synthetic(word_ngrams=2).build())
    text = "the a naïve\nund ab straße"
    for arguments, shown in [
        ({}, text.replace("\n", " ")),
        ({"newlines": "nothing"}, text.replace("\n", "")),
        ({"window": 11}, text[:11]),
    ]:
        step = StepSpec.model_validate({"use": "fasttext", "model": str(path), **arguments}).load()
        step.setup()
        answer = step.function(documents([text]))
        best = max(by_the_library(path, shown).items(), key=lambda item: item[1])
        assert answer["label"].to_pylist() == [best[0]]
        assert answer["score"].type == pa.float16()
        assert answer["score"].to_pylist()[0] == pytest.approx(best[1], abs=5e-4)


def test_names_of_attributes(tmp_path: Path) -> None:
    named = {"use": "fasttext", "name": "edu", "model": "m.bin"}
    one = StepSpec.model_validate(named | {"labels": ["hq"]}).load()
    two = StepSpec.model_validate(named | {"labels": ["hq", "cc"]}).load()
    assert dict(one.columns) == {"edu": pa.float16()}
    assert list(two.columns) == ["edu.hq", "edu.cc"]
    with pytest.raises(ValueError, match="a list is wanted"):
        StepSpec.model_validate(named | {"labels": "hq"}).load()
    path = tmp_path / "model.bin"
    path.write_bytes(Synthetic().build())
    with pytest.raises(ValueError, match="has no label 'hq'; it has"):
        FastText(model=str(path), labels=["hq"]).setup()
    with pytest.raises(ValueError, match="has SHA-256"):
        FastText(model=str(path), sha256="0").setup()


def test_rows_are_mapped_from_one_file_and_not_copied(tmp_path: Path) -> None:
    path, rows = tmp_path / "model.bin", tmp_path / "model.rows"
    path.write_bytes(Synthetic(word_ngrams=2, buckets=5000, dimension=12).build())
    first = LanguageModel.from_file(path, rows)
    stamp = rows.stat().st_mtime_ns
    second = LanguageModel.from_file(path, rows)
    assert rows.stat().st_mtime_ns == stamp
    text = pa.array(TEXTS)
    plain = LanguageModel.from_file(path).score(text, first.labels)
    for model in (first, second):
        np.testing.assert_array_equal(model.score(text, model.labels), plain)
    with Path("/proc/self/maps").open() as maps:
        assert sum(str(rows) in line for line in maps) >= 2
    (tmp_path / "cut.bin").write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelFormatError):
        LanguageModel.from_file(tmp_path / "cut.bin", tmp_path / "cut.rows")
