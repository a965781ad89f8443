"""The plain shingles are the documented ones, whatever the script, and wherever a piece of the text ends."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.test_fingerprinting import PROSE, TEXTS
from transforms.kernels.deduplication import plain_shingles
from transforms.kernels.deduplication.fingerprinting import shingles_reference, words_reference
from transforms.kernels.deduplication.options import MinHash


def expected(text: str, options: MinHash) -> list[int]:
    hashes = set()
    for shingle in shingles_reference(text, options):
        found = 0
        for word in shingle:
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            found = (found * plain_shingles.FACTOR + int.from_bytes(digest, "little")) % 2**64
        hashes.add(found)
    return sorted(hashes)


@given(TEXTS, st.integers(1, 4), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_they_are_the_documented_ones(text, size, fold_digits, fold_accents):
    options = MinHash(shingle_size=size, fold_digits=fold_digits, fold_accents=fold_accents)
    words = [word for words in plain_shingles.words(text, options) for word in words]
    assert words == words_reference(text, options)
    assert plain_shingles.shingle_hashes(text, options).tolist() == expected(text, options)


@pytest.mark.parametrize("piece", [1, 7, 64])
@pytest.mark.parametrize("size", [1, 3])
def test_pieces_dont_matter(piece, size, monkeypatch):
    monkeypatch.setattr(plain_shingles, "_PIECE", piece)
    options = MinHash(shingle_size=size)
    assert plain_shingles.shingle_hashes(PROSE, options).tolist() == expected(PROSE, options)
