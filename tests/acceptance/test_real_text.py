"""The promises of a run, checked for every document of real text: `make acceptance CORPUS=... TOKENIZER=...`.

CORPUS is a folder of Parquet files with the columns id and text, TOKENIZER a tokenizer.json. About ten minutes for
200 MB on two cores, most of it the reference tokenizer.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import psycopg
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from beam_pipeline import embedded_postgres
from tests import runs
from transforms.kernels.deduplication.fingerprinting import words_reference
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.text.normalization import normalize_reference

CORPUS = Path(os.environ.get("CORPUS", runs.ROOT.parent / "shared/data/corpus"))
TOKENIZER = Path(os.environ["TOKENIZER"])
KILLS = 20
TRACED = 1_000


def start(output: Path, *flags: object, source: Path = CORPUS) -> list[str]:
    return runs.command("--input", source, "--output", output, "--tokenizer", TOKENIZER, "--eos", "none", *flags)


def run(output: Path, *flags: object, source: Path = CORPUS) -> None:
    subprocess.run(start(output, *flags, source=source), cwd=runs.ROOT, check=True, capture_output=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    run(output, "--direct_num_workers", 2)
    return output


def lineage(run_id: str, query: str) -> list[tuple]:
    with psycopg.connect(embedded_postgres.start()) as connection:
        return connection.execute(query, {"run": run_id}).fetchall()


def test_every_document_is_counted_and_in_the_lineage(undisturbed: Path) -> None:
    manifest = runs.manifest(undisturbed)
    counts = manifest["counts"]
    documents = sum(pq.read_metadata(file).num_rows for file in CORPUS.glob("*.parquet"))
    assert counts["documents"] == documents
    assert documents == counts["kept"] + sum(counts["dropped"].values()) + sum(counts["invalid"].values())
    [(rows, places)] = lineage(
        manifest["run"], "SELECT count(*), count(DISTINCT document) FROM lineage WHERE run = %(run)s"
    )
    assert rows == places == documents
    assert sum(runs.tokens(undisturbed)["n_tokens"].to_pylist()) == manifest["tokens"]


def test_every_row_of_ids_is_its_text_in_the_reference_tokenizer(undisturbed: Path) -> None:
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for file in sorted((undisturbed / "tokens").iterdir()):
        rows = pq.read_table(file, columns=["input_ids", "source", "source_row"])
        source = rows["source"][0].as_py()
        texts = pq.read_table(source, columns=["text"])["text"].take(rows["source_row"]).to_pylist()
        for start_row in range(0, len(texts), 500):
            normalized = [normalize_reference(text) for text in texts[start_row : start_row + 500]]
            stored = rows["input_ids"].slice(start_row, 500).to_pylist()
            encoded = tokenizer.encode_batch_fast(normalized, add_special_tokens=False)
            assert [encoding.ids for encoding in encoded] == stored, f"{file}, rows from {start_row}"
            assert tokenizer.decode_batch(stored, skip_special_tokens=False) == normalized


def test_random_documents_traced_both_ways_agree_with_the_files(undisturbed: Path) -> None:
    generator = random.Random(5)
    run_id = runs.manifest(undisturbed)["run"]
    sources = {str(file): pq.read_metadata(file).num_rows for file in CORPUS.glob("*.parquet")}
    objects = {str(file): pq.read_table(file) for file in (undisturbed / "tokens").iterdir()}
    outcomes: Counter[str] = Counter()
    with psycopg.connect(embedded_postgres.start()) as connection:
        for _ in range(TRACED):
            uri = generator.choice(sorted(sources))
            row = generator.randrange(sources[uri])
            cursor = connection.execute(
                "SELECT outcome, token_object, token_row FROM trace_source(%s, %s, %s)", (run_id, uri, row)
            )
            [(outcome, token_object, token_row)] = cursor.fetchall()
            outcomes[outcome] += 1
            if outcome == "kept":
                stored = objects[token_object].slice(token_row, 1)
                assert (stored["source"][0].as_py(), stored["source_row"][0].as_py()) == (uri, row)
                back = connection.execute(
                    "SELECT source_uri, source_row FROM trace_output(%s, %s) WHERE run = %s",
                    (token_object, token_row, run_id),
                ).fetchall()
                assert back == [(uri, row)]
    assert outcomes["kept"] > TRACED / 2
    assert outcomes["dropped"]


def test_what_was_removed_is_like_its_witness_by_the_texts_alone(undisturbed: Path) -> None:
    """Nothing that pass 2 has stored is asked: whole texts, and Python's sets (docs/deduplication.md)."""
    texts = {str(file): pq.read_table(file, columns=["text"])["text"] for file in CORPUS.glob("*.parquet")}
    options = MinHash()

    def text(uri: str, row: int) -> str:
        return normalize_reference(texts[uri][row].as_py())

    removed = lineage(
        runs.manifest(undisturbed)["run"],
        "SELECT source_uri, source_row, witness_uri, witness_row, reason, similarity FROM lineage"
        " WHERE run = %(run)s AND witness_uri IS NOT NULL ORDER BY md5(document::text)",
    )
    near = [pair for pair in removed if pair[4] == "near_duplicate"][:TRACED]
    exact = [pair for pair in removed if pair[4] == "exact_duplicate"][:TRACED]
    assert len(near) > 100 < len(exact)
    assert all(text(*pair[:2]) == text(*pair[2:4]) for pair in exact)
    for pair in near:
        words = [words_reference(text(*place), options) for place in (pair[:2], pair[2:4])]
        a, b = (set(zip(*(found[start:] for start in range(options.shingle_size)), strict=False)) for found in words)
        true = len(a & b) / len(a | b)
        if max(map(len, words)) - options.shingle_size < options.listed_shingles:
            assert true == pytest.approx(pair[5], abs=0.01) and true >= 0.8, pair
        else:
            assert true == pytest.approx(pair[5], abs=0.125) and true >= 0.7, pair


def test_killed_again_and_again(undisturbed: Path, tmp_path: Path) -> None:
    generator, output, kills = random.Random(7), tmp_path / "out", 0
    while kills < KILLS:
        process = subprocess.Popen(
            start(output, "--shard_bytes", "16MiB"), cwd=runs.ROOT, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(generator.uniform(3, 16))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        else:  # it came through; the next attempt shall have something to do
            min((output / "tokens").glob("*.parquet")).unlink()
        process.wait()
    run(output, "--shard_bytes", "16MiB")
    run(tmp_path / "alone", "--shard_bytes", "16MiB")
    kept = {name: digest for name, digest in runs.digests(output).items() if not Path(name).name.startswith(".")}
    assert kept == runs.digests(tmp_path / "alone")
    assert runs.tokens(output).equals(runs.tokens(undisturbed))
    manifest = runs.manifest(output)
    [(rows, places)] = lineage(
        manifest["run"], "SELECT count(*), count(DISTINCT document) FROM lineage WHERE run = %(run)s"
    )
    assert rows == places == runs.manifest(undisturbed)["counts"]["documents"]
    for table, key in [("segments", "shard"), ("sources", "number")]:
        [(rows, places)] = lineage(
            manifest["run"], f"SELECT count(*), count(DISTINCT {key}) FROM {table} WHERE run = %(run)s"
        )
        assert rows == places


def test_same_bytes_on_one_worker_and_same_rows_in_smaller_shards(undisturbed: Path, tmp_path: Path) -> None:
    run(tmp_path / "one", "--direct_num_workers", 1)
    assert runs.digests(tmp_path / "one") == runs.digests(undisturbed)
    run(tmp_path / "small", "--shard_bytes", "64MiB")
    assert runs.tokens(tmp_path / "small").equals(runs.tokens(undisturbed))


def peak_memory(output: Path, source: Path) -> int:
    """Bytes of the largest process of a run, and of its children, at any moment seen: resident, together."""
    process = subprocess.Popen(
        start(output, "--direct_num_workers", 2, source=source), cwd=runs.ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    peak = 0
    while process.poll() is None:
        total = 0
        for member in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            try:
                total += member.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        peak = max(peak, total)
        time.sleep(0.1)
    assert process.returncode == 0
    return peak


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    for number in range(10):
        for file in CORPUS.glob("*.parquet"):
            (copies / f"{number}-{file.name}").symlink_to(file)
    once, ten_times = peak_memory(tmp_path / "once", CORPUS), peak_memory(tmp_path / "ten", copies)
    assert ten_times <= 1.3 * once, f"{once / 1e6:.0f} MB for one copy, {ten_times / 1e6:.0f} MB for ten"
