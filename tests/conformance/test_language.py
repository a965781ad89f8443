from __future__ import annotations

import fasttext
import pyarrow as pa

from tests.conformance.conftest import Corpus
from transforms.kernels.language import identification as language
from transforms.kernels.language.identification import WINDOW, default_model_path, identify_reference

TIE = 1e-6
PROBABILITY = 1e-4


def gap_between_the_best_two(library: fasttext.FastText._FastText, text: str) -> float:
    _, probabilities = library.predict(text[:WINDOW].replace("\n", " "), k=2)
    return float(probabilities[0] - probabilities[1])


def test_every_document(corpus: Corpus) -> None:
    path = default_model_path()
    model, library = language.load(path), fasttext.load_model(str(path))
    assert isinstance(model, language.LanguageModel)
    documents = 0
    furthest = 0.0
    wrong: list[tuple[str, str, str]] = []
    ties: list[tuple[str, str, str]] = []
    for texts in corpus.clean():
        labels, scores = model.identify(texts)
        for text, label, score in zip(texts.to_pylist(), labels.to_pylist(), scores.to_pylist(), strict=True):
            right, probability = identify_reference(path, text)
            documents += 1
            furthest = max(furthest, abs(score - probability))
            if label != right:
                tie = gap_between_the_best_two(library, text) <= TIE
                (ties if tie else wrong).append((label, right, text[:100]))
    print(f"{documents} documents: {len(wrong)} labels differ, {len(ties)} ties, probabilities within {furthest:.1e}")
    assert not wrong, wrong[:5]
    assert furthest <= PROBABILITY


def test_words_of_every_code_point() -> None:
    """The hashing of n-grams meets every character, in the middle of words."""
    path = default_model_path()
    texts = [
        " ".join(f"wo{chr(c)}rd{chr(c)}" for c in range(start, start + 64) if not 0xD800 <= c < 0xE000)
        for start in range(0, 0x110000, 64)
        if not 0xD800 <= start < 0xE000
    ]
    labels, scores = language.load(path).identify(pa.array(texts))
    right = [identify_reference(path, text) for text in texts]
    assert labels.to_pylist() == [label for label, _ in right]
    assert max(abs(score - p) for score, (_, p) in zip(scores.to_pylist(), right, strict=True)) <= PROBABILITY
