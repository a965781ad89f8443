"""Real documents (``corpus/``): what was dropped is like its witness, and what is alike wasn't kept twice."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from tests.truth.all_pairs import similar_pairs
from tests.truth.conftest import Decided

SAMPLE = 10_000
SIMILARITY = 0.9


def test_every_dropped_document_is_like_its_kept_witness(corpus: Decided) -> None:
    near = []
    for position, witness in corpus.witness.items():
        assert witness not in corpus.witness
        if position in corpus.exact:
            assert corpus.texts[position] == corpus.texts[witness]
        else:
            near.append(corpus.jaccard(position, witness))
    similarity = np.array(near)
    lowest, first, tenth, median = np.quantile(similarity, (0, 0.01, 0.1, 0.5))
    Console().print(
        f"{len(corpus.ids):,} documents, {len(corpus.exact):,} exact and {len(near):,} near-duplicates dropped; true "
        f"similarity with the witness: min {lowest:.3f}, 1st percentile {first:.3f}, 10th {tenth:.3f}, "
        f"median {median:.3f}; under 0.8: {np.mean(similarity < 0.8):.2%}"
    )
    assert len(near) > 1000
    assert lowest >= 0.72
    assert first >= 0.76


def test_all_pairs_are_found_in_a_small_example() -> None:
    random = np.random.default_rng(1)
    base = [set(random.integers(0, 200, 60).tolist()) for _ in range(20)]
    sets = {n: frozenset(base[n % 20] ^ set(random.integers(0, 200, n % 7).tolist())) for n in range(120)}
    for similarity in (0.6, 0.8, 0.9):
        expected = {
            (a, b)
            for a in sets
            for b in sets
            if a < b and len(sets[a] & sets[b]) >= similarity * len(sets[a] | sets[b])
        }
        assert set(similar_pairs(sets, similarity)) == expected
        assert expected


def test_no_pair_of_a_sample_at_ninety_percent_is_kept(corpus: Decided) -> None:
    valid = [position for position, text in enumerate(corpus.texts) if text]
    chosen = np.random.default_rng(5).choice(len(corpus.ids), SAMPLE, replace=False)
    near = {position for position in corpus.witness if position not in corpus.exact}
    sets = {
        position: corpus.shingles(position)
        for position in sorted(set(chosen.tolist()) & set(valid))
        if corpus.shingles(position)
    }
    pairs = similar_pairs(sets, SIMILARITY)
    both = [(a, b) for a, b in pairs if a not in corpus.witness and b not in corpus.witness]
    Console().print(
        f"{len(sets):,} documents drawn: {len(pairs):,} pairs at {SIMILARITY} or more "
        f"({sum(a in near or b in near for a, b in pairs):,} of near-duplicates), {len(both)} with both kept"
    )
    assert len(pairs) > 50
    assert not both
