"""Both errors of near-duplicate removal, beside datatrove 0.10.1 with the same 14 x 8 on the same documents.

    python -m benchmarks.deduplication [--real N] [--pairs N] DATA DATATROVE_PYTHON

DATA has ``corpus/`` (real documents) and ``neardup/`` (constructed pairs). The truth is the Jaccard similarity over the
documented shingles, computed from the texts for all pairs of documents: *wrongly removed* is a document whose
similarity to every kept one is under 0.7, *missed* is a pair at 0.85 or more of which both are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from tests import runs
from tests.truth.all_pairs import similar_pairs
from transforms.kernels.deduplication.fingerprinting import shingles_reference
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.text.normalization import normalize

WRONG, MISSED = 0.7, 0.85


def real_documents(data: Path, count: int) -> pa.Table:
    """The first documents of the corpus."""
    table = pq.read_table(min((data / "corpus").iterdir()), columns=["id", "text"])
    return table.slice(0, count)


def constructed_pairs(data: Path, count: int) -> tuple[pa.Table, list[dict]]:
    """The documents of the first pairs, and those pairs."""
    pairs = pq.read_table(data / "neardup/pairs.parquet").slice(0, count).to_pylist()
    wanted = {pair[name] for pair in pairs for name in ("id_a", "id_b")}
    table = pq.read_table(data / "neardup/docs.parquet", columns=["id", "text"])
    return table.filter(pa.array([identifier in wanted for identifier in table["id"].to_pylist()])), pairs


def ours(table: pa.Table, folder: Path) -> set[str]:
    """Ids that the pipeline keeps."""
    pq.write_table(table, folder / "documents.parquet")
    runs.run(folder / "documents.parquet", folder / "out", "--direct_num_workers", 1)
    ids = table["id"].to_pylist()
    return {ids[row] for row in runs.tokens(folder / "out")["source_row"].to_pylist()}


def theirs(table: pa.Table, folder: Path, python: str) -> set[str]:
    """Ids that datatrove keeps."""
    (folder / "in").mkdir()
    pq.write_table(table, folder / "in" / "documents.parquet")
    peer = Path(__file__).with_name("deduplication_peer.py")
    done = subprocess.run(
        [python, peer, folder / "in", folder / "work"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"datatrove failed: {done.stderr[-2000:]}")
    return set(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Runs both on both, prints the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.deduplication", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("datatrove", metavar="DATATROVE_PYTHON")
    parser.add_argument("--real", type=int, default=8_000, metavar="N")
    parser.add_argument("--pairs", type=int, default=3_000, metavar="N")
    args = parser.parse_args()
    output = Table(title="removal errors by true similarity", title_justify="left")
    for name in ("documents", "", "removed", "wrongly removed", "pairs at 0.85 or more", "missed", "form only: missed"):
        output.add_column(name, justify="right")
    constructed, pairs = constructed_pairs(args.data, args.pairs)
    for name, table in (("real", real_documents(args.data, args.real)), ("constructed", constructed)):
        ids = table["id"].to_pylist()
        texts = normalize(table["text"].combine_chunks()).to_pylist()
        sets = {n: frozenset(map(hash, shingles_reference(text or "", MinHash()))) for n, text in enumerate(texts)}
        alike = similar_pairs({n: found for n, found in sets.items() if found}, WRONG)
        same: dict[str, list[int]] = {}
        for n, text in enumerate(texts):
            same.setdefault(text, []).append(n)
        neighbours: dict[int, set[int]] = {n: set(same[text]) - {n} for n, text in enumerate(texts)}
        for a, b in alike:
            neighbours[a].add(b)
            neighbours[b].add(a)
        duplicates = [pair for pair, similarity in alike.items() if similarity >= MISSED]
        position = {identifier: n for n, identifier in enumerate(ids)}
        form = [
            (position[pair["id_a"]], position[pair["id_b"]])
            for pair in (pairs if name == "constructed" else [])
            if pair["jaccard"] == 1 and pair["kind"] != "exact"
        ]
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            Path(one).chmod(0o711)  # root's embedded PostgreSQL is run by another user
            os.environ["BEAM_PIPELINE_DATA_DIR"] = f"{one}/data"
            kept = {"ours": ours(table, Path(one)), "datatrove": theirs(table, Path(two), args.datatrove)}
        for who, which in kept.items():
            stay = {position[identifier] for identifier in which}
            # An empty document has no text to compare: not kept by us, kept by datatrove, an error of neither.
            removed = {n for n, text in enumerate(texts) if text} - stay
            wrong = [n for n in removed if not neighbours[n] & stay]
            missed = sum(a in stay and b in stay for a, b in duplicates)
            by_form = sum(a in stay and b in stay for a, b in form)
            output.add_row(
                f"{len(ids):,} {name}", who, f"{len(removed):,}", f"{len(wrong):,} ({len(wrong) / len(removed):.1%})",
                f"{len(duplicates):,}", f"{missed:,} ({missed / len(duplicates):.2%})",
                f"{by_form:,} of {len(form):,}" if form else "",
            )  # fmt: skip
    Console(width=140).print(output)


if __name__ == "__main__":
    main()
