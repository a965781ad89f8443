"""``--explain-dedup``: what the settings of the deduplication find, as probabilities; no run, no input needed."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from transforms.deduplication.deduplicate import Deduplication
from transforms.kernels.deduplication.fingerprinting import s_curve, verification_curve
from transforms.kernels.deduplication.options import MinHash

SIMILARITIES = (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


def curve(minhash: MinHash, options: Deduplication) -> list[tuple[float, float, float, float]]:
    """(true similarity, P(found), P(verified once found), P(both)) at ``SIMILARITIES``.

    Found: the pair shares at least one bucket. Verified: the estimate from the signature reaches ``min_similarity``.
    The two use different bins of the sketch, so the last column is their product.
    """
    rows = []
    for similarity in SIMILARITIES:
        found = float(s_curve(minhash, similarity))
        verified = verification_curve(minhash, options.min_similarity, similarity)
        rows.append((similarity, found, verified, found * verified))
    return rows


def show(minhash: MinHash, options: Deduplication, console: Console) -> None:
    """Prints the settings and their curve."""
    table = Table(
        title=f"pairs of documents, {minhash.shingle_size}-word shingles, {minhash.bands} bands of {minhash.rows} rows,"
        f" verified at {options.min_similarity:g}, long ones with {minhash.signature_size} bytes",
        title_justify="left",
    )
    for name in ("true similarity", "found", "verified if found", "a duplicate"):
        table.add_column(name, justify="right")
    for similarity, *probabilities in curve(minhash, options):
        table.add_row(f"{similarity:.2f}", *(_probability(value) for value in probabilities))
    console.print(table)
    console.print(
        "found: shares a bucket, 1 - (1 - s^rows)^bands. verified: the estimate reaches min_similarity; its standard "
        "error at s is sqrt(s (1 - s) / signature_size). "
        f"Two documents of {minhash.listed_shingles} shingles or fewer are compared exactly: verified from "
        "min_similarity on, never under it. In a bucket each document is compared with the first and with its "
        "predecessor: of two that are alike, one can also go for a third.",
        highlight=False,
    )


def _probability(value: float) -> str:
    return f"{value:.4%}" if 0.99 < value < 1 or 0 < value < 0.01 else f"{value:.1%}"
