from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from transforms.kernels.deduplication import auditing
from transforms.kernels.deduplication.blocks import AUDITED, DECISIONS
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.text.normalization import normalize


def pairs(count: int, removed: int) -> np.ndarray:
    made = AUDITED.empty(count)
    made["document"], made["witness"] = np.arange(count) * 7 + 1, np.arange(count)
    made["similarity"], made["removed"] = 0.9, removed
    return made


def test_wilson_as_published():
    # Brown, Cai, DasGupta, "Interval estimation for a binomial proportion", 2001: 0 and 1 are not degenerate.
    assert auditing.wilson(200, 200) == pytest.approx((0.98116, 1.0), abs=1e-5)
    assert auditing.wilson(10, 20) == pytest.approx((0.29929, 0.70071), abs=1e-5)
    assert auditing.wilson(0, 20) == pytest.approx((0.0, 0.16113), abs=1e-5)
    assert auditing.wilson(0, 0) == (0.0, 1.0)


def test_a_sample_has_both_kinds_and_does_not_depend_on_the_parts():
    every = np.concatenate([pairs(1000, 1), pairs(50, 0)])
    drawn = auditing.sample(every, 100)
    assert (int((drawn["removed"] == 1).sum()), int((drawn["removed"] == 0).sum())) == (100, 50)
    assert drawn["document"][:100].mean() == pytest.approx(3500, rel=0.2)  # from everywhere, not the first ones
    shuffled = every[np.random.default_rng(1).permutation(len(every))]
    parts = [auditing.sample(part, 100) for part in np.array_split(shuffled, 7)]
    assert auditing.sample(np.concatenate(parts), 100).tobytes() == drawn.tobytes()


def test_exact_duplicates_are_not_audited():
    decisions = DECISIONS.empty(2)
    decisions["document"], decisions["witness"], decisions["similarity"] = (5, 6), 1, 1
    decisions["exact"] = (1, 0)
    found = auditing.audited([DECISIONS.pack(0, decisions), AUDITED.pack(0, pairs(1, 0))])
    assert found[["document", "removed"]].tolist() == [(1, 0), (6, 1)]


def test_near_misses_are_candidates_just_under_the_threshold():
    similarity = np.array([0.95, 0.79, 0.7, 0.69, 0.8], np.float32)
    ids = np.arange(5, dtype=np.uint64)
    found = auditing.near_misses(ids, ids + np.uint64(10), similarity, 0.8, np.array([0, 4]))
    assert found["document"].tolist() == [1, 2]
    assert found["witness"].tolist() == [11, 12]


def test_true_similarity_over_the_documented_shingles():
    texts = ["a b c d e f", "A,b c\u200b d e g", "東京都に行く", ""]
    shingles = list(auditing.hashed_shingles(normalize(pa.array(texts)), MinHash()))
    assert [len(found) for found in shingles] == [2, 2, 2, 0]
    assert auditing.common_and_sizes(shingles[0], shingles[1]) == (1, 2, 2)
    assert auditing.common_and_sizes(shingles[2], shingles[2]) == (2, 2, 2)
    assert auditing.common_and_sizes(shingles[3], shingles[3]) == (0, 0, 0)


@pytest.mark.parametrize("count", [0, 1, 40, 500_000])
def test_ranges_hold_every_hash_once_in_small_parts(count, monkeypatch):
    monkeypatch.setattr(auditing, "HASHES_AT_ONCE", 10_000)
    hashes = np.sort(np.random.default_rng(count).integers(0, 2**64, count, np.uint64))
    parts = list(auditing.in_ranges(hashes))
    assert (np.concatenate([part for _, part in parts]) == hashes).all()
    assert parts[0][0] == 0
    for number, part in parts:
        assert len(part) <= 10_000
        assert (part >> np.uint64(60) == number).all()
