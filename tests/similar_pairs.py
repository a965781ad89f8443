"""Pairs of texts of known similarity, and the plainest way to know it: Python's sets of tuples over the whole texts."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SHARED = ("beginning", "end", "middle", "scattered")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def jaccard(a: str, b: str) -> float:
    """Similarity of two texts of lower-case words with blanks between them; 0 if one has fewer than five."""
    first, second = (shingles(text.lower().split()) for text in (a, b))
    return len(first & second) / max(1, len(first | second))


def shingles(words: list[str]) -> set[int]:
    """Python's own hashes of the runs of five words: tuples of 20 MB of text would fill the memory."""
    return set(map(hash, zip(words, words[1:], words[2:], words[3:], words[4:], strict=False)))


def made_up_words(generator: random.Random, count: int) -> list[str]:
    """Words of two to nine letters, from 50,000 in all."""
    return generator.choices(_vocabulary(), k=count)


@functools.cache
def _vocabulary() -> list[str]:
    generator = random.Random(0)
    return ["".join(generator.choices(LETTERS, k=generator.randint(2, 9))) for _ in range(50_000)]


def long_pair(generator: random.Random, size: int, similarity: float, shared: str) -> tuple[str, str]:
    """Two texts of about ``size`` bytes that share one run of words, or all but single ones."""
    count = size * 2 // 13
    common = round(count * 2 * similarity / (1 + similarity))
    words = made_up_words(generator, 2 * count - common)
    same, a, b = words[:common], words[common:count], words[count:]
    if shared == "beginning":
        texts = same + a, same + b
    elif shared == "end":
        texts = a + same, b + same
    elif shared == "middle":
        half = len(a) // 2
        texts = a[:half] + same + a[half:], b[:half] + same + b[half:]
    else:
        whole = same + a
        copy = list(whole)
        spoilt = round(count * (1 - similarity) / (1 + similarity) / 5)
        for number, place in enumerate(range(0, count, max(5, count // max(1, spoilt)))):
            copy[place] = f"spoilt{number}"
        texts = whole, copy
    return " ".join(texts[0]), " ".join(texts[1])


def short_pair(generator: random.Random, words: list[str]) -> tuple[str, str]:
    """A text of these words and a copy of it, more or less changed: words out, in, replaced; or other case."""
    copy = list(words)
    most = max(1, round(len(words) * generator.choice([0, 0.01, 0.02, 0.04])))
    for _ in range(generator.randint(0, most)):
        place = generator.choice([0, len(copy), generator.randint(0, len(copy))])
        other = "".join(generator.choices(LETTERS, k=8))
        copy[place : place + generator.randint(0, 1)] = [other] * generator.randint(0, 1)
    if copy == words:
        copy = [word.upper() for word in words]
    return " ".join(words), " ".join(copy)


def short_pairs(generator: random.Random, count: int) -> Iterator[tuple[str, str]]:
    """Pairs of 5 to 300 words, shorter ones more often."""
    for _ in range(count):
        length = round(5 * 60 ** generator.random())
        yield short_pair(generator, made_up_words(generator, length))


def write(pairs: list[tuple[str, str]], folder: Path, at_once: int = 64) -> Path:
    """Documents 2 k and 2 k + 1 are pair k."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pairs.parquet"
    schema = pa.schema([pa.field("id", pa.string()), pa.field("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(pairs), at_once):
            texts = [text for pair in pairs[start : start + at_once] for text in pair]
            numbers = [str(2 * start + number) for number in range(len(texts))]
            writer.write_table(pa.table([numbers, texts], schema=schema))
    return path
