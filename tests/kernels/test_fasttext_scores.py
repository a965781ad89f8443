"""Probabilities of labels, against the fasttext library, and models that workers share."""

from __future__ import annotations

import tempfile
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from tests.kernels.test_language import SENTENCES, WORDS, Synthetic
from transforms.identify_language import IdentifyLanguage
from transforms.io import pinned_files
from transforms.io.pinned_files import PinnedFile, PinnedFileChanged
from transforms.io.shared_files import shared_folder
from transforms.kernels.language.fasttext_model import (
    HIERARCHICAL_SOFTMAX,
    NEGATIVE_SAMPLING,
    ONE_VS_ALL,
    SOFTMAX,
    ModelFormatError,
)
from transforms.kernels.language.identification import LanguageModel, default_model_path
from transforms.kernels.language.scripts import language_and_script, scripts_of
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
    [
        {"word_ngrams": 2, "ngrams": (0, 0), "dimension": 8},
        {"quantized": True, "norms": True},
        {"word_ngrams": 3},
        {"word_ngrams": 2, "dimension": 20, "labels": 2},
        {"word_ngrams": 2, "dimension": 30, "labels": 11},
        {"quantized": True, "norms": True, "kept": 90, "word_ngrams": 2, "dimension": 9, "labels": 4},
    ],
    ids=["bigrams", "quantized", "subwords and trigrams", "two labels", "eleven labels", "pruned, few labels"],
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


@pytest.mark.parametrize("loss", [HIERARCHICAL_SOFTMAX, ONE_VS_ALL])
def test_several_labels_are_in_the_librarys_order(loss: int, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(Synthetic(loss=loss, word_ngrams=2, labels=5).build())
    step = FastText(str(path), top=3, type="float32")
    step.setup()
    answer = step(documents(TEXTS))
    assert list(answer) == list(step.columns) == ["label", "score", "label_2", "score_2", "label_3", "score_3"]
    for row, text in enumerate(TEXTS):
        of_library = by_the_library(path, text)
        expected = [*sorted(of_library.values(), reverse=True), 0, 0, 0][:3]  # it leaves out those that are next to 0
        found = [answer[name][row].as_py() for name in ("score", "score_2", "score_3")]
        labels = [answer[name][row].as_py() for name in ("label", "label_2", "label_3")]
        if of_library:
            assert found == pytest.approx(expected, abs=1e-4)
            assert [of_library.get(label, 0) for label in labels] == pytest.approx(expected, abs=1e-4)
        else:
            assert found == labels == [None] * 3
    with pytest.raises(ValueError, match=r"top: 6, but .* has 5 labels"):
        FastText(str(path), top=6).setup()


def test_one_byte_for_a_probability(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(Synthetic(loss=ONE_VS_ALL).build())
    exact, small = FastText(str(path), ["l0"], type="float32"), FastText(str(path), ["l0"], type="uint8")
    exact.setup(), small.setup()
    values, steps = exact(documents(TEXTS))["l0"], small(documents(TEXTS))["l0"]
    assert steps.type == pa.uint8() and steps.null_count == values.null_count
    for value, step in zip(values.to_pylist(), steps.to_pylist(), strict=True):
        assert step is None or step == round(min(value, 1) * 255)


def test_languages_of_any_model_have_one_form() -> None:
    step = FastText(str(default_model_path()), languages=True, top=2)
    step.setup()
    answer = step(documents([*SENTENCES.values(), " "]))
    by_label = dict(zip(answer["label"].to_pylist(), answer["label_script"].to_pylist(), strict=True))
    assert by_label["de"] == "deu_Latn" and by_label["ru"] == "rus_Cyrl"
    assert set(answer["script"].to_pylist()) >= {"Latn", "Cyrl", None}


@pytest.mark.parametrize(
    ("label", "script", "expected"),
    [("de", "Latn", "deu_Latn"), ("zho_Hans", "Hani", "zho_Hans"), ("zh-Hant", "Hani", "zho_Hant"),
     ("sr", "Cyrl", "srp_Cyrl"), ("deu_Latn", None, "deu_Latn"), ("de", None, "deu"), ("und", "Latn", "und")],
)  # fmt: skip
def test_labels_with_a_script(label: str, script: str | None, expected: str) -> None:
    assert language_and_script(label, script) == expected


def test_scripts_of_texts() -> None:
    texts = {
        "Straße": "Latn", "Слово and": "Cyrl", "ひらがなと漢字": "Jpan", "漢字漢字": "Hani", "한국어": "Hang",
        "नमस्ते": "Deva", "العربية": "Arab", "12 345!": None, "": None, "𝐚𝐛": None, "ab вг": "Cyrl",
    }  # fmt: skip
    array = pa.array([None, *texts, None])
    assert scripts_of(array.slice(1, len(texts))).to_pylist() == list(texts.values())
    assert scripts_of(array).to_pylist() == [None, *texts.values(), None]
    step = StepSpec.model_validate("script").load()
    batch = pa.RecordBatch.from_pydict(
        {"text": ["Straße", "漢字"], "language": pa.array(["de", None]).dictionary_encode()}
    )
    assert step.function(batch)["language_script"].to_pylist() == ["deu_Latn", None]


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


def test_workers_share_a_large_model_of_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tmp_path / "model.bin"
    path.write_bytes(Synthetic().build())
    pinned = PinnedFile.pin(str(path))
    with pinned.shared() as (alone, rows):
        assert (alone, rows) == (path, None)  # too small to be shared
    monkeypatch.setattr(pinned_files, "SHARED_FROM", 1)
    box = IdentifyLanguage(pinned)
    box.setup()
    assert [file.suffix for file in shared_folder("models").iterdir() if file.stat().st_size > 64] == [".rows"]
    again = IdentifyLanguage(pinned)
    again.setup()
    text = pa.array(TEXTS)
    assert again._model.identify(text)[1].equals(LanguageModel.from_file(path).identify(text)[1])
    with pytest.raises(PinnedFileChanged, match=r"model\.bin"):
        IdentifyLanguage(PinnedFile(str(path), "0" * 64)).setup()


def test_rows_are_mapped_from_one_file_and_not_copied(tmp_path: Path) -> None:
    path, rows = tmp_path / "model.bin", tmp_path / "model.rows"
    path.write_bytes(Synthetic(word_ngrams=2, buckets=5000, dimension=40, labels=3).build())
    first = LanguageModel.from_file(path, rows)
    stamp = rows.stat().st_mtime_ns
    second = LanguageModel.from_file(path, rows)
    assert rows.stat().st_mtime_ns == stamp
    text = pa.array(TEXTS)
    plain = LanguageModel.from_file(path).score(text, first.labels)
    for model in (first, second):
        np.testing.assert_array_equal(model.score(text, model.labels), plain)
    assert rows.stat().st_size < path.stat().st_size / 2  # three labels instead of forty dimensions
    with Path("/proc/self/maps").open() as maps:
        assert sum(str(rows) in line for line in maps) >= 2
    (tmp_path / "cut.bin").write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelFormatError):
        LanguageModel.from_file(tmp_path / "cut.bin", tmp_path / "cut.rows")
