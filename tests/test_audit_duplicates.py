"""The audit of a run: what it says of its sample is true of the texts."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest

from beam_pipeline import embedded_postgres
from schemas.columns import AUDIT
from tests import runs
from transforms.kernels.deduplication.fingerprinting import MinHash, shingles_reference
from transforms.kernels.text.normalization import normalize_reference


def test_its_similarities_are_those_of_the_texts(finished: Path, corpus: Path) -> None:
    texts = [pq.read_table(file)["text"].to_pylist() for file in sorted(corpus.iterdir())]
    table = pq.read_table(finished / "deduplication_audit.parquet")
    assert table.schema.equals(AUDIT)
    for row in table.to_pylist():
        a, b = (
            shingles_reference(normalize_reference(texts[source][row_]), MinHash())
            for source, row_ in (
                (row["source"], row["source_row"]),
                (row["witness_source"], row["witness_row"]),
            )
        )
        assert row["true_similarity"] == pytest.approx(len(a & b) / len(a | b))
        assert (row["similarity"] >= 0.8 - 1e-6) == row["removed"]


def test_it_samples_what_the_lineage_says_was_removed(finished: Path) -> None:
    with psycopg.connect(embedded_postgres.start()) as connection:
        lineage = connection.execute(
            "SELECT source_uri, source_row, witness_uri, witness_row FROM lineage"
            " WHERE run = %s AND reason = 'near_duplicate'", [runs.manifest(finished)["run"]]
        ).fetchall()  # fmt: skip
    uris = pq.read_table(finished / "sources.parquet")["uri"].to_pylist()
    removed = {
        (uris[row["source"]], row["source_row"], uris[row["witness_source"]], row["witness_row"])
        for row in pq.read_table(finished / "deduplication_audit.parquet").to_pylist()
        if row["removed"]
    }
    assert removed <= set(lineage)
    assert len(removed) == min(200, len(lineage))


def test_the_manifest_has_the_precision_with_its_interval(finished: Path) -> None:
    said = runs.manifest(finished)["deduplication_audit"]
    removed = said["removed"]
    assert removed["near_duplicates"] == runs.manifest(finished)["counts"]["dropped"]["near_duplicate"]
    assert removed["sampled"] == min(200, removed["near_duplicates"])
    assert removed["precision"] == 1
    assert 0.9 < removed["precision_95"][0] < removed["precision_95"][1] == 1
    assert removed["true_similarity"]["min"] >= removed["right_from"] == 0.7
    assert said["near_misses"]["share_of_duplicates_95"][1] <= 1


def test_texts_are_compared_as_they_were_edited(tmp_path: Path) -> None:
    """Every document has a first line of its own, which an editor removes; what is left differs in a word."""
    words = runs.sample_texts()[0].split()[:120]
    bodies = [" ".join([*words[:100], f"number{row}", *words[100:]]) for row in range(6)]
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "a.jsonl").open("w") as file:
        for row, body in enumerate(bodies):
            banner = " ".join(f"{word}{row}" for word in words)
            file.write(json.dumps({"url": f"https://a.example/{row}", "text": f"{banner}\n{body}"}) + "\n")
    flags = ("--keep_columns", "url", "--filters", "tests.example_steps:without_banner", "--direct_num_workers", 1)
    runs.run(tmp_path / "in", tmp_path / "out", *flags)
    assert runs.manifest(tmp_path / "out")["counts"]["dropped"] == {"near_duplicate": 5}
    rows = pq.read_table(tmp_path / "out" / "deduplication_audit.parquet").to_pylist()
    assert len(rows) == 5
    for row in rows:
        a, b = (shingles_reference(bodies[row[name]], MinHash()) for name in ("source_row", "witness_row"))
        assert row["true_similarity"] == pytest.approx(len(a & b) / len(a | b))
