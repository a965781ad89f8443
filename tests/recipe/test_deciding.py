"""Deciding again from stored columns: what is certain, and whose texts must be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.outcomes import EMPTY_TEXT, NO_TOKENS, Outcomes
from transforms.recipe.deciding import Decided, DecideRules, is_decidable
from transforms.recipe.spec import PlannedRecipe, StepSpec

STATISTICS = "text_statistics"
QUESTIONS = {"use": "tests.example_steps:no_questions"}
COMMAS = {"use": "tests.example_steps:without_commas"}


def rule(keep: str, reason: str = "few") -> dict[str, Any]:
    return {"rule": {"reason": reason, "keep": keep}}


def recipe(*steps: Any) -> PlannedRecipe:
    return PlannedRecipe.of([StepSpec.model_validate(step) for step in steps])


def decide(before: PlannedRecipe, after: PlannedRecipe, rows: list[dict[str, Any]]) -> tuple[Decided, Outcomes]:
    """Decides documents: each has ``reason`` (None: in play), ``hash`` (by default: if in play), and attributes."""
    rules = DecideRules(
        [spec.load() for spec in after.steps],
        after.steps,
        after.outcomes,
        [spec.load() for spec in before.steps],
        before.steps,
        before.outcomes,
    )
    codes = [row["reason"] and before.outcomes.code(row["reason"]) for row in rows]
    hashes = [b"h" * 16 if row.get("hash", row["reason"] is None) else None for row in rows]
    columns = {
        "outcome": pa.array(codes, pa.uint16()),
        "content_hash": pa.array(hashes, pa.binary(16)),
        "language": pa.array([row.get("language", "en") for row in rows]).dictionary_encode(),
        "language_score": pa.array([0.9] * len(rows), pa.float32()),
    }
    for field in before.attributes:
        columns[field.name] = pa.array([row.get(field.name) for row in rows], field.type)
    return rules(pa.table(columns)), after.outcomes


def reasons(decided: Decided, outcomes: Outcomes) -> list[str]:
    """``read``, the reason, or an empty string, of each document."""
    return [
        "read" if read else outcomes.table[code][1] if code else ""
        for code, read in zip(decided.codes.tolist(), decided.read.tolist(), strict=True)
    ]


def test_stricter_looser_and_other_reasons() -> None:
    before = recipe(STATISTICS, rule("words >= 50"), rule("lines < 9", "lines"))
    rows = [
        {"reason": None, "words": 60, "lines": 1},
        {"reason": None, "words": 90, "lines": 2},
        {"reason": "few", "words": 40, "lines": 1},
        {"reason": "few", "words": 10, "lines": 1},
        {"reason": "lines", "words": 70, "lines": 12},
    ]
    same = decide(before, before, rows)
    assert reasons(*same) == ["", "", "few", "few", "lines"]
    stricter = recipe(STATISTICS, rule("words >= 80"), rule("lines < 9", "lines"))
    assert reasons(*decide(before, stricter, rows)) == ["few", "", "few", "few", "few"]
    looser = recipe(STATISTICS, rule("words >= 30"), rule("lines < 9", "lines"))
    assert reasons(*decide(before, looser, rows)) == ["", "", "read", "few", "lines"]
    turned = recipe(STATISTICS, rule("lines < 1", "other"))
    assert reasons(*decide(before, turned, rows)) == ["other"] * 5


def test_what_a_document_hasnt_got_must_be_read() -> None:
    """Behind the step that dropped it, a document has no attribute."""
    before = recipe({"languages": {"keep": ["en"]}}, STATISTICS, rule("words >= 50"))
    rows = [
        {"reason": "language_not_wanted", "language": "de"},
        {"reason": "language_not_wanted", "language": "fr"},
        {"reason": "few", "words": 5},
    ]
    after = recipe({"languages": {"keep": ["en", "de"]}}, STATISTICS, rule("words >= 50"))
    assert reasons(*decide(before, after, rows)) == ["read", "language_not_wanted", "few"]


def test_steps_that_look_at_texts() -> None:
    before = recipe(STATISTICS, QUESTIONS, rule("words >= 50"))
    rows = [
        {"reason": None, "words": 60},
        {"reason": "no_questions", "words": 60},
        {"reason": "few", "words": 20},
    ]
    # What the filter has dropped is known, before and behind a rule; without it, it comes back in.
    assert reasons(*decide(before, recipe(STATISTICS, rule("words >= 30"), QUESTIONS), rows)) == [
        "",
        "no_questions",
        "few",
    ]
    assert reasons(*decide(before, recipe(STATISTICS, rule("words >= 10")), rows)) == ["", "read", "read"]
    # A filter that the run didn't have must see the texts that get there; so must one behind another editor.
    new = recipe(STATISTICS, rule("words >= 30"), {"use": "tests.example_steps:no_questions", "name": "again"})
    assert reasons(*decide(before, new, rows)) == ["read", "read", "few"]
    assert reasons(*decide(before, recipe(COMMAS, STATISTICS, QUESTIONS), rows)) == ["read"] * 3


def test_what_is_known_before_the_filter_that_dropped_it() -> None:
    before = recipe(rule("language == 'en'", "other"), QUESTIONS)
    rows = [{"reason": "other", "language": "de"}, {"reason": "other", "language": "fr"}]
    after = recipe(rule("language in ['en', 'de']", "other"), QUESTIONS)
    assert reasons(*decide(before, after, rows)) == ["read", "other"]


def test_invalid_documents_stay_so_and_fingerprints_that_are_known_are_used() -> None:
    before = recipe(STATISTICS, rule("words >= 50"))
    names = {code: Outcomes.with_filters([]).table[code][1] for code in (EMPTY_TEXT, NO_TOKENS)}
    rows = [
        {"reason": names[EMPTY_TEXT]},
        {"reason": names[NO_TOKENS], "words": 70},
        {"reason": names[NO_TOKENS], "words": 55},
        {"reason": "few", "words": 40, "hash": True},  # a later decision dropped it, its fingerprint is known
    ]
    after = recipe(STATISTICS, rule("words >= 30"), rule("words >= 60 or words < 50", "middle"))
    found = reasons(*decide(before, after, rows))
    assert found == [names[EMPTY_TEXT], names[NO_TOKENS], "middle", ""]


def test_each_document_keeps_its_own_of_the_reasons_of_a_step() -> None:
    """The codes of the two runs differ: the new recipe has a reason before those of the filter."""
    many = {"use": "tests.example_steps:ManyReasons"}
    names = ["reason_7", "reason_99", "reason_0", "reason_7", "reason_42"]
    rows = [{"reason": name} for name in names]
    after = recipe(rule("language == 'en'", "other"), many)
    assert reasons(*decide(recipe(many), after, rows)) == names
    assert reasons(*decide(recipe(many), after, [{"reason": "reason_3", "language": "de"}, *rows])) == ["other", *names]


def test_a_rule_on_the_text_and_own_steps() -> None:
    assert not is_decidable(StepSpec.model_validate(rule("length(text) > 3")).load())
    assert is_decidable(StepSpec.model_validate(rule("words > 3")).load())
    assert not is_decidable(StepSpec.model_validate(QUESTIONS).load())
    before = recipe(rule("length(text) > 9"))
    found = decide(before, recipe(rule("length(text) > 5")), [{"reason": None}, {"reason": "few"}])
    assert reasons(*found) == ["read", "read"]


def test_buckets_are_made_of_stored_columns() -> None:
    before = recipe(STATISTICS, rule("words >= 50"))
    cuts = {"words": {"en": [60, 80], "": [100]}, "lines": {"": [5]}}
    after = recipe(STATISTICS, {"buckets": {"cuts": cuts}}, rule("bucket >= 1", "low"))
    rows = [
        {"reason": None, "words": 55, "lines": 1},
        {"reason": None, "words": 80, "lines": 1},
        {"reason": None, "words": 80, "lines": 9, "language": "de"},
        {"reason": None, "words": 100, "lines": 1, "language": "de"},
        {"reason": None, "words": None, "lines": None},
        {"reason": "few", "words": 40, "lines": 7},
    ]
    decided, outcomes = decide(before, after, rows)
    assert decided.columns["bucket"].to_pylist() == [0, 2, 1, 1, None, 1]
    assert reasons(decided, outcomes) == ["low", "", "", "", "low", "read"]


@pytest.mark.parametrize("cuts", [{}, {"a": {"en": [2, 1]}}, {"a": {"en": list(range(300))}}])
def test_cuts_that_cant_be_used(cuts: dict) -> None:
    with pytest.raises(ValueError, match="cuts"):
        StepSpec.model_validate({"buckets": {"cuts": cuts}}).load()


def test_every_random_case_agrees_with_deciding_from_scratch() -> None:
    """Documents with all attributes known: what is certain is what the recipe says when it is applied to them."""
    random = np.random.default_rng(5)
    for _ in range(20):
        low, high = sorted(random.integers(0, 100, 2).tolist())
        before = recipe(STATISTICS, rule(f"words >= {low}"))
        after = recipe(STATISTICS, rule(f"words >= {high}"), rule("lines < 5", "lines"))
        words, lines = random.integers(0, 100, 50).tolist(), random.integers(0, 10, 50).tolist()
        rows = [
            {"reason": None if w >= low else "few", "words": w, "lines": n} for w, n in zip(words, lines, strict=True)
        ]
        expected = ["few" if w < high else "lines" if n >= 5 else "" for w, n in zip(words, lines, strict=True)]
        assert reasons(*decide(before, after, rows)) == expected
