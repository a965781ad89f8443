"""Cuts between buckets: the shares of tokens that are below."""

from __future__ import annotations

import random

import numpy as np

from beam_pipeline import score_buckets


def test_cuts_part_the_tokens() -> None:
    generator = random.Random(2)
    documents = [(round(generator.random(), 2), generator.randint(1, 50)) for _ in range(3000)]
    values, weights = (np.array(column) for column in zip(*documents, strict=True))
    halves = [(values[:1000].astype(float), weights[:1000]), (values[1000:].astype(float), weights[1000:])]
    found = score_buckets._merged(halves)
    assert found[1].sum() == weights.sum()
    cuts = score_buckets._cuts(found, 20)
    assert len(cuts) == 19
    assert cuts == sorted(cuts)
    total = sum(weight for _, weight in documents)
    for number, cut in enumerate(cuts, 1):
        below = sum(weight for value, weight in documents if value < cut)
        up_to = sum(weight for value, weight in documents if value <= cut)
        assert below * 20 <= number * total < up_to * 20


def test_one_value_is_one_bucket() -> None:
    assert score_buckets._cuts((np.array([0.5]), np.array([7])), 4) == [0.5, 0.5, 0.5]
