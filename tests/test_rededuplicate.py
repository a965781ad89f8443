"""``dedup``: pass 2 alone over stored fingerprints, and against earlier runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline import embedded_postgres
from schemas.columns import DECIDED
from tests import runs
from tests.conftest import SHARDS

Place = tuple[str, int]


def dedup(run: Path, output: Path, *flags: object, status: int = 0) -> str:
    """Runs the command; returns what it said."""
    done = subprocess.run(
        runs.command("dedup", "--run", run, "--output", output, "--direct_num_workers", 1, *flags),
        cwd=runs.ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def decided(output: Path) -> dict[Place, dict[str, Any]]:
    """Every decision by source and row."""
    files = sorted((output / "decisions").iterdir())
    table = pa.concat_tables([pq.read_table(file) for file in files])
    assert table.schema.equals(DECIDED)
    return {(row["source"], row["source_row"]): row for row in table.to_pylist()}


def fingerprinted(run: Path) -> dict[Place, dict[str, Any]]:
    """What pass 1 has stored of every document, by source and row."""
    uris = pq.read_table(run / "sources.parquet")["uri"].to_pylist()
    found = {}
    for file in (run / "fingerprints").iterdir():
        table = pq.read_table(file, columns=["outcome", "language", "text_bytes", "content_hash", "signature"])
        first_row = int(table.schema.metadata[b"beam_pipeline.first_row"])
        for row, document in enumerate(table.to_pylist()):
            found[uris[int(file.name[:7])], first_row + row] = document
    return found


def kept(run: Path) -> set[Place]:
    rows = runs.tokens(run).to_pylist()
    return {(row["source"], row["source_row"]) for row in rows}


@pytest.fixture(scope="module")
def again(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run decided again with its own settings."""
    output = tmp_path_factory.mktemp("again")
    dedup(finished, output)
    return output


def test_with_the_same_settings_it_decides_the_same(finished: Path, again: Path) -> None:
    with psycopg.connect(embedded_postgres.start()) as connection:
        lineage = connection.execute(
            "SELECT source_uri, source_row, outcome, reason, witness_uri, witness_row, similarity FROM lineage"
            " WHERE run = %s", [runs.manifest(finished)["run"]]
        ).fetchall()  # fmt: skip
    names = ("source", "source_row", "outcome", "reason", "witness_source", "witness_row", "similarity")
    decisions = decided(again)
    mine = {tuple(row[name] for name in names[:-1]): row["similarity"] for row in decisions.values()}
    said = {(*row[:3], row[3] or "", *row[4:-1]): row[-1] for row in lineage}
    assert {key: value and pytest.approx(value) for key, value in said.items()} == mine
    sizes = {(row["source"], row["source_row"]): row["cluster_size"] for row in runs.tokens(finished).to_pylist()}
    assert {place: row["cluster_size"] for place, row in decisions.items() if row["cluster_size"]} == sizes
    manifest = json.loads((again / "dedup.json").read_text())
    counts = runs.manifest(finished)["counts"]
    assert manifest["counts"]["kept"] == counts["kept"]
    assert manifest["counts"]["dropped: near_duplicate"] == counts["dropped"]["near_duplicate"]
    assert sorted(path.name for path in again.iterdir()) == ["decisions", "dedup.json"]
    assert all(row["has_tokens"] == (row["outcome"] == "kept") for row in decisions.values())
    assert manifest["kept_without_tokens"] == 0


def test_a_higher_threshold_drops_less_and_keeps_the_promises(finished: Path, again: Path, tmp_path: Path) -> None:
    said = dedup(finished, tmp_path, "--min_similarity", 0.95, "--partitions", 3)
    decisions, before = decided(tmp_path), decided(again)
    run = runs.manifest(finished)["run"]
    have = kept(finished)
    assert {place for place, row in decisions.items() if row["has_tokens"]} == have
    without = {place for place, row in decisions.items() if row["outcome"] == "kept"} - have
    assert json.loads((tmp_path / "dedup.json").read_text())["kept_without_tokens"] == len(without) > 0
    assert f"{len(without):,} of the kept documents have no tokens" in said
    near = [row for row in decisions.values() if row["reason"] == "near_duplicate"]
    assert 0 < len(near) < sum(row["reason"] == "near_duplicate" for row in before.values())
    assert f"{len(near):,}" in said
    for row in decisions.values():
        if row["outcome"] == "dropped":
            witness = decisions[row["witness_source"], row["witness_row"]]
            assert (row["witness_run"], witness["outcome"]) == (run, "kept")
            assert row["similarity"] >= 0.95 - 1e-6
        else:
            assert row["witness_run"] is None


def test_the_longest_of_a_language_stays_as_in_a_run_with_these_settings(
    finished: Path, corpus: Path, tmp_path: Path
) -> None:
    flags = ("--keep_duplicate", "longest", "--duplicates_within", "language")
    runs.run(corpus, tmp_path / "run", *SHARDS, "--direct_num_workers", 1, *flags)
    dedup(finished, tmp_path / "again", *flags)
    decisions, documents = decided(tmp_path / "again"), fingerprinted(finished)
    stay = {place for place, row in decisions.items() if row["outcome"] == "kept"}
    assert stay == kept(tmp_path / "run")
    assert stay != kept(finished)
    longer = 0
    for place, row in decisions.items():
        if row["outcome"] == "dropped":
            document, witness = documents[place], documents[row["witness_source"], row["witness_row"]]
            assert document["language"] == witness["language"]
            assert document["text_bytes"] <= witness["text_bytes"]
            longer += place < (row["witness_source"], row["witness_row"])
    assert longer > 20  # a later document stays for its length


def test_against_earlier_runs(finished: Path, corpus: Path, tmp_path: Path) -> None:
    earlier = pq.read_table(sorted(corpus.iterdir())[0], columns=["text"])["text"].to_pylist()[:200]
    new = [" ".join(f"new{n}word{k}" for k in range(40)) for n in range(20)]
    texts = [*new, *(text for text in earlier if text), *(text + " one more end." for text in new[:10]), *new[:5]]
    source = tmp_path / "crawl" / "new.jsonl"
    source.parent.mkdir()
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    runs.run(source, tmp_path / "second", "--direct_num_workers", 1)
    dedup(tmp_path / "second", tmp_path / "decided", "--against", finished)

    first, second = runs.manifest(finished)["run"], runs.manifest(tmp_path / "second")["run"]
    decisions, stay = decided(tmp_path / "decided"), kept(finished)
    assert len(decisions) == len(texts)
    own = {place for place, row in decisions.items() if row["outcome"] == "kept"}
    old = {document["content_hash"] for place, document in fingerprinted(finished).items() if place in stay}
    for place, document in fingerprinted(tmp_path / "second").items():
        row = decisions[place]
        if row["outcome"] == "dropped":
            witness = (row["witness_source"], row["witness_row"])
            assert witness in {first: stay, second: own}[row["witness_run"]]
        if document["content_hash"] in old:
            assert (row["reason"], row["witness_run"], row["similarity"]) == ("exact_duplicate", first, 1.0)
    assert own == {(str(source), row) for row in range(20)}
    assert {row["witness_run"] for row in decisions.values()} == {None, first, second}
    manifest = json.loads((tmp_path / "decided" / "dedup.json").read_text())
    for_earlier = sum(row["witness_run"] == first for row in decisions.values())
    assert manifest["dropped_for_an_earlier_run"] == for_earlier > 150
    assert [run["run"] for run in manifest["against"]] == [first]

    # What dedup kept is what a third run is held against; and all of a run is in itself already.
    dedup(finished, tmp_path / "third", "--against", tmp_path / "decided", finished)
    assert {row["witness_run"] for row in decided(tmp_path / "third").values() if row["outcome"] == "dropped"} == {
        first
    }
    assert not [row for row in decided(tmp_path / "third").values() if row["outcome"] == "kept"]


def test_reasons_are_those_of_the_run_when_the_filters_are_gone_or_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The funnel also says how much text each filter dropped."""
    module = tmp_path / "code" / "filters_of_mine.py"
    module.parent.mkdir()
    module.write_text(
        "import pyarrow as pa\n\nclass Ends:\n    reasons = ('ends_in_a', 'ends_in_b')\n"
        "    def __call__(self, documents):\n"
        "        texts = documents['text'].to_pylist()\n"
        "        return pa.array([f'ends_in_{t[-1]}' if t[-1] != 'c' else None for t in texts], pa.string())\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{module.parent}:{runs.ROOT}")
    source = tmp_path / "in.jsonl"
    texts = [f"text number {n} which ends in {'abc'[n % 3]}" for n in range(30)]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    run = tmp_path / "run"
    runs.run(source, run, "--direct_num_workers", 1, "--filters", "filters_of_mine:Ends")
    expected = {str(n): {"a": "ends_in_a", "b": "ends_in_b", "c": ""}[text[-1]] for n, text in enumerate(texts)}

    funnel = {cell["reason"]: cell for cell in runs.ask("funnel", "--output", run)}
    for reason in ("ends_in_a", "ends_in_b"):
        dropped = [text for n, text in enumerate(texts) if expected[str(n)] == reason]
        assert (funnel[reason]["documents"], funnel[reason]["bytes"]) == (10, sum(map(len, dropped)))

    module.write_text(module.read_text().replace("('ends_in_a', 'ends_in_b')", "('ends_in_b', 'ends_in_a')"))
    again = runs.run(source, run, "--direct_num_workers", 1, "--filters", "filters_of_mine:Ends", status=2)
    assert "reasons: ['ends_in_a', 'ends_in_b'] there, ['ends_in_b', 'ends_in_a'] now" in again.stderr
    for output in (tmp_path / "changed", tmp_path / "gone"):
        dedup(run, output)
        assert {str(row): found["reason"] for (_, row), found in decided(output).items()} == expected
        module.unlink(missing_ok=True)


def test_why_says_whether_a_similarity_is_exact(tmp_path: Path) -> None:
    short, long = ([f"{name}{n}" for n in range(count)] for name, count in (("short", 100), ("long", 1000)))
    texts = [" ".join(words + end) for words in (short, long) for end in ([], ["and", "more"])]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    runs.run(source, tmp_path / "run", "--direct_num_workers", 1)
    said = [runs.ask("why", "--output", tmp_path / "run", "--source", source, "--row", row) for row in (1, 3)]
    assert f"is {96 / 98:.3f} (Jaccard similarity of their sets of word shingles, exact;" in said[0]["because"][0]
    assert "estimated from 256 bytes of signature, with a standard error of 0.025 at 0.8" in said[1]["because"][0]


def test_what_cant_be_compared_is_refused(finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("run.json", "plan.json"):
        (other / name).write_text((finished / name).read_text())
    plan = json.loads((other / "plan.json").read_text())
    plan["deciding"]["fingerprints"]["shingle_size"] = 3
    (other / "plan.json").write_text(json.dumps(plan))
    assert "shingle_size 3, but" in dedup(finished, tmp_path / "out", "--against", other, status=2)
    assert "no finished run" in dedup(tmp_path / "none", tmp_path / "out", status=2)
    assert "min_similarity" in dedup(finished, tmp_path / "out", "--min_similarity", 1.5, status=2)
    assert "is the output of a run" in dedup(finished, finished, status=2)
    assert not (tmp_path / "out").exists()
