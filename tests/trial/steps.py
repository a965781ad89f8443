"""Steps as a researcher would write them, and a folder in which they are found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

GOOD = """
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc


def vowels(text: str) -> float:
    return sum(map(text.count, "aeiou")) / len(text)


def judge(text: str, language: str) -> Literal["too_many_commas", "english_question"] | None:
    if text.count(",") > 12:
        return "too_many_commas"
    return "english_question" if language == "en" and "?" in text else None


def without_parentheses(text: str) -> str:
    return text.replace("(", "").replace(")", "")


class Rivers:
    reasons = ("about_rivers",)

    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        found = pc.match_substring(documents["text"], self.word, ignore_case=True)
        return pc.if_else(found, "about_rivers", pa.scalar(None, pa.string()))
"""

RECIPE = """
recipe:
  - gopher_quality: {min_words: 20, min_stop_words: null}
  - "good_steps:without_parentheses"
  - "good_steps:vowels"
  - rule: {reason: few_vowels, keep: "vowels >= 0.2 or language not in ['en', 'de']"}
  - "good_steps:judge"
  - c4_lines
  - {use: "good_steps:Rivers", word: river}
  - fineweb
"""


def forget(folder: Path) -> None:
    """Has what was imported from a folder imported again."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with ``good_steps.py`` and ``recipe.yaml``, on the import path."""
    (tmp_path / "good_steps.py").write_text(GOOD)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    forget(tmp_path)
