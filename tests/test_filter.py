"""Filters see documents in play, and their answers become outcomes; wrong answers are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.outcomes import EMPTY_TEXT, Outcomes
from transforms.filter import FilterFailed, apply_filter
from transforms.filters import FilterSpec, Languages, Length


class Answers:
    """A filter that gives prepared answers and remembers what it was shown."""

    reasons = ("bad", "worse")

    def __init__(self, answers: Any) -> None:
        self.answers = answers
        self.shown: list[str] = []

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        self.shown = documents["text"].to_pylist()
        return self.answers


OUTCOMES = Outcomes.with_filters(["bad", "worse"])


def documents() -> pa.RecordBatch:
    """Four documents, the second out of play."""
    return pa.record_batch(
        {
            "text": pa.array(["one", None, "three", "four"]),
            "outcome": pa.array([None, EMPTY_TEXT, None, None], pa.uint8()),
            "language": pa.array(["en", None, "de", "en"]).dictionary_encode(),
            "language_score": pa.array([0.9, None, 0.4, 0.2], pa.float32()),
        }
    )


@pytest.mark.parametrize(
    "answers",
    [pa.array([True, False, None]), np.array([True, False, True]), pa.array([None, "bad", None])],
)
def test_a_drop_sets_the_outcome_and_takes_the_text(answers: Any) -> None:
    function = Answers(answers)
    result = apply_filter(documents(), "name", function, OUTCOMES)
    assert function.shown == ["one", "three", "four"]
    assert result["text"].to_pylist() == ["one", None, None, "four"]
    assert result["outcome"].to_pylist() == [None, EMPTY_TEXT, OUTCOMES.code("bad"), None]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (pa.array([True]), "array of 3 values"),
        (None, "array of 3 values"),
        (pa.array([1, 2, 3]), "int64"),
        (pa.array(["undeclared", None, None]), "undeclared"),
    ],
)
def test_wrong_answers_are_refused(answers: Any, message: str) -> None:
    with pytest.raises(FilterFailed, match=message):
        apply_filter(documents(), "name", Answers(answers), OUTCOMES)


def test_a_filter_isnt_called_for_nothing() -> None:
    function = Answers(None)
    nothing = documents().slice(1, 1)
    assert apply_filter(nothing, "name", function, OUTCOMES).equals(nothing)


def test_length_counts_characters() -> None:
    texts = pa.record_batch({"text": ["äöü", "abcd", "abcdef"]})
    assert Length(minimum=4, maximum=5)(texts).to_pylist() == ["too_short", None, "too_long"]
    assert Length(minimum=4)(texts).to_pylist() == ["too_short", None, None]


def test_languages_and_their_scores() -> None:
    batch = documents().take(pa.array([0, 2, 3]))
    assert Languages(keep=["en"], min_score=0.5)(batch).to_pylist() == [
        None, "language_not_wanted", "language_score_too_low",
    ]  # fmt: skip
    assert Languages(min_score=0.5, min_scores={"de": 0.3, "en": 0.1})(batch).to_pylist() == [None, None, None]


def test_a_spec_builds_what_it_names() -> None:
    spec = FilterSpec.of(Length, minimum=3, maximum=9)
    assert spec.load() == Length(3, 9)
    assert FilterSpec.model_validate("tests.example_filters:no_digits").load().reasons == ("no_digits",)
