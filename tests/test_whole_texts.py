"""Documents are compared whole, and short ones exactly; ``make dedup-truth`` has the long form of this."""

from __future__ import annotations

import random
from pathlib import Path

from tests.similar_pairs import SHARED, long_pair, short_pairs
from tests.whole_texts import PROMISED_LONG, PROMISED_SHORT, judge, report


def test_long_documents_that_share_a_beginning_an_end_or_a_middle(tmp_path: Path) -> None:
    """The first 500,000 characters once were all that counted."""
    generator = random.Random(1)
    pairs = [long_pair(generator, 1_000_000, s, shared) for s in (0.37, 0.6, 0.95) for shared in SHARED]
    judged = judge(pairs, tmp_path)
    report("long", judged)
    for pair in judged:
        assert pair.for_each_other == (pair.similarity >= 0.9)
        assert not pair.for_each_other or pair.similarity >= PROMISED_LONG
        assert not pair.for_each_other or abs(pair.said - pair.similarity) < 0.08


def test_short_documents_are_compared_exactly(tmp_path: Path) -> None:
    judged = judge(list(short_pairs(random.Random(2), 4_000)), tmp_path)
    report("short", judged)
    alike = [pair for pair in judged if pair.similarity >= 0.9]
    assert len(alike) > 1_500
    assert sum(not pair.both_kept for pair in alike) >= 0.999 * len(alike)
    for pair in judged:
        if pair.for_each_other:
            assert pair.similarity >= PROMISED_SHORT
            assert abs(pair.said - pair.similarity) < 1e-6
