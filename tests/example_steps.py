"""Steps on single documents, as a researcher would write them."""

from __future__ import annotations

import random


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
