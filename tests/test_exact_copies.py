"""Runs with ``near_duplicates`` off: only exact copies go, decided by the hashes of normalized texts."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beam_pipeline import cli, decide, estimation, rededuplicate
from beam_pipeline.finished_runs import NotUsable
from beam_pipeline.options import UsageError, resolve_part
from beam_pipeline.settings import Settings
from tests import runs
from tests.conftest import SHARDS
from transforms.kernels.text.normalization import normalize_reference

Place = tuple[str, int]


@pytest.fixture(scope="module")
def exact(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run over ``corpus`` that drops exact copies only."""
    output = tmp_path_factory.mktemp("exact") / "out"
    runs.run(corpus, output, *SHARDS, "--no-near_duplicates", "--direct_num_workers", 2)
    return output


def firsts(corpus: Path) -> dict[Place, int]:
    """The first document of each normalized text, and how many have this text."""
    places: dict[str, list[Place]] = defaultdict(list)
    for file in sorted(corpus.iterdir()):
        for row, text in enumerate(pq.read_table(file)["text"].to_pylist()):
            if text and (normalized := normalize_reference(text)).strip(" \n\u200b"):
                places[normalized].append((str(file), row))
    return {found[0]: len(found) for found in places.values()}


def kept(output: Path) -> dict[Place, int]:
    return {(row["source"], row["source_row"]): row["cluster_size"] for row in runs.tokens(output).to_pylist()}


def test_the_first_of_each_text_stays(exact: Path, corpus: Path) -> None:
    expected = firsts(corpus)
    assert kept(exact) == expected
    manifest = runs.manifest(exact)
    copies = sum(expected.values()) - len(expected)
    assert manifest["counts"]["dropped"] == {"exact_duplicate": copies} and copies > 100
    assert manifest["deduplication_audit"] is None
    assert not (exact / "deduplication_audit.parquet").exists()
    names = pq.read_schema(next((exact / "fingerprints").iterdir())).names
    assert "content_hash" in names and not {"signature", "shingles", "bands"} & {*names}
    funnel = {cell["reason"]: cell["documents"] for cell in runs.ask("funnel", "--output", exact)}
    assert funnel["exact_duplicate"] == copies and "near_duplicate" not in funnel


def test_hashes_are_those_of_a_run_that_finds_near_duplicates(exact: Path, finished: Path) -> None:
    for file in (finished / "fingerprints").iterdir():
        mine = pq.read_table(exact / "fingerprints" / file.name)
        assert mine.equals(pq.read_table(file, columns=mine.column_names))


def test_it_is_decided_again_by_its_hashes(exact: Path, corpus: Path, tmp_path: Path) -> None:
    """``dedup`` finds the same copies; ``decide`` with a rule lets the next copy stay where the first has gone."""
    again = tmp_path / "again"
    for command in (
        ("dedup", "--run", exact, "--output", again, "--partitions", 3, "--direct_num_workers", 1),
        ("decide", "--run", exact, "--output", tmp_path / "decided", "--languages", "en", "--direct_num_workers", 1),
    ):
        done = subprocess.run(
            runs.command(*command), cwd=runs.ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
    counts = json.loads((again / "dedup.json").read_text())["counts"]
    assert counts["kept"] == len(kept(exact))
    assert counts["dropped: exact_duplicate"] == runs.manifest(exact)["counts"]["dropped"]["exact_duplicate"]
    english = {(row["source"], row["source_row"]) for row in runs.tokens(exact).to_pylist() if row["language"] == "en"}
    assert 0 < len(english) < len(kept(exact))
    assert kept(tmp_path / "decided") == {place: size for place, size in kept(exact).items() if place in english}


def test_what_needs_sketches_is_refused(exact: Path, finished: Path, tmp_path: Path) -> None:
    for changed in ({"min_similarity": "0.8"}, {"keep_duplicate": "longest"}):
        [name] = changed
        with pytest.raises(NotUsable, match=f"{name}: .* was made with near_duplicates off.* over another output"):
            rededuplicate.prepare(str(exact), str(tmp_path / "out"), [], changed)
        with pytest.raises(NotUsable, match=f"{name}: .* was made with near_duplicates off"):
            decide.settings_of(str(exact), str(tmp_path / "out"), changed)
    for run, against in ((exact, finished), (finished, exact)):
        with pytest.raises(NotUsable, match=r"has near_duplicates .*, but .* can't be compared"):
            rededuplicate.prepare(str(run), str(tmp_path / "out"), [str(against)], {})
    assert not (tmp_path / "out").exists()


def test_settings_without_effect_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    places = {"input": ["in"], "output": "out", "tokens": False, "near_duplicates": False}
    for name, value in {"min_similarity": 0.9, "bands": 20, "fold_digits": True, "keep_duplicate": "longest"}.items():
        with pytest.raises(UsageError, match=f"{name}: has no effect with near_duplicates off"):
            resolve_part(Settings, places | {name: value})
    assert resolve_part(Settings, places).minhash() is None
    assert cli.main(["--explain-dedup", "--no-near_duplicates"]) == 2
    assert "near_duplicates" in capsys.readouterr().err


def test_the_estimate_counts_exact_copies(corpus: Path) -> None:
    places = {"input": [str(corpus)], "output": "out", "tokens": False, "plan_fraction": 1, "near_duplicates": False}
    expected = firsts(corpus)
    share = estimation.estimate(Settings(**places))["sample"]["duplicate_share"]
    assert share == pytest.approx(1 - len(expected) / sum(expected.values()), abs=0.02)
