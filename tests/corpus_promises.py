"""What is promised of a corpus, checked from its sources, its tokens and its lineage, by nothing that made it.

    python -m tests.corpus_promises CORPUS [DSN]

Texts come from the sources (Parquet with a column ``text``), similarities from Python's hashes of runs of five words.
"""

from __future__ import annotations

import collections
import json
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow.parquet as pq

from beam_pipeline import embedded_postgres
from transforms.kernels.deduplication import plain_shingles
from transforms.kernels.deduplication.options import MinHash

Document = tuple[str, int, int]
"""Run's number, number of the source in the run, row."""

OPTIONS = MinHash()
SURELY_FOUND, SURELY_NOT = 0.9, 0.7
"""A pair from here on is found with p = 0.9996; one under that isn't verified but by chance."""
RARE = 20
"""Documents that are compared share a shingle that no more documents have."""


def words(text: str) -> list[str]:
    """The documented words, found in plain Python: in scripts without spaces a character is one."""
    return [word for piece in plain_shingles.words(unicodedata.normalize("NFC", text), OPTIONS) for word in piece]


def shingles(text: str) -> np.ndarray:
    """int64: hashes of the runs of five words, ascending, each once."""
    found = words(text)
    hashes = map(hash, zip(*(found[start:] for start in range(5)), strict=False))
    return np.unique(np.fromiter(hashes, np.int64))


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / max(1, len(a) + len(b) - both)


def check(corpus: Path, dsn: str, file_of: Callable[[str], str] = str) -> dict[str, int]:
    """Raises AssertionError for a promise that isn't kept; returns how much was looked at.

    Args:
      file_of: the local file of a source's URI.
    """
    identity = json.loads((corpus / "corpus.json").read_text())["corpus"]
    with psycopg.connect(dsn) as connection:
        runs = connection.execute(
            "SELECT number, run::text, output, first_source, sources, state FROM corpus_runs"
            " WHERE corpus = %s AND state <> 'released' ORDER BY number", [identity],
        ).fetchall()  # fmt: skip
        taken = connection.execute(
            "SELECT uri, etag, bytes, number FROM corpus_sources WHERE corpus = %s", [identity]
        ).fetchall()
        assert {state for *_, state in runs} == {"done"}, runs
        assert len({source[:3] for source in taken}) == len(taken) == sum(run[4] for run in runs)
        rows: list[tuple[Any, ...]] = []
        for number, run, *_ in runs:
            rows += connection.execute(
                "SELECT %s, source_uri, source_row, outcome, reason, witness_run::text, witness_uri, witness_row,"
                " similarity, token_object, token_row FROM lineage WHERE run = %s", [number, run],
            ).fetchall()  # fmt: skip
    number_of = {run: number for number, run, *_ in runs}
    texts: dict[tuple[str, int], str | None] = {}
    for uri, *_ in taken:
        for row, text in enumerate(pq.read_table(file_of(uri), columns=["text"])["text"].to_pylist()):
            texts[uri, row] = text
    assert {(uri, row) for _, uri, row, *_ in rows} == set(texts), "a document has no outcome, or is in no source"
    assert len(rows) == len(texts), "a document has two outcomes"
    kept = {(number, uri, row) for number, uri, row, outcome, *_ in rows if outcome == "kept"}
    written = collections.Counter(
        (number, row["source"], row["source_row"])
        for number, _, output, *_ in runs
        for file in sorted((Path(output) / "tokens").glob("*.parquet"))
        for row in pq.read_table(file, columns=["source", "source_row"]).to_pylist()
    )
    assert dict(written) == dict.fromkeys(kept, 1), "token rows aren't the kept documents"
    seen = collections.Counter()
    for number, uri, row, outcome, reason, witness_run, witness_uri, witness_row, said, *_ in rows:
        if outcome != "dropped" or reason not in ("exact_duplicate", "near_duplicate"):
            continue
        witness = (number_of[witness_run], witness_uri, witness_row)
        assert witness in kept, f"{uri} row {row} was dropped for {witness}, which isn't kept"
        assert witness[0] <= number, f"{uri} row {row} was dropped for a document of a later run"
        mine, other = texts[uri, row], texts[witness_uri, witness_row]
        assert mine is not None
        assert other is not None
        if reason == "exact_duplicate":
            assert words(mine) == words(other), f"{uri} row {row} and {witness} aren't the same text"
            assert said == 1
        else:
            true = similarity(shingles(mine), shingles(other))
            assert true > SURELY_NOT, f"{uri} row {row}: {true:.3f} like {witness}, but {said} is said"
        seen[reason] += 1
        seen["for an earlier run"] += witness[0] < number
    seen["kept"] = len(kept)
    seen["pairs compared"] = check_kept({(uri, row): texts[uri, row] or "" for _, uri, row in kept})
    return dict(seen)


def check_kept(texts: dict[tuple[str, int], str]) -> int:
    """No two kept documents are alike; how many pairs were compared."""
    twice = [text for text, times in collections.Counter(texts.values()).items() if times > 1]
    assert not twice, f"{len(twice)} texts are kept more than once, such as {twice[0][:200]!r}"
    names = list(texts)
    of = [shingles(text) for text in texts.values()]
    every = np.concatenate([np.empty(0, np.int64), *of])
    documents = np.repeat(np.arange(len(of), dtype=np.int32), [len(found) for found in of])
    order = np.argsort(every, kind="stable")
    every, documents = every[order], documents[order]
    starts = np.flatnonzero(np.append(True, every[1:] != every[:-1])) if len(every) else np.empty(0, np.int64)
    counts = np.diff(np.append(starts, len(every)))
    pairs = set()
    for start, count in zip(starts[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True):
        if count <= RARE:
            having = documents[start : start + count].tolist()
            pairs.update((a, b) for at, a in enumerate(having) for b in having[:at])
    for a, b in pairs:
        if min(len(of[a]), len(of[b])) >= SURELY_FOUND * max(len(of[a]), len(of[b])):  # others can't be that alike
            true = similarity(of[a], of[b])
            assert true < SURELY_FOUND, f"{names[a]} and {names[b]} are both kept, and {true:.3f} alike"
    return len(pairs)


if __name__ == "__main__":
    seen = check(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else embedded_postgres.start())
    sys.stdout.write(json.dumps(seen) + "\n")
