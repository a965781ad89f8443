"""Trains a fastText classifier on good and bad texts, and measures it on texts that were held out.

Everything is decided by the texts, the options and the seed: the hash of a text says whether it is held out and where
it stands in the training file, and one thread trains. The whole fasttext library does that, in an interpreter of its
own, as it can't be installed beside the one that only predicts.

Memory: one of 64 parts of the texts while they are put in order, the held-out texts' scores, and the model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import mmh3
import numpy as np
import pyarrow as pa

from schemas.errors import WRONG_USAGE, ToldError
from transforms.kernels.language.identification import LanguageModel, default_model_path
from transforms.options import check, option

GOOD, BAD = "good", "bad"
PARTS = 64
TRAINER = Path("~/.cache/beam-pipeline/fasttext/bin/python")
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
_TRAIN = (
    "import fasttext, json, sys; options = json.loads(sys.argv[3]);"
    " fasttext.train_supervised(sys.argv[1], thread=1, verbose=0, **options).save_model(sys.argv[2])"
)


class NoTrainer(ToldError):
    """There is no interpreter with the whole fasttext library."""

    exit_status = WRONG_USAGE


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How a classifier is trained; the defaults are DCLM's where it names them.

    Raises:
      ValueError: an option is out of range; the message names it.
    """

    word_ngrams: int = option(2, "longest run of words that is a feature", ge=1)
    dimension: int = option(100, "of the vectors", ge=1)
    epochs: int = option(5, "how often each text is seen", ge=1)
    learning_rate: float = option(0.1, "at the beginning", gt=0)
    buckets: int = option(2_000_000, "rows for runs of words", ge=1)
    min_count: int = option(1, "words that are rarer are no features of their own", ge=1)
    held_out: float = option(0.1, "share of the texts that the classifier is measured on", gt=0, lt=1)
    seed: int = option(0, "another seed, other held-out texts")

    def __post_init__(self) -> None:
        check(self)

    @property
    def of_the_library(self) -> dict[str, Any]:
        """As the fasttext library names them."""
        return {
            "wordNgrams": self.word_ngrams,
            "dim": self.dimension,
            "epoch": self.epochs,
            "lr": self.learning_rate,
            "bucket": self.buckets,
            "minCount": self.min_count,
        }


def trainer(named: str = "") -> str:
    """An interpreter whose ``fasttext`` can train.

    Raises:
      NoTrainer: there is none.
    """
    for python in [named] if named else [sys.executable, str(TRAINER.expanduser())]:
        test = [python, "-c", "import fasttext; fasttext.train_supervised"]
        with contextlib.suppress(OSError):
            if subprocess.run(test, capture_output=True, check=False).returncode == 0:
                return python
    raise NoTrainer(
        f"{named or 'this Python'} has no fasttext library that can train: `make classifier-trainer` puts one into "
        f"{TRAINER.parents[1]}; or name another interpreter with --trainer"
    )


@dataclasses.dataclass
class _Parts:
    """Lines by the hash of their text, in files that are small enough to be sorted."""

    files: list[BinaryIO]
    lines: int = 0

    def add(self, place: int, line: bytes) -> None:
        self.files[place % PARTS].write(place.to_bytes(8, "big").hex().encode() + b" " + line + b"\n")
        self.lines += 1

    def in_order(self) -> Iterator[bytes]:
        for file in self.files:
            file.seek(0)
            yield from (line.partition(b" ")[2] for line in sorted(file))


def train(
    texts: Iterator[tuple[str, pa.StringArray]], output: Path, options: TrainingOptions, python: str
) -> dict[str, Any]:
    """Trains, writes the model, and returns the report.

    Args:
      texts: ``GOOD`` or ``BAD``, and some texts without nulls.
      output: the model (``.bin``).
      python: an interpreter with the whole library.

    Raises:
      ValueError: one side has no text to train on, or none that was held out.
    """
    limit = int(options.held_out * 2**32)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="train-classifier-")))
        training, held_out = (
            _Parts([stack.enter_context((folder / f"{name}-{n}").open("w+b")) for n in range(PARTS)])
            for name in ("training", "held")
        )
        counts: dict[str, dict[str, int]] = {side: {"trained_on": 0, "held_out": 0} for side in (GOOD, BAD)}
        for side, some in texts:
            for text in some.to_pylist():
                line = " ".join(text.split("\n")).encode()
                place, chosen = mmh3.hash64(line, options.seed, signed=False)
                is_held_out = chosen % 2**32 < limit
                counts[side]["held_out" if is_held_out else "trained_on"] += 1
                (held_out if is_held_out else training).add(place, f"__label__{side} ".encode() + line)
        for side, of_side in counts.items():
            for what, count in of_side.items():
                if not count:
                    raise ValueError(f"{side}: no text is {what.replace('_', ' ')}; give more texts")
        file = folder / "training.txt"
        with file.open("wb") as whole:
            whole.writelines(line if line.endswith(b"\n") else line + b"\n" for line in training.in_order())
        command = [python, "-c", _TRAIN, str(file), str(output), json.dumps(options.of_the_library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"fasttext: {done.stderr.strip().splitlines()[-1]}")
        measured = _measure(held_out.in_order(), LanguageModel.from_file(output))
    return {"options": dataclasses.asdict(options), "texts": counts, "held_out": measured}


def _measure(lines: Iterator[bytes], model: LanguageModel) -> dict[str, Any]:
    """Precision and recall of the label ``GOOD`` by threshold, over all texts and by language."""
    languages = LanguageModel.from_file(default_model_path())
    scores: dict[str, list[np.ndarray]] = {}
    truth: dict[str, list[np.ndarray]] = {}
    for some in _together(lines):
        good = np.array([line.startswith(f"__label__{GOOD} ".encode()) for line in some])
        texts = pa.array([line.partition(b" ")[2].rstrip(b"\n").decode() for line in some])
        found = np.nan_to_num(model.score(texts, [GOOD])[:, 0])
        labels = np.array(languages.identify(texts)[0].to_pylist())
        for language in np.unique(labels).tolist():
            here = labels == language
            scores.setdefault(language, []).append(found[here])
            truth.setdefault(language, []).append(good[here])
    by_language = {name: (np.concatenate(scores[name]), np.concatenate(truth[name])) for name in sorted(scores)}
    whole = tuple(np.concatenate([pair[side] for pair in by_language.values()]) for side in range(2))
    return {"all": _by_threshold(*whole), "by_language": {name: _by_threshold(*of) for name, of in by_language.items()}}


def _together(lines: Iterator[bytes], count: int = 1000) -> Iterator[list[bytes]]:
    held: list[bytes] = []
    for line in lines:
        held.append(line)
        if len(held) == count:
            yield held
            held = []
    if held:
        yield held


def _by_threshold(scores: np.ndarray, good: np.ndarray) -> dict[str, Any]:
    rows = []
    for threshold in THRESHOLDS:
        kept = scores >= threshold
        right = int(np.count_nonzero(kept & good))
        precision = right / max(1, int(np.count_nonzero(kept)))
        recall = right / max(1, int(np.count_nonzero(good)))
        rows.append({"threshold": threshold, "precision": round(precision, 4), "recall": round(recall, 4)})
    accuracy = float(np.mean((scores >= 0.5) == good)) if len(good) else 0.0
    return {"texts": len(good), "good": int(np.count_nonzero(good)), "accuracy": round(accuracy, 4), "at": rows}


def sides(report: Mapping[str, Any]) -> Sequence[tuple[float, float, float]]:
    """Threshold, precision and recall over all held-out texts."""
    return [(row["threshold"], row["precision"], row["recall"]) for row in report["held_out"]["all"]["at"]]
