"""``decide``: another recipe and another deduplication on what a run has stored, with the bytes of a fresh run."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg.rows import dict_row

from beam_pipeline import embedded_postgres
from beam_pipeline.finished_runs import finished_run
from beam_pipeline.what_if import what_if
from schemas.outcomes import Outcomes
from tests import runs

ANNOTATED = [
    "text_statistics",
    "researcher:without_commas",
    "researcher:no_questions",
]
FEW = {"rule": {"reason": "few_words", "keep": "words >= 70"}}
LONG = {"rule": {"reason": "long_words", "keep": "characters <= 8 * words"}}
RECIPES = {
    "base": [*ANNOTATED, FEW, LONG],
    "stricter": [*ANNOTATED, FEW, LONG, {"rule": {"reason": "fewer", "keep": "words >= 120 or language == 'de'"}}],
    "looser": [*ANNOTATED, {"rule": {"reason": "few_words", "keep": "words >= 40"}}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a corpus, the researcher's module and the recipes."""
    folder = tmp_path_factory.mktemp("decide")
    runs.write_corpus(folder / "corpus", files=2, documents=300)
    small = [f"A small document, number {n}. " + "It says one thing more. " * (n % 30) for n in range(60)]
    for number in range(3):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in small[number::3])
        (folder / "corpus" / f"small-{number}.jsonl").write_text(lines)
    shutil.copy(Path(__file__).with_name("example_steps.py"), folder / "researcher.py")
    for name, recipe in RECIPES.items():
        (folder / f"{name}.yaml").write_text(json.dumps(recipe))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{folder}:{runs.ROOT}")
        yield folder


def fresh(folder: Path, name: str, *flags: str) -> Path:
    """The output of a run that reads every text."""
    output = folder / "-".join(["fresh", name])
    flags = ("--recipe", str(folder / f"{name}.yaml"), "--shard_bytes", "200KiB", "--with_text", *flags)
    runs.run(folder / "corpus", output, *flags, "--direct_num_workers", 1)
    return output


def decide(run: Path, output: Path, *flags: object, status: int = 0) -> Path:
    command = runs.command("decide", "--run", run, "--output", output, *flags, "--direct_num_workers", 1)
    done = subprocess.run(command, cwd=runs.ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return output


@pytest.fixture(scope="module")
def base(folder: Path) -> Path:
    return fresh(folder, "base")


def tokens(output: Path) -> dict[str, str]:
    return {name: digest for name, digest in runs.digests(output).items() if name.startswith("tokens/")}


def _fingerprints(output: Path) -> list[Path]:
    return sorted((output / "fingerprints").iterdir())


def read_again(output: Path) -> int:
    columns = [pq.read_table(file, columns=["read_again"])["read_again"].to_pylist() for file in _fingerprints(output)]
    return sum(map(sum, columns))


def test_stricter_rules_give_the_bytes_of_a_fresh_run_and_read_no_text(folder: Path, base: Path) -> None:
    expected = fresh(folder, "stricter")
    found = decide(base, folder / "stricter", "--recipe", folder / "stricter.yaml")
    assert tokens(found) == tokens(expected)
    assert read_again(found) == 0
    manifests = [runs.manifest(output) for output in (found, expected)]
    for name in ("counts", "tokens", "languages", "kept_bytes", "settings_hash"):
        assert manifests[0][name] == manifests[1][name], name
    assert manifests[0]["parent"] == {"run": runs.manifest(base)["run"], "output": str(base)}
    # What what-if foretells is what such a run lets through, to the document.
    rule = RECIPES["stricter"][-1]["rule"]["keep"]
    [answer] = what_if(finished_run(str(base)), [rule])
    passed = pa.concat_tables(
        pq.read_table(file, columns=["outcome", "text_bytes"]) for file in (expected / "fingerprints").iterdir()
    )
    passed = passed.filter(passed["outcome"].is_null())
    assert answer.total.passing.documents == len(passed) > 0
    assert answer.total.passing.bytes == sum(passed["text_bytes"].to_pylist())


def test_looser_rules_and_another_similarity_give_the_bytes_of_a_fresh_run(folder: Path, base: Path) -> None:
    flags = ("--min_similarity", "0.95", "--keep_duplicate", "best: characters")
    expected = fresh(folder, "looser", *flags)
    found = decide(base, folder / "looser", "--recipe", folder / "looser.yaml", *flags)
    assert tokens(found) == tokens(expected)
    # Read were those that the rules dropped and that come back in, not those that are too short all the same.
    outcomes = Outcomes.from_json(finished_run(str(base)).plan.outcomes)
    stored = [pq.read_table(file, columns=["outcome", "words"]).to_pylist() for file in _fingerprints(base)]
    back = [row for rows in stored for row in rows if row["outcome"] in map(outcomes.code, ("few_words", "long_words"))]
    assert 0 < read_again(found) == sum(row["words"] >= 40 for row in back) < len(back)
    assert runs.manifest(found)["counts"] == runs.manifest(expected)["counts"]
    # Of near-duplicates the one with more characters has stayed.
    characters = {}
    for file in (found / "fingerprints").iterdir():
        table = pq.read_table(file, columns=["id", "characters"])
        characters |= dict(zip(table["id"].to_pylist(), table["characters"].to_pylist(), strict=True))
    near = [row for row in _lineage(runs.manifest(found)["run"]) if row["reason"] == "near_duplicate"]
    numbered = {str(folder / "corpus" / f"part-{number}.parquet"): number for number in range(2)}
    pairs = [
        tuple(f"{numbered[row[f'{side}_uri']]}/{row[f'{side}_row']}" for side in ("source", "witness"))
        for row in near
        if row["source_uri"] in numbered and row["witness_uri"] in numbered
    ]
    assert len(pairs) > 3
    assert all(characters[dropped] <= characters[witness] for dropped, witness in pairs)
    assert any(dropped < witness for dropped, witness in pairs)


def test_killed_and_resumed_it_has_the_same_bytes(folder: Path, base: Path) -> None:
    output = folder / "killed"
    command = runs.command("decide", "--run", base, "--output", output, "--recipe", folder / "stricter.yaml")
    started = subprocess.Popen(
        [*command, "--direct_num_workers", "1"], cwd=runs.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with started:
        while not list(output.glob("fingerprints/*.parquet")):
            assert started.poll() is None
            time.sleep(0.01)
        started.kill()
    assert not (output / "run.json").exists()
    decide(base, output, "--recipe", folder / "stricter.yaml")
    assert tokens(output) == tokens(folder / "fresh-stricter")


def test_decisions_on_decisions_lead_back_and_read_no_text(folder: Path, base: Path) -> None:
    """What a stricter recipe dropped has its fingerprint still, in the object of the first run."""
    back = decide(folder / "stricter", folder / "back", "--recipe", folder / "base.yaml")
    assert tokens(back) == tokens(base)
    assert read_again(back) == 0


def test_a_trace_has_the_verdicts_of_parent_and_child(folder: Path, base: Path) -> None:
    gone = next(row for row in _lineage(runs.manifest(folder / "stricter")["run"]) if row["reason"] == "fewer")
    where = ("--source", gone["source_uri"], "--row", gone["source_row"])
    found = runs.ask("trace", "--output", folder / "stricter", *where)
    assert (found["outcome"], found["reason"]) == ("dropped", "fewer")
    assert found["parent"]["run"] == runs.manifest(base)["run"]
    assert found["parent"]["outcome"] in ("kept", "dropped")
    assert found["parent"]["reason"] != "fewer"


def _lineage(run: str) -> list[dict[str, Any]]:
    with psycopg.connect(embedded_postgres.start(), row_factory=dict_row) as connection:
        return connection.execute("SELECT * FROM lineage WHERE run = %s", [run]).fetchall()


def test_what_cant_be_decided_is_refused(folder: Path, base: Path) -> None:
    wrong = folder / "wrong.yaml"
    wrong.write_text(json.dumps([{"rule": {"keep": "wordz > 1"}}]))
    for run, output, flags, said in [
        (base, folder / "none", ("--recipe", wrong), "there is no column 'wordz'"),
        (folder / "corpus", folder / "none", (), "there is no finished run"),
        (base, base, (), "is the output of the run that is decided again"),
        (base, folder / "fresh-stricter", (), "is another run"),
        (base, folder / "none", ("--keep_duplicate", "best: edu"), "no numeric attribute 'edu'"),
    ]:
        command = runs.command("decide", "--run", run, "--output", output, *flags)
        done = subprocess.run(command, cwd=runs.ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
    assert not (folder / "none").exists()
