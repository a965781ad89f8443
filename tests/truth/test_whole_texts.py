"""Whole texts, judged by plain sets: long documents up to 20 MB, and many short ones, made up and real."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.similar_pairs import SHARED, long_pair, short_pair, short_pairs
from tests.whole_texts import PROMISED_LONG, PROMISED_SHORT, judge, report
from transforms.kernels.deduplication.fingerprinting import shingles_reference
from transforms.kernels.deduplication.options import MinHash

MB = 1_000_000


@pytest.mark.parametrize("size", [6 * MB // 10, MB, 2 * MB, 5 * MB, 20 * MB])
def test_long_documents(size: int, tmp_path: Path) -> None:
    generator = random.Random(size)
    similarities = (0.37, 0.7, 0.9) if size < 20 * MB else (0.37, 0.9)
    pairs = [long_pair(generator, size, s, shared) for s in similarities for shared in SHARED]
    judged = judge(pairs, tmp_path)
    report(f"{size / MB:g} MB", judged)
    for pair in judged:
        assert not pair.for_each_other or pair.similarity >= PROMISED_LONG
        assert pair.for_each_other or pair.similarity < 0.88


def test_short_documents(tmp_path: Path) -> None:
    check(list(short_pairs(random.Random(4), 40_000)), tmp_path, least=20_000)


def test_real_short_documents(data: Path, tmp_path: Path) -> None:
    """Pieces of real documents in all languages, by the documented words, and copies with words changed."""
    generator = random.Random(5)
    pairs = []
    for file in sorted((data / "corpus").iterdir()):
        for text in pq.read_table(file, columns=["text"])["text"].to_pylist()[::3]:
            words = (text or "")[:20_000].split()
            length = round(5 * 60 ** generator.random())
            if len(words) >= length:
                start = generator.randint(0, len(words) - length)
                pairs.append(short_pair(generator, words[start : start + length]))
    check(pairs, tmp_path, least=5_000, real=True)


def true_similarity(a: str, b: str) -> float:
    """Of the documented shingles; 1 for equal texts, which may have too few words for any."""
    if a == b:
        return 1.0
    first, second = (shingles_reference(text, MinHash()) for text in (a, b))
    return len(first & second) / max(1, len(first | second))


def check(pairs: list[tuple[str, str]], folder: Path, least: int, real: bool = False) -> None:
    judged = judge(pairs, folder, true_similarity) if real else judge(pairs, folder)
    report("short, real" if real else "short", judged)
    alike = [pair for pair in judged if pair.similarity >= 0.9]
    assert len(alike) > least
    assert sum(not pair.both_kept for pair in alike) >= 0.999 * len(alike)
    assert all(pair.similarity >= PROMISED_SHORT for pair in judged if pair.for_each_other)
