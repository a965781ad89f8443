"""A recipe in a run: attributes, reasons and edits are in the files and the counts, and both passes edit alike."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import runs

RECIPE = """
recipe:
  - text_statistics
  - repetition
  - {use: "researcher:vowels", name: openness}
  - researcher:without_commas
  - researcher:no_questions
  - rule: {reason: few_vowels, keep: "openness >= 0.3 or language != 'en'"}
  - rule: {reason: few_words, keep: "words >= 100"}
"""


def fingerprints(output: Path) -> list[dict[str, Any]]:
    """Every document of a run, as pass 1 has stored it."""
    files = sorted((output / "fingerprints").glob("*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files], promote_options="permissive").to_pylist()


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the researcher's module and the recipe."""
    folder = tmp_path_factory.mktemp("steps")
    shutil.copy(Path(__file__).with_name("example_steps.py"), folder / "researcher.py")
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def cooked(corpus: Path, steps: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("cooked") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{steps}:{runs.ROOT}")
        runs.run(corpus, output, "--recipe", steps / "recipe.yaml", "--with_text", "--direct_num_workers", 1)
    return output


def test_attributes_are_stored_for_what_was_dropped_too(cooked: Path) -> None:
    rows = fingerprints(cooked)
    codes = {reason: ord(code) for code, (_, reason) in _outcomes(cooked).items()}
    few = [row for row in rows if row["outcome"] == codes["few_words"]]
    assert few
    assert all(row["words"] < 100 and row["openness"] is not None for row in few)
    dropped = [row for row in rows if row["outcome"] == codes["few_vowels"]]
    assert dropped
    assert all(row["openness"] < 0.3 and row["language"] == "en" for row in dropped)
    kept = [row for row in rows if row["outcome"] is None]
    assert all(row["words"] >= 100 and row["duplicate_5gram_characters"] is not None for row in kept)
    assert any(row["without_commas.removed"] for row in kept)


def _outcomes(output: Path) -> dict[str, list[str]]:
    return dict(json.loads((output / "plan.json").read_text())["outcomes"])


def test_the_counts_have_the_reasons_and_tokens_are_of_the_edited_texts(cooked: Path) -> None:
    dropped = runs.manifest(cooked)["counts"]["dropped"]
    assert {"few_vowels", "few_words", "no_questions"} <= {*dropped}
    tokenizer = runs.reference_tokenizer()
    rows = runs.tokens(cooked).to_pylist()
    assert {row["language"] for row in rows} > {"de"}
    for row in rows:
        assert tokenizer.decode(row["input_ids"]) == row["text"]
        assert "?" not in row["text"]
        assert row["language"] != "de" or "," not in row["text"]


def test_the_funnel_by_an_attribute(cooked: Path) -> None:
    rows = [row for row in runs.ask("funnel", "--output", cooked) if row["outcome"] != "edited"]
    by_reason = {(row["outcome"], row["reason"]): row for row in rows}
    by_value = runs.ask("funnel", "--output", cooked, "--by", "openness", "--top", 100_000)
    sums: dict[tuple[str, str], list[int]] = {}
    for row in by_value:
        total = sums.setdefault((row["outcome"], row["reason"]), [0, 0, 0])
        for place, name in enumerate(("documents", "bytes", "tokens")):
            total[place] += row[name]
    assert sums == {key: [row["documents"], row["bytes"], row["tokens"]] for key, row in by_reason.items()}
    assert all(float(row["openness"]) < 0.3 for row in by_value if row["reason"] == "few_vowels")
    assert len(runs.ask("funnel", "--output", cooked, "--by", "openness", "--top", 2)) == 2
    unknown = runs.command("funnel", "--output", cooked, "--by", "opennes")
    done = subprocess.run(unknown, cwd=runs.ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "did you mean openness?" in " ".join(done.stderr.split())


def test_two_workers_make_the_same_bytes(
    cooked: Path, corpus: Path, steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{steps}:{runs.ROOT}")
    runs.run(corpus, tmp_path / "out", "--recipe", steps / "recipe.yaml", "--with_text", "--direct_num_workers", 2)
    assert runs.digests(tmp_path / "out") == runs.digests(cooked)


def test_dedup_needs_no_step_any_more(cooked: Path, tmp_path: Path) -> None:
    again = runs.command("dedup", "--run", cooked, "--output", tmp_path / "out", "--direct_num_workers", 1)
    done = subprocess.run(again, cwd=runs.ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    [file, *_] = sorted((tmp_path / "out" / "decisions").iterdir())
    assert "few_words" in pq.read_table(file)["reason"].to_pylist()


def test_an_editor_that_differs_between_the_passes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "One sentence that is long enough to be a document."}\n')
    flags = ("--filters", "tests.example_steps:never_the_same", "--direct_num_workers", 1)
    failed = runs.run(tmp_path / "in.jsonl", tmp_path / "out", *flags, status=1)
    assert "another text than in pass 1" in failed.stderr
    assert not list((tmp_path / "out" / "tokens").glob("*.parquet"))


@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        ("- rule: {keep: 'wordz > 3'}", "there is no column 'wordz'"),
        ("- rule: {keep: 'words > 3'}", "the step 'text_statistics' adds 'words': put it before the rule"),
        ("- text_statistics\n- rule: {keep: 'wordz > 3'}", "did you mean 'words'"),
        ("- text_statistic", "did you mean text_statistics? Built in are"),
        ("- tests.example_steps:nothing", "can't be imported"),
        ("words: 3", "expected a list of steps"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_before_anything_is_written(
    recipe: str, named: str, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "recipe.yaml").write_text(recipe)
    failed = runs.run(tmp_path / "in.jsonl", tmp_path / "out", "--recipe", tmp_path / "recipe.yaml", status=2)
    assert named in failed.stderr
    assert not (tmp_path / "out").exists()
