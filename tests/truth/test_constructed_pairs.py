"""Constructed pairs of known similarity (``neardup/pairs.parquet``).

The listed similarity counts words as Python's ``\\w+`` finds them; in scripts written without spaces that is a whole
sentence. So pairs are also judged by the documented shingles, and where the two disagree the documented ones count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from rich.table import Table

from tests.truth.conftest import Decided

FORM = {"case", "nfkc_fullwidth", "nfd", "zero_width", "curly", "whitespace", "exact"}


@pytest.fixture(scope="module")
def pairs(data: Path, neardup: Decided) -> list[dict[str, Any]]:
    """Every pair with its true similarity over the documented shingles and what became of it."""
    positions = {identifier: position for position, identifier in enumerate(neardup.ids)}
    found = pq.read_table(data / "neardup/pairs.parquet").to_pylist()
    for pair in found:
        a, b = positions[pair["id_a"]], positions[pair["id_b"]]
        pair["true"] = neardup.jaccard(a, b)
        pair["too_short"] = not (neardup.shingles(a) and neardup.shingles(b))
        pair["one_left"] = a in neardup.witness or b in neardup.witness
        pair["for_each_other"] = neardup.witness.get(a) == b or neardup.witness.get(b) == a
    return found


def share(pairs: list[dict[str, Any]], name: str) -> float:
    return sum(pair[name] for pair in pairs) / len(pairs)


def test_table(pairs: list[dict[str, Any]]) -> None:
    for measure, title in (("jaccard", "listed similarity (\\w+ words)"), ("true", "documented shingles")):
        table = Table(title=f"constructed pairs by {title}")
        for name in ("similarity", "pairs", "not both kept", "one dropped for the other"):
            table.add_column(name, justify="right")
        for low, high in ((1, 2), (0.95, 1), (0.9, 0.95), (0.85, 0.9), (0.8, 0.85), (0.7, 0.8), (0.6, 0.7), (0, 0.6)):
            group = [pair for pair in pairs if low <= pair[measure] < high]
            table.add_row(
                f"{low}-{min(high, 1)}", f"{len(group):,}", f"{share(group, 'one_left'):.2%}",
                f"{share(group, 'for_each_other'):.2%}",
            )  # fmt: skip
        Console().print(table)


def test_pairs_that_differ_in_form_only_are_found(pairs: list[dict[str, Any]]) -> None:
    group = [pair for pair in pairs if pair["kind"] in FORM and pair["jaccard"] == 1]
    missed = [pair for pair in group if not pair["one_left"]]
    assert len(group) > 3000
    assert not missed


@pytest.mark.parametrize(("low", "high", "found"), [(0.9, 1.0001, 0.999), (0.85, 0.9, 0.985), (0.8, 0.85, 0.85)])
@pytest.mark.parametrize("measure", ["jaccard", "true"])
def test_duplicates_are_found(pairs: list[dict[str, Any]], measure: str, low: float, high: float, found: float) -> None:
    group = [pair for pair in pairs if low <= pair[measure] < high]
    assert len(group) > 1000
    assert share(group, "one_left") >= found


def test_unlike_pairs_dont_drop_each_other(pairs: list[dict[str, Any]]) -> None:
    group = [pair for pair in pairs if pair["true"] < 0.6]
    assert len(group) > 3000
    assert share(group, "for_each_other") <= 0.001
    listed = [pair for pair in pairs if pair["jaccard"] < 0.6 and pair["for_each_other"]]
    similarities = ", ".join(f"{pair['true']:.2f}" for pair in listed)
    Console().print(
        f"listed under 0.6, one dropped for the other: {len(listed)}; documented similarity: {similarities}"
    )
    assert all(pair["true"] >= 0.72 for pair in listed)


def test_hard_negatives_stay(pairs: list[dict[str, Any]]) -> None:
    group = [pair for pair in pairs if pair["kind"] == "hardneg"]
    assert len(group) == 2000
    dropped = [pair for pair in group if pair["for_each_other"]]
    similarities = ", ".join(f"{pair['jaccard']:.2f}/{pair['true']:.2f}" for pair in dropped)
    Console().print(f"hard negatives, one dropped for the other: {len(dropped)}; listed/documented: {similarities}")
    assert sum(pair["true"] < 0.72 for pair in dropped) <= 0.001 * len(group)  # some of the listed ones are alike
