"""Counts of a trial are those of a run: by reason and language, in documents and bytes."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from beam_pipeline.settings import Settings
from beam_pipeline.trial.asked import Wanted
from beam_pipeline.trial.result import ALL, INVALID, KEPT
from beam_pipeline.trial.trying import Trying
from tests import runs
from tests.trial.steps import folder

__all__ = ["folder"]


def settings(corpus: Path, recipe: Path, **more: object) -> Settings:
    values = {"input": [str(corpus)], "output": "/nowhere", "tokens": False, "recipe": str(recipe)}
    return Settings.model_validate(values | more)


def test_with_all_documents_counts_are_those_of_a_run_before_duplicates(
    corpus: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{os.environ.get('PYTHONPATH', '')}")
    runs.run(corpus, output, "--recipe", folder / "recipe.yaml", "--shard_bytes", "100KiB", "--direct_num_workers", 2)
    names = {
        ord(code): tuple(named) for code, named in json.loads((output / "plan.json").read_text())["outcomes"].items()
    }
    documents, sizes, edits = Counter(), Counter(), Counter()
    for file in sorted((output / "fingerprints").glob("*.parquet")):
        for row in pq.read_table(file).to_pylist():
            outcome, reason = ("kept", "") if row["outcome"] is None else names[row["outcome"]]
            key = (outcome, reason, row["language"] or "")
            documents[key] += 1
            sizes[key] += row["text_bytes"] or 0
            for step in ("without_parentheses", "c4_lines"):
                edits[step] += row[f"{step}.removed"] or 0

    result = Trying(settings(corpus, folder / "recipe.yaml"), "all").turn(wanted=Wanted(check=False))

    found = {
        ({INVALID: "invalid", KEPT: "kept"}.get(row["step"], "dropped"), row["reason"], row["language"]): row
        for row in result.funnel.to_pylist()
        if row["step"] != ALL and row["documents"]
    }
    assert {key: row["documents"] for key, row in found.items()} == documents
    assert {key: row["bytes"] for key, row in found.items()} == sizes
    assert len({reason for outcome, reason, _ in found if outcome == "dropped"}) >= 6
    assert {row["step"]: row["removed"] for row in result.edits.group_by("step").aggregate([("removed", "sum")])
            .rename_columns(["step", "removed"]).to_pylist()} == edits  # fmt: skip

    counts = json.loads((output / "run.json").read_text())["counts"]
    by_reason = Counter()
    for (outcome, reason, _), row in found.items():
        by_reason[outcome, reason] += row["documents"]
    duplicates = {"exact_duplicate", "near_duplicate"}
    kept = counts["kept"] + sum(counts["dropped"].get(reason, 0) for reason in duplicates)
    assert by_reason["kept", ""] == kept
    assert {reason: n for (outcome, reason), n in by_reason.items() if outcome == "dropped"} == {
        reason: n for reason, n in counts["dropped"].items() if n and reason not in duplicates
    }
    assert {reason: n for (outcome, reason), n in by_reason.items() if outcome == "invalid"} == {
        reason: n for reason, n in counts["invalid"].items() if n
    }


def test_a_sample_has_as_many_documents_as_asked_for_and_is_the_same_again(corpus: Path, folder: Path) -> None:
    first, second = (Trying(settings(corpus, folder / "recipe.yaml"), 300) for _ in range(2))
    assert first.sample is not None and second.sample is not None
    assert len(first.sample.documents) == 300
    assert not first.sample.was_kept and second.sample.was_kept
    assert first.sample.documents.equals(second.sample.documents)
    assert first.sample.of_documents == pytest.approx(1800, rel=0.01)
    assert len(set(first.sample.documents["source"].to_pylist())) == 3


def test_what_a_step_drops_alone_is_what_it_drops_as_the_only_filter(corpus: Path, folder: Path) -> None:
    trying = Trying(settings(corpus, folder / "recipe.yaml"), "all")
    whole = trying.turn(wanted=Wanted(check=False))
    (folder / "alone.yaml").write_text('recipe:\n  - "good_steps:without_parentheses"\n  - "good_steps:judge"\n')
    alone = trying.turn(settings(corpus, folder / "alone.yaml").steps(), wanted=Wanted(check=False))
    for name in ("documents", "bytes"):
        in_whole, by_itself = (
            {
                (row["reason"], row["language"]): row[column]
                for row in result.funnel.to_pylist()
                if row["step"] == "judge" and row[column]
            }
            for result, column in ((whole, f"{name}_alone"), (alone, name))
        )
        assert in_whole == by_itself
    assert sum(whole.funnel.filter(row_of(whole, "judge"))["documents"].to_pylist()) < sum(
        whole.funnel.filter(row_of(whole, "judge"))["documents_alone"].to_pylist()
    )


def row_of(result: object, step: str) -> object:
    return pc.equal(result.funnel["step"], step)  # type: ignore[attr-defined]
