"""The audit of a run: what it says of its sample is true of the texts."""

from __future__ import annotations

import collections
import json
from pathlib import Path

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest

from beam_pipeline import embedded_postgres
from schemas.columns import AUDIT
from tests import runs
from transforms.deduplication import audit_duplicates as audit
from transforms.kernels.deduplication import auditing
from transforms.kernels.deduplication.fingerprinting import shingles_reference
from transforms.kernels.deduplication.options import MinHash
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
        assert row["contained"] == pytest.approx(len(a & b) / len(a))
        assert row["contains"] == pytest.approx(len(a & b) / len(b))
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
    table = pq.read_table(finished / "deduplication_audit.parquet")
    rows = table.filter(table["removed"])
    for name in ("true_similarity", "contained", "contains"):
        assert removed[name]["median"] == round(float(np.median(rows[name].to_numpy())), 4)
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
        assert row["contained"] == pytest.approx(len(a & b) / len(a))
        assert row["contains"] == pytest.approx(len(a & b) / len(b))


def test_pairs_are_compared_one_by_one_in_few_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever texts stand in a group together, and in however many parts their shingles come."""
    monkeypatch.setattr(auditing, "HASHES_AT_ONCE", 100)
    random = np.random.default_rng(5)
    pairs, parts, expected = 50, collections.defaultdict(list), []
    for pair in range(pairs):
        texts = [np.unique(random.integers(0, 2**64, random.integers(0, 3000), np.uint64)) for _ in range(2)]
        texts[1] = np.union1d(texts[1], texts[0][: pair * 40])
        for side, hashes in enumerate(texts):
            for number, part in auditing.in_ranges(hashes):
                parts[audit.key_of(pair, number)].append((pair, side, part.tobytes()))
        a, b = (set(hashes.tolist()) for hashes in texts)
        expected.append([len(a & b) / max(1, len(of)) for of in (a | b, a, b)])
    assert len(parts) <= 256
    counted = [audit.compare((key, [each[at] for at in random.permutation(len(each))])) for key, each in parts.items()]
    assert audit.likenesses(counted, pairs).T.tolist() == expected
    with pytest.raises(ValueError, match="of 51 pairs of the audit's sample, 1 weren't read"):
        audit.likenesses(counted, pairs + 1)
