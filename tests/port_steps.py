"""Ports of the steps in ``tests.example_steps``: right ones, and ones that are wrong as ports are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Vowels:
    """An annotator: the share of vowels, in float64, so a little apart from the form in float32."""

    def __init__(self, more: float = 0.0) -> None:
        self.columns = {"share": pa.float64()}
        self.more = more

    def __call__(self, documents: pa.RecordBatch) -> dict[str, list[float]]:
        texts = documents["text"].to_pylist()
        return {"share": [sum(map(text.count, "aeiou")) / len(text) + self.more for text in texts]}


class WithoutCommas:
    """An editor, of German documents only; or of all, which is wrong."""

    edits = True

    def __init__(self, everywhere: bool = False) -> None:
        self.everywhere = everywhere

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        text = documents["text"]
        german = pc.equal(documents["language"].dictionary_decode(), "de")
        return pc.if_else(pc.or_(german, self.everywhere), pc.replace_substring(text, ",", ""), text)


def no_question_mark(documents: pa.RecordBatch) -> pa.Array:
    """A filter; its reason is called otherwise than that of the slow form."""
    return pc.invert(pc.match_substring(documents["text"], "?"))


def first_bytes(documents: pa.RecordBatch) -> list[bool]:
    """A filter that forgets that a batch may be a slice: its buffers begin before it."""
    _, offsets, data = documents["text"].buffers()
    starts = np.frombuffer(offsets, np.int32, len(documents))
    return [data[int(start)] != ord("T") for start in starts]


def begins_with_t(text: str) -> bool:
    """The slow form of ``first_bytes``."""
    return not text.startswith("T")


def raises_on_harbours(documents: pa.RecordBatch) -> pa.Array:
    """A filter that fails on some documents."""
    if any("harbour" in text for text in documents["text"].to_pylist()):
        raise KeyError("harbour")
    return no_question_mark(documents)


def above_average(text: str, vowels: float) -> bool:
    """A filter that reads an attribute."""
    return vowels > 0.3


class AboveAverage:
    """Its port."""

    reasons = ("above_average",)

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        return pc.greater(documents["vowels"], 0.3)
