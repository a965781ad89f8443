"""``what-if``: counted from stored attributes, and the same as a run with that rule."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg.rows import dict_row

from beam_pipeline import embedded_postgres
from beam_pipeline import what_if as module
from beam_pipeline.finished_runs import NotUsable, finished_run
from beam_pipeline.lineage.totals import Amount
from beam_pipeline.what_if_answers import Answer, Stays
from beam_pipeline.what_if_sample import Looked, estimated
from tests import runs
from tests.conftest import SHARDS
from transforms.io.fingerprint_objects import PARENT, read_fingerprints
from transforms.recipe.built_in import Rule

EXPRESSIONS = ["words >= 60", "language == 'en' and words < 200 or lines > 3"]


@pytest.fixture(scope="module")
def scored(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with attributes and no rule."""
    output = tmp_path_factory.mktemp("scored") / "out"
    runs.run(corpus, output, *SHARDS, "--direct_num_workers", 1, "--filters", "text_statistics")
    return output


def documents(output: Path) -> list[dict[str, Any]]:
    """What the run has stored of every document, with what became of it."""
    rows = []
    for file in sorted((output / "fingerprints").glob("*.parquet")):
        rows += pq.read_table(file).to_pylist()
    return rows


def test_it_counts_what_a_plain_loop_counts(scored: Path) -> None:
    asked = runs.ask("what-if", "--run", scored, *EXPRESSIONS)
    tests = [
        lambda row: row["words"] >= 60,
        lambda row: (row["language"] == "en" and row["words"] < 200) or row["lines"] > 3,
    ]
    rows = [row for row in documents(scored) if row["outcome"] is None]
    for answer, passes in zip(asked, tests, strict=True):
        passing = [row for row in rows if passes(row)]
        assert 0 < len(passing) < len(rows)
        assert answer["total"]["passing"]["documents"] == len(passing)
        assert answer["total"]["passing"]["bytes"] == sum(row["text_bytes"] for row in passing)
        languages = {row["language"] for row in passing}
        assert answer["by_language"].keys() == languages
        for language in languages:
            expected = sum(row["language"] == language for row in passing)
            assert answer["by_language"][language]["passing"]["documents"] == expected


def test_kept_and_duplicates_are_those_of_the_lineage(scored: Path) -> None:
    [answer] = runs.ask("what-if", "--run", scored, EXPRESSIONS[0])
    run = runs.manifest(scored)["run"]
    stored = {}
    uris = pq.read_table(scored / "sources.parquet")["uri"].to_pylist()
    for file in (scored / "fingerprints").glob("*.parquet"):
        table = pq.read_table(file, columns=["words"])
        first = int(table.schema.metadata[b"beam_pipeline.first_row"])
        for row, words in enumerate(table["words"].to_pylist()):
            stored[uris[int(file.name[:7])], first + row] = words is not None and words >= 60
    rows = _lineage(run)
    kept = [row for row in rows if row["outcome"] == "kept" and stored[row["source_uri"], row["source_row"]]]
    lost = [
        row
        for row in rows
        if row["witness_uri"]
        and stored[row["source_uri"], row["source_row"]]
        and not stored[row["witness_uri"], row["witness_row"]]
    ]
    assert lost
    assert answer["total"]["kept"]["documents"] == len(kept)
    tokens = {(row["source"], row["source_row"]): row["n_tokens"] for row in runs.tokens(scored).to_pylist()}
    assert answer["total"]["kept"]["tokens"] == sum(tokens[row["source_uri"], row["source_row"]] for row in kept)
    assert answer["total"]["without_witness"]["documents"] == len(lost)
    assert answer["total"]["without_witness"]["tokens"] > 0


def _lineage(run: str) -> list[dict[str, Any]]:
    with psycopg.connect(embedded_postgres.start(), row_factory=dict_row) as connection:
        return connection.execute("SELECT * FROM lineage WHERE run = %s", [run]).fetchall()


def test_ten_random_expressions_let_through_what_the_rule_lets_through(scored: Path) -> None:
    generator = random.Random(7)
    columns = {"words": 150, "characters": 900, "lines": 3, "letter_words": 140}
    expressions = []
    for _ in range(10):
        parts = [
            f"{name} {generator.choice(['>=', '<', '>', '<='])} {generator.randint(1, 2 * middle)}"
            for name, middle in generator.sample(sorted(columns.items()), 2)
        ]
        expressions.append(generator.choice([" and ", " or "]).join(parts))
    answers = module.what_if(finished_run(str(scored)), expressions)
    tables = [pq.read_table(file) for file in sorted((scored / "fingerprints").glob("*.parquet"))]
    for expression, answer in zip(expressions, answers, strict=True):
        passing = [
            np.count_nonzero(Rule(expression)(batch).to_numpy(zero_copy_only=False))
            for table in tables
            for batch in table.filter(table["outcome"].is_null()).combine_chunks().to_batches()
        ]
        assert answer.total.passing.documents == sum(passing)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("wordz > 3", "did you mean 'words'"),
        ("words >> 3", "this isn't allowed"),
        ("words", "not a Boolean"),
        ("signature == 'a'", "there is no column 'signature'"),
    ],
)
def test_a_bad_expression_is_told_with_its_place_and_the_columns(scored: Path, expression: str, said: str) -> None:
    done = subprocess.run(
        runs.command("what-if", "--run", scored, expression), cwd=runs.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
    if "column" in said or "mean" in said:
        assert "^" in done.stderr
        assert "language" in done.stderr
        assert "letter_words" in done.stderr


def test_grouping_by_something_else_is_refused_with_what_there_is(scored: Path) -> None:
    with pytest.raises(NotUsable, match="there are id, language"):
        _ = [module.what_if(finished_run(str(scored)), ["words > 1"], "words")]


def test_packed_shards_and_ids(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    for number in range(4):
        text = [f"document {row % 3} " + "word " * (10 + row % 3) for row in range(6)]
        (folder / f"{number}.jsonl").write_text("".join(json.dumps({"text": each}) + "\n" for each in text))
    runs.run(folder, tmp_path / "out", "--direct_num_workers", 1, "--filters", "text_statistics")
    [answer] = runs.ask("what-if", "--run", tmp_path / "out", "words > 12")
    assert answer["total"]["passing"]["documents"] == 16
    assert answer["total"]["kept"]["documents"] == 2
    assert answer["total"]["without_witness"]["documents"] == 0


def test_fingerprints_come_from_the_parent_where_an_object_refers_to_one(tmp_path: Path) -> None:
    hashes = pa.array([b"a" * 16, b"b" * 16, None], pa.binary(16))
    outcomes = pa.array([None, None, 65], pa.uint8())
    languages = pa.array(["de", "en", None]).dictionary_encode()
    parent = {"outcome": outcomes, "language": languages, "content_hash": hashes, "edu": [0.25, 0.75, None]}
    pq.write_table(pa.table(parent), tmp_path / "parent")
    child = {
        "outcome": pa.array([70, None, None], pa.uint8()),
        "language": pa.array(["de", "en", "fr"]).dictionary_encode(),
        "content_hash": pa.array([None, None, b"c" * 16], pa.binary(16)),
        "read_again": [False, False, True],
    }
    footer = {PARENT: str(tmp_path / "parent").encode()}
    pq.write_table(pa.table(child).replace_schema_metadata(footer), tmp_path / "child")
    table = read_fingerprints(str(tmp_path / "child"), ["content_hash", "edu", "language"]).table
    assert table["content_hash"].to_pylist() == [None, b"b" * 16, b"c" * 16]
    assert table["edu"].to_pylist() == [0.25, 0.75, None]
    assert table["language"].to_pylist() == ["de", "en", "fr"]
    raw = read_fingerprints(str(tmp_path / "child"), ["content_hash"], dropped_too=True).table
    assert raw["content_hash"].to_pylist() == [b"a" * 16, b"b" * 16, b"c" * 16]
    with pytest.raises(KeyError, match="has no column 'nothing'"):
        read_fingerprints(str(tmp_path / "child"), ["nothing"])


def test_a_sample_of_the_shards_says_how_far_off_it_may_be(scored: Path) -> None:
    [exact] = runs.ask("what-if", "--run", scored, "--before_duplicates", EXPRESSIONS[0])
    [found] = runs.ask("what-if", "--run", scored, "--sample", 0.6, EXPRESSIONS[0])
    assert "standard_errors" not in exact
    errors = found["standard_errors"]["passing"]
    assert found["total"]["passing"]["documents"] != exact["total"]["passing"]["documents"]  # it has looked at fewer
    for name in ("documents", "bytes"):
        off = abs(found["total"]["passing"][name] - exact["total"]["passing"][name])
        assert errors[name] > 0 and off <= 5 * errors[name], name
    [again] = runs.ask("what-if", "--run", scored, "--sample", 0.6, EXPRESSIONS[0])
    assert again == found
    [whole] = runs.ask("what-if", "--run", scored, "--sample", 1, "--before_duplicates", EXPRESSIONS[0])
    assert whole == exact


def test_a_sample_of_a_run_with_few_shards_is_all_of_it(tmp_path: Path) -> None:
    """Of one shard no error can be told."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_text("".join(json.dumps({"text": f"a text {n}"}) + "\n" for n in range(9)))
    runs.run(tmp_path / "texts", tmp_path / "out", "--direct_num_workers", 1, "--filters", "text_statistics")
    [answer] = module.what_if(finished_run(str(tmp_path / "out")), ["words >= 1"], sample=0.01)
    assert (answer.total.passing.documents, answer.errors) == (9, None)


@pytest.mark.parametrize("share", ["0", "-0.5", "1.5", "nan"])
def test_a_sample_that_is_no_share_is_refused(scored: Path, share: str) -> None:
    with pytest.raises(NotUsable, match=f"sample: {share} isn't a share: give a number above 0 and at most 1"):
        module.what_if(finished_run(str(scored)), ["words > 1"], sample=float(share))


def test_standard_errors_are_as_far_as_samples_are_off() -> None:
    """Of many samples: the error that is told is how far they are off, for each number."""
    random = np.random.default_rng(5)
    rows = random.integers(50, 400, 40)
    passing = random.binomial(rows, random.uniform(0.2, 0.6, 40))
    stays = [Stays(Amount(int(count)), Amount(int(count) // 2, 7 * int(count), int(count))) for count in passing]
    true = sum(stays, Stays())
    off, errors = [], []
    for _ in range(400):
        chosen = random.choice(40, 10, replace=False)
        total = sum((stays[i] for i in chosen), Stays())
        looked = [Looked(int(rows[i]), [stays[i]]) for i in chosen]
        [answer] = estimated([Answer("x", {"en": total})], looked, 40, int(rows.sum()))
        assert answer.errors is not None
        off.append(answer.total.passing.documents - true.passing.documents)
        off.append((answer.total.kept.bytes - true.kept.bytes) / 7)
        errors += [answer.errors.passing.documents, answer.errors.kept.bytes / 7]
    assert np.mean(errors) == pytest.approx(np.std(off), rel=0.25)
    assert abs(np.mean(off)) < np.std(off) / 5
    with pytest.raises(NotUsable, match="the 2 of 9 shards that it has are empty"):
        estimated([Answer("x", {})], [Looked(0, [Stays()])] * 2, 9, 500)


def test_errors_of_several_runs_are_added_as_those_of_independent_samples() -> None:
    exact, one, other = (
        Answer("x", {}, errors) for errors in (None, Stays(Amount(3, 30)), Stays(Amount(4, 40), Amount(5)))
    )
    assert (exact + one + other).errors == Stays(Amount(5, 50), Amount(5))
    assert (exact + exact).errors is None


def test_by_domain(tmp_path: Path) -> None:
    urls = ["https://a.example.co.uk/x", None, "http://example.co.uk", "https://b.org/", "https://A.b.org/y", "x y"]
    rows = [{"text": "word " * (10 + 5 * number), "url": url} for number, url in enumerate(urls)]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ("--direct_num_workers", 1, "--filters", "text_statistics")
    runs.run(tmp_path / "texts", tmp_path / "out", *flags, "--keep_columns", "url")
    [answer] = runs.ask("what-if", "--run", tmp_path / "out", "--by", "domain", "--before_duplicates", "words >= 15")
    counts = {name: stays["passing"]["documents"] for name, stays in answer["by_domain"].items()}
    assert counts == {"": 1, "b.org": 2, "example.co.uk": 1, "x y": 1}


def test_domains_of_a_run_without_urls_are_refused(scored: Path) -> None:
    with pytest.raises(NotUsable, match="`domain` needs the URLs: a run with --keep_columns url has them"):
        module.what_if(finished_run(str(scored)), ["words > 1"], "domain")
