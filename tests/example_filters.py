"""Filters as a researcher would write them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def no_digits(documents: pa.RecordBatch) -> pa.Array:
    return pc.invert(pc.match_substring_regex(documents["text"], r"\pN"))


class Mentions:
    """Keeps documents with a word in them."""

    reasons = ("not_about_it",)

    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        found = pc.match_substring(documents["text"], self.word)
        return pc.if_else(found, pa.scalar(None, pa.string()), "not_about_it")


def fails(documents: pa.RecordBatch) -> pa.Array:
    raise RuntimeError("this filter is broken")
