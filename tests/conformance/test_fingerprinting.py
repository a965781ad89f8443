"""Estimated similarity against true Jaccard, by decile of similarity and by length."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conformance.conftest import Corpus
from tests.kernels.test_fingerprinting import signatures
from transforms.kernels.deduplication.fingerprinting import estimate_similarity, shingles_reference
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.text.normalization import normalize

OPTIONS = MinHash()
SHORT = 40  # shingles in both documents together
PAIRS = 6_000
LONGEST = 20_000  # characters of a constructed document
BEYOND_CHANCE = 3.0  # standard errors; two are passed by chance in one of twenty deciles
Pairs = list[tuple[str, str]]
Shingles = set[tuple[str, ...]]


def listed(folder: Path) -> Pairs:
    """The pairs of ``pairs.parquet`` (id_a, id_b) with their texts in ``docs.parquet`` (id, text)."""
    documents = pq.read_table(folder / "docs.parquet")
    texts = dict(zip(documents["id"].to_pylist(), normalize_all(documents["text"]), strict=True))
    pairs = pq.read_table(folder / "pairs.parquet", columns=["id_a", "id_b"])
    return [(texts[a], texts[b]) for a, b in zip(pairs["id_a"].to_pylist(), pairs["id_b"].to_pylist(), strict=True)]


def normalize_all(column: pa.ChunkedArray) -> list[str]:
    return [text for chunk in column.chunks for text in normalize(chunk).to_pylist()]


def constructed(corpus: Corpus, shortest: int, longest: int, seed: int) -> Iterator[tuple[str, str]]:
    """Pieces of documents and copies of them with words replaced, at all rates."""
    generator = random.Random(seed)
    while True:
        for texts in corpus.clean():
            for text in texts.to_pylist():
                words = text[:LONGEST].split()
                length = generator.randint(shortest, longest)
                if len(words) < length:
                    continue
                start = generator.randint(0, len(words) - length)
                words = words[start : start + length]
                rate = generator.random() ** 2 * 0.5
                copy = [f"x{generator.random()}" if generator.random() < rate else word for word in words]
                yield " ".join(words), " ".join(copy)


@pytest.fixture(scope="module", params=["short", "long", "listed"])
def pairs(request: pytest.FixtureRequest, corpus: Corpus) -> Pairs:
    """Made of the corpus; ``listed`` are those of the folder NEARDUP, or more of the corpus without it."""
    if request.param == "listed" and os.environ.get("NEARDUP"):
        return listed(Path(os.environ["NEARDUP"]))
    shortest, longest, seed = {"short": (8, 25, 1), "long": (40, 600, 2), "listed": (8, 600, 3)}[request.param]
    made = constructed(corpus, shortest, longest, seed)
    return [next(made) for _ in range(PAIRS)]


def independent(a: list[Shingles], b: list[Shingles]) -> list[int]:
    """Pairs with shingles on both sides of which no two differ in the same shingle.

    One boilerplate sentence put into 196 documents makes the same error 196 times, which is no bias.
    """
    seen: Shingles = set()
    chosen = []
    for i, (left, right) in enumerate(zip(a, b, strict=True)):
        differing = left ^ right
        if left and right and not differing & seen:
            chosen.append(i)
            seen |= differing
    return chosen


def theory(similarity: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the estimate if each bin agreed independently, cut at 0 as the estimate is."""
    agreeing = similarity + (1 - similarity) / 256
    m = np.arange(bins + 1)
    choose = np.array([math.lgamma(bins + 1) - math.lgamma(k + 1) - math.lgamma(bins - k + 1) for k in m])
    inside = np.clip(agreeing, 1e-12, 1 - 1e-12)[:, None]
    probability = np.exp(choose + m * np.log(inside) + (bins - m) * np.log1p(-inside))
    estimate = np.maximum((m / bins - 1 / 256) / (1 - 1 / 256), 0)
    mean = probability @ estimate
    return mean, probability @ estimate**2 - mean**2


def test_estimates_are_unbiased_and_as_accurate_as_theory(pairs: Pairs) -> None:
    a, b = ([shingles_reference(pair[side], OPTIONS) for pair in pairs] for side in (0, 1))
    comparable = independent(a, b)
    truth = np.array([len(a[i] & b[i]) / len(a[i] | b[i]) for i in comparable])
    size = np.array([len(a[i] | b[i]) for i in comparable])
    sides = [signatures([pairs[i][side] for i in comparable], OPTIONS) for side in (0, 1)]
    estimate = estimate_similarity(*sides).astype(float)
    same = truth == 1
    assert (estimate[same] == 1).all()
    mean, variance = theory(truth, OPTIONS.signature_size)
    failures = []
    for name, length in (("short", size <= SHORT), ("long", size > SHORT)):
        for decile in range(10):
            chosen = length & ~same & (truth >= decile / 10) & (truth < (decile + 1) / 10)
            count = int(chosen.sum())
            if count < 30:
                continue
            error = estimate[chosen] - mean[chosen]
            bias, standard_error = error.mean(), math.sqrt(variance[chosen].sum()) / count
            ratio = math.sqrt((error**2).sum() / variance[chosen].sum())
            # The measured root mean square of n errors scatters by 1 / sqrt(2 n) itself.
            most = 1.1 + 2 / math.sqrt(2 * count)
            print(
                f"{name:5s} {decile / 10:.1f}-{(decile + 1) / 10:.1f}: {count:5d} pairs, bias {bias:+.4f} = "
                f"{bias / standard_error:+.1f} standard errors, error {ratio:.2f} of theory"
            )
            if abs(bias) > BEYOND_CHANCE * standard_error or ratio > most:
                failures.append((name, decile))
    chosen = ~same
    ratio = math.sqrt(((estimate - mean)[chosen] ** 2).sum() / variance[chosen].sum())
    print(
        f"{int(chosen.sum())} pairs below 1, {int(same.sum())} at 1 (all estimated at 1): error {ratio:.3f} of theory"
    )
    assert ratio <= 1.1
    assert not failures
