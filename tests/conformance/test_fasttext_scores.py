"""The annotator ``fasttext`` against the library, on every document, for three models that are trained here."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from tests import building
from tests.conformance.conftest import Corpus
from transforms.kernels.language.identification import LanguageModel, default_model_path
from transforms.recipe.fasttext_scores import FastText

PROBABILITY = 1e-4
KINDS = {
    "bigrams": ("wordNgrams=2, dim=100, bucket=200000", ""),
    "subwords": ("minn=2, maxn=5, dim=16, bucket=50000, loss='ova'", ""),
    "quantized": (
        "wordNgrams=2, dim=16, bucket=50000, loss='hs'",
        "model.quantize('training.txt', cutoff=20000, dsub=2)",
    ),
}
TRAINED_BYTES = 3_000_000


@pytest.fixture(scope="module")
def folder(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training file: the label of a text is made of its language, which can be learned."""
    folder = tmp_path_factory.mktemp("models")
    identify = LanguageModel.from_file(default_model_path()).identify
    written = 0
    with (folder / "training.txt").open("w") as file:
        for texts in corpus.clean():
            languages = identify(texts)[0].to_pylist()
            for text, language in zip(texts.to_pylist(), languages, strict=True):
                label = sum(language.encode()) % 3
                written += file.write(f"__label__{label} " + " ".join(text[:2000].split("\n")) + "\n")
            if written > TRAINED_BYTES:
                break
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_document(corpus: Corpus, folder: Path, kind: str) -> None:
    python = building.trainer()
    arguments, then = KINDS[kind]
    code = (
        "import fasttext; file = 'training.txt';"
        f" model = fasttext.train_supervised(file, thread=1, lr=1, epoch=3, {arguments});"
        f" {then or 'pass'}; model.save_model('{kind}.bin')"
    )
    subprocess.run([python, "-c", code], cwd=folder, check=True)
    path = str(folder / f"{kind}.bin")
    library = fasttext.load_model(path)
    labels = ["0", "1", "2"]
    step, best = FastText(path, labels, type="float32"), FastText(path, type="float32")
    step.setup(), best.setup()
    step(pa.RecordBatch.from_pydict({"text": ["compiled before it is measured"]}))
    documents = others = size = 0
    seen: set[float] = set()
    furthest = ours = theirs = 0.0
    for texts in corpus.clean():
        batch = pa.RecordBatch.from_pydict({"text": texts})
        started = time.process_time()
        found = step(batch)
        ours += time.process_time() - started
        chosen = best(batch)["label"].to_pylist()
        for row, text in enumerate(texts.to_pylist()):
            line = text.replace("\n", " ")
            started = time.process_time()
            names, probabilities = library.predict(line, k=-1)
            theirs += time.process_time() - started
            expected = dict(zip(names, probabilities, strict=True))
            values = np.array([expected.get(f"__label__{label}", 0.0) for label in labels])
            mine = np.array([found[label][row].as_py() for label in labels])
            furthest = max(furthest, float(np.abs(values - mine).max()))
            tie = len(probabilities) > 1 and probabilities[0] - probabilities[1] < 1e-6
            others += not tie and chosen[row] != names[0].removeprefix("__label__")
            documents += 1
            seen.add(round(float(mine[0]), 2))
            size += len(text.encode())
    print(
        f"{kind}: {documents} documents, {others} labels differ, probabilities within {furthest:.1e}; "
        f"{size / ours / 1e6:.0f} MB/s, the library {size / theirs / 1e6:.1f} MB/s, {theirs / ours:.1f} times"
    )
    assert not others
    assert len(seen) > 20  # the model has something to say
    assert furthest <= PROBABILITY
