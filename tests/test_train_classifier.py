"""``train-classifier``: the same bytes twice, and what it reports of held-out texts."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from beam_pipeline import classifier_training
from beam_pipeline.classifier_training import BAD, GOOD, NoTrainer, TrainingOptions, train, trainer
from tests import building
from transforms.kernels.language.identification import LanguageModel


def texts(seed: int) -> Iterator[tuple[str, pa.StringArray]]:
    """Good texts are made of some words, bad ones of others, and both of many more."""
    generator = random.Random(seed)
    common = [f"word{n}" for n in range(200)]
    for side, own in ((GOOD, ["theorem", "proof", "lemma"]), (BAD, ["casino", "cheap", "click"])):
        made = [" ".join(generator.choices(common, k=20) + generator.choices(own, k=3)) for _ in range(400)]
        yield side, pa.array([text.replace(" ", "\n", 2) for text in made])


def test_without_a_trainer_it_says_what_to_do() -> None:
    with pytest.raises(NoTrainer, match="make classifier-trainer"):
        trainer("/bin/false")
    with pytest.raises(ValueError, match="held_out"):
        TrainingOptions(held_out=1.5)


def test_precision_and_recall_by_threshold() -> None:
    scores, good = np.array([0.1, 0.3, 0.6, 0.9]), np.array([False, True, False, True])
    found = classifier_training._by_threshold(scores, good)
    at = {row["threshold"]: (row["precision"], row["recall"]) for row in found["at"]}
    assert at[0.05] == (0.5, 1.0)
    assert at[0.5] == (0.5, 0.5)
    assert at[0.9] == (1.0, 0.5)
    assert (found["texts"], found["good"], found["accuracy"]) == (4, 2, 0.5)


def test_two_trainings_give_the_same_bytes_and_the_classifier_works(tmp_path: Path) -> None:
    python = building.trainer()
    options = TrainingOptions(dimension=16, buckets=10_000, epochs=10, learning_rate=0.5, held_out=0.2)
    reports = [train(texts(3), tmp_path / f"{number}.bin", options, python) for number in range(2)]
    first, second = (hashlib.sha256((tmp_path / f"{number}.bin").read_bytes()).hexdigest() for number in range(2))
    assert first == second
    assert json.dumps(reports[0]) == json.dumps(reports[1])
    assert reports[0]["held_out"]["all"]["accuracy"] > 0.97
    assert (
        sum(side["held_out"] for side in reports[0]["texts"].values()) == reports[0]["held_out"]["all"]["texts"] > 100
    )
    model = LanguageModel.from_file(tmp_path / "0.bin")
    assert sorted(model.labels) == [BAD, GOOD]
    high, low = model.score(pa.array(["a theorem, its proof and a lemma", "click cheap casino click"]), [GOOD])[:, 0]
    assert high > 0.8 > 0.2 > low
    with pytest.raises(ValueError, match=r"good: no text is (trained on|held out)"):
        train(iter([(GOOD, pa.array(["one"])), (BAD, pa.array(["two"]))]), tmp_path / "none.bin", options, python)
