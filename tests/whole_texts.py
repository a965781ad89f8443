"""What a run decides about pairs of known similarity, judged over whole texts by ``tests.similar_pairs``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from beam_pipeline import cli
from tests import runs
from tests.similar_pairs import jaccard, write

PROMISED_LONG = 0.7  # docs/deduplication.md: 0.8 less four standard errors of the estimate
PROMISED_SHORT = 0.8


@dataclasses.dataclass(frozen=True)
class Judged:
    """A pair: its true similarity, whether both are kept, and whether one is dropped for the other."""

    similarity: float
    both_kept: bool
    for_each_other: bool
    said: float


def judge(
    pairs: list[tuple[str, str]], folder: Path, similarity: Callable[[str, str], float] = jaccard
) -> list[Judged]:
    """Runs the command over the pairs; nothing of it is believed but what it decided.

    Asserts that every dropped document has a kept witness, and is as similar to one of another pair as is promised:
    real texts hold the same sentence twice. Such a pair isn't judged.
    """
    write(pairs, folder / "in")
    runs.run(folder / "in", folder / "run", "--direct_num_workers", 1, timeout=3600)
    assert cli.main(["dedup", "--run", str(folder / "run"), "--output", str(folder / "decided")]) == 0
    files = sorted((folder / "decided/decisions").iterdir())
    rows = pa.concat_tables([pq.read_table(file) for file in files]).sort_by("source_row").to_pylist()
    assert len(rows) == 2 * len(pairs)
    witness = {n: row["witness_row"] for n, row in enumerate(rows) if row["outcome"] == "dropped"}
    assert not set(witness.values()) & witness.keys()
    texts = [text for pair in pairs for text in pair]
    judged = []
    for number, (a, b) in enumerate(pairs):
        first, second = 2 * number, 2 * number + 1
        for_each_other = witness.get(second) == first
        of_others = [row for row in (first, second) if row in witness and witness[row] // 2 != number]
        for row in of_others:
            assert similarity(texts[row], texts[witness[row]]) >= PROMISED_LONG, (texts[row], texts[witness[row]])
        if of_others:
            continue
        assert first not in witness, "the later one of a pair is kept"
        judged.append(
            Judged(similarity(a, b), second not in witness, for_each_other, rows[second]["similarity"] or 0.0)
        )
    assert len(judged) > 0.9 * len(pairs)
    return judged


def report(name: str, judged: list[Judged]) -> None:
    """Prints what was dropped and what was found."""
    dropped = [pair.similarity for pair in judged if pair.for_each_other]
    alike = [pair for pair in judged if pair.similarity >= 0.9]
    missed = sum(pair.both_kept for pair in alike)
    Console().print(
        f"{name}: {len(judged):,} pairs, {len(dropped):,} dropped, the least similar at {min(dropped, default=1):.4f}; "
        f"of {len(alike):,} at 0.9 or more {missed} missed",
        highlight=False,
    )
