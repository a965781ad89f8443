"""Steps on single documents, as a researcher would write them."""

from __future__ import annotations

import random

import pyarrow as pa


def vowels(text: str) -> float:
    """The share of vowels: an attribute."""
    return sum(text.count(vowel) for vowel in "aeiou") / len(text)


def no_questions(text: str) -> bool:
    """A filter."""
    return "?" not in text


def without_commas(text: str, language: str) -> str:
    """An editor; of German documents only."""
    return text.replace(",", "") if language == "de" else text


def signed(text: str, url: str | None) -> str:
    """An editor that reads a kept column."""
    return f"{text}\nSource: {url}"


def never_the_same(text: str) -> str:
    """An editor that breaks its contract."""
    return text + str(random.random())


class ManyReasons:
    """A filter with more reasons than one byte has codes for: the length of a text decides."""

    reasons = tuple(f"reason_{number}" for number in range(100))

    def __call__(self, documents: pa.RecordBatch) -> list[str | None]:
        """A reason for a quarter of the documents."""
        lengths = [len(text) % 400 for text in documents["text"].to_pylist()]
        return [self.reasons[length] if length < len(self.reasons) else None for length in lengths]


def without_banner(text: str, language: str, url: str | None) -> str:
    """Removes the first line, as long as the rest, where the step sees what it has seen in pass 1."""
    rest = text.partition("\n")[2]
    return rest if url and language else text
