"""A run over generated text: every document is accounted for, and the tokens are those of its text."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from beam_pipeline import embedded_postgres
from tests import runs
from transforms.kernels.text.normalization import EVERYTHING, normalize_reference


def source_texts(corpus: Path) -> dict[tuple[str, int], str | None]:
    return {
        (str(file), row): text
        for file in sorted(corpus.iterdir())
        for row, text in enumerate(pq.read_table(file, columns=["text"])["text"].to_pylist())
    }


def test_every_document_is_counted_once(finished: Path, corpus: Path) -> None:
    manifest = runs.manifest(finished)
    counts = manifest["counts"]
    assert counts["documents"] == len(source_texts(corpus))
    assert counts["documents"] == counts["kept"] + sum(counts["dropped"].values()) + sum(counts["invalid"].values())
    assert counts["dropped"]["exact_duplicate"] > 100
    assert counts["dropped"]["near_duplicate"] > 100
    assert set(counts["invalid"]) == {"null_text", "empty_text"}
    rows = runs.tokens(finished)
    assert counts["kept"] == rows.num_rows
    assert manifest["tokens"] == sum(rows["n_tokens"].to_pylist())


def test_ids_are_those_of_the_normalized_text(finished: Path, corpus: Path) -> None:
    texts, tokenizer = source_texts(corpus), runs.reference_tokenizer()
    for row in runs.tokens(finished).to_pylist():
        text = normalize_reference(texts[row["source"], row["source_row"]])
        end = tokenizer.token_to_id("<|endoftext|>")  # the tokenizer's own EOS, by default
        assert row["input_ids"] == [*tokenizer.encode(text, add_special_tokens=False).ids, end]
        assert tokenizer.decode(row["input_ids"][:-1], skip_special_tokens=False) == text
        assert row["n_tokens"] == len(row["input_ids"])
        assert row["user_id"] == f"{Path(row['source']).stem.removeprefix('part-')}/{row['source_row']}"


def test_lineage_agrees_with_the_files(finished: Path, corpus: Path) -> None:
    run = runs.manifest(finished)["run"]
    with psycopg.connect(embedded_postgres.start()) as connection:
        lineage = connection.execute(
            "SELECT source_uri, source_row, outcome, reason, witness_uri, witness_row, similarity, token_object,"
            " token_row, language FROM lineage WHERE run = %s", [run]
        ).fetchall()  # fmt: skip
    texts = source_texts(corpus)
    assert Counter((row[0], row[1]) for row in lineage) == Counter(texts.keys())
    objects: dict[str, pa.Table] = {}
    by_place = {(row[0], row[1]): row for row in lineage}
    clusters: Counter[tuple[str, int]] = Counter()
    for uri, row, outcome, reason, witness_uri, witness_row, similarity, token_object, token_row, language in lineage:
        if outcome == "kept":
            table = objects.setdefault(token_object, pq.read_table(token_object))
            stored = table.slice(token_row, 1).to_pylist()[0]
            assert (stored["source"], stored["source_row"], stored["language"]) == (uri, row, language)
        elif outcome == "dropped":
            witness = (witness_uri, witness_row)
            clusters[witness] += 1
            assert by_place[witness][2] == "kept"
            assert similarity >= 0.8
            if reason == "exact_duplicate":
                assert normalize_reference(texts[uri, row]) == normalize_reference(texts[witness])
        else:
            assert outcome == "invalid"
            assert not normalize_reference(texts[uri, row] or "", EVERYTHING)
    for row in runs.tokens(finished).to_pylist():
        assert row["cluster_size"] == 1 + clusters[row["source"], row["source_row"]]


def test_traces_agree_both_ways(finished: Path) -> None:
    file = sorted((finished / "tokens").iterdir())[1]
    stored = pq.read_table(file).slice(7, 1).to_pylist()[0]
    for question in (
        ("--object", file, "--row", 7),
        ("--source", stored["source"], "--row", stored["source_row"]),
        ("--id", stored["id"]),
    ):
        answer = runs.ask("trace", "--output", finished, *question)
        assert answer["outcome"] == "kept"
        assert (answer["source_uri"], answer["source_row"]) == (stored["source"], stored["source_row"])
        assert (answer["token_object"], answer["token_row"]) == (str(file), 7)


def test_status_knows_the_finished_run(finished: Path) -> None:
    assert runs.ask("status", "--output", finished)["state"] == "done"


def test_a_control_token_in_a_text_stays_text(tmp_path: Path) -> None:
    text = "Before <|endoftext|> after, " + "and more of it " * 5
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"id": 1, "text": text}) + "\n")
    runs.run(source, tmp_path / "out", "--direct_num_workers", 1)
    [row] = runs.tokens(tmp_path / "out").to_pylist()
    tokenizer = runs.reference_tokenizer()
    end = tokenizer.token_to_id("<|endoftext|>")
    assert row["input_ids"].count(end) == 1
    assert row["input_ids"][-1] == end
    assert tokenizer.decode(row["input_ids"][:-1], skip_special_tokens=False) == text


def test_filters_drop_with_their_reasons(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "filters:\n"
        "  - tests.example_filters:no_digits\n"
        "  - {use: 'tests.example_filters:Mentions', arguments: {word: river}}\n"
        "min_characters: 300\nlanguages: [en, de]\n"
    )
    runs.run(corpus, tmp_path / "out", "--config", tmp_path / "config.yaml", "--direct_num_workers", 1, "--with_text")
    dropped = runs.manifest(tmp_path / "out")["counts"]["dropped"]
    assert {"too_short", "language_not_wanted", "no_digits", "not_about_it"} <= set(dropped)
    for row in runs.tokens(tmp_path / "out").to_pylist():
        assert len(row["text"]) >= 300
        assert row["language"] in ("en", "de")
        assert "river" in row["text"]
        assert not any(character.isdigit() for character in row["text"])
