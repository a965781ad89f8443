"""Pairs of sketches: exact where both texts are short, estimated from the same signature wherever it comes from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.deduplication.fingerprinting import estimate_similarity, fingerprint, shingles_reference
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.deduplication.sketches import Sketches, similarities
from transforms.kernels.deduplication.sketching import signature_of

OPTIONS = MinHash(shingle_size=2, signature_size=64)  # up to 80 shingles are listed


def sketches(texts: list[str], options: MinHash = OPTIONS) -> Sketches:
    found = fingerprint(pa.array(texts, pa.string()), options)
    return Sketches.of_columns(found.signature, found.shingles)


def compared(a: str, b: str, options: MinHash = OPTIONS) -> tuple[float, bool]:
    similarity, exact = similarities(
        sketches([a], options), np.array([0]), sketches(["", b], options), np.array([1]), options.bands * options.rows
    )
    return float(similarity[0]), bool(exact[0])


def true_similarity(a: str, b: str, options: MinHash = OPTIONS) -> float:
    first, second = shingles_reference(a, options), shingles_reference(b, options)
    return len(first & second) / len(first | second)


def text_of(words: list[int]) -> str:
    return " ".join(f"w{word}" for word in words)


WORDS = st.lists(st.integers(0, 12), min_size=2, max_size=81)


@given(WORDS, WORDS)
@settings(max_examples=300, deadline=None)
def test_short_texts_are_compared_exactly(a, b):
    similarity, exact = compared(text_of(a), text_of(b))
    assert exact
    assert similarity == np.float32(true_similarity(text_of(a), text_of(b)))


@pytest.mark.parametrize("shared", [0, 40, 70])
@pytest.mark.parametrize("lengths", [(81, 82), (82, 81), (82, 90), (500, 20)])
def test_a_pair_with_a_long_text_is_estimated_from_the_same_signatures(lengths, shared):
    """Of 81 words all shingles are listed, of 82 there is a signature; which it is must not change the estimate."""
    a, b = (text_of([*range(shared), *range(100 * (i + 1), 100 * (i + 1) + n - shared)]) for i, n in enumerate(lengths))
    similarity, exact = compared(a, b)
    assert not exact
    made = np.empty((2, OPTIONS.signature_size), np.uint8)
    listing = MinHash(shingle_size=2, signature_size=2048)
    for row, text in enumerate((a, b)):
        shingles = fingerprint(pa.array([text]), listing).shingles[0].as_py()
        signature_of(np.frombuffer(shingles, np.uint32), np.empty(OPTIONS.bins, np.uint64), made[row])
    assert similarity == estimate_similarity(made[:1], made[1:])[0]


def test_what_is_taken_and_concatenated_is_as_it_was():
    texts = ["", text_of(range(10)), text_of(range(100)), "a", text_of(range(3, 12)), text_of(range(9, 120))]
    whole = sketches(texts)
    assert len(whole) == len(texts)
    chosen = np.array([5, 1, 4, 2])
    taken = Sketches.concatenate([whole.take(chosen[:1]), whole.take(chosen[1:])])
    sliced = Sketches.of_columns(*(column.slice(1) for column in fingerprint(pa.array(texts), OPTIONS)[1:3]))
    pairs = [(a, b) for a in range(4) for b in range(4)]
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    expected = similarities(whole, chosen[a], whole, chosen[b], 112)
    for got in (
        similarities(taken, a, taken, b, 112),
        similarities(whole, chosen[a], taken, b, 112),
        similarities(sliced, chosen[a] - 1, taken, b, 112),
    ):
        assert [column.tolist() for column in got] == [column.tolist() for column in expected]
    assert (expected[0][a == b] == 1).all()


def test_signatures_of_two_sizes_cant_be_compared():
    with pytest.raises(ValueError, match="of 64 and of 32 bytes"):
        one = sketches(["a b c"])
        other = sketches(["a b c"], MinHash(shingle_size=2, signature_size=32))
        similarities(one, np.array([0]), other, np.array([0]), 112)
