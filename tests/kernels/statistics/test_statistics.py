"""Statistics and repetition: the kernels find what the slow references find."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.statistics.reference import text_statistics_reference
from transforms.kernels.statistics.repetition import REPETITION, measure_texts, repetition_reference
from transforms.kernels.statistics.text_statistics import (
    STATISTICS,
    STOP_HASHES,
    count_texts,
    terminal_table,
)
from transforms.kernels.statistics.words import classes

LINES = st.lists(
    st.sampled_from(
        ["the end.", "", " ", "- a", "• b", "so...", "so…  ", "x" * 31, "\0", "of and to be 3.", "#a # b.", "中。"]
    ),
    max_size=12,
).map("\n".join)
GRAMS = st.lists(st.sampled_from(["a", "bb", "c,", "the", "中", "\n"]), max_size=60).map(" ".join)
ANY = st.text(max_size=80).map(lambda text: text.encode(errors="ignore").decode())


def packed(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [text.encode() for text in texts]
    data = np.frombuffer(b"".join(encoded) + b"\0", np.uint8)
    return data, np.cumsum([0, *map(len, encoded)])


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(LINES, GRAMS, ANY), max_size=5))
def test_statistics_and_repetition(texts: list[str]) -> None:
    counts = np.zeros((len(texts), len(STATISTICS)), np.uint32)
    figures = np.zeros((len(texts), len(REPETITION)), np.uint32)
    count_texts(*packed(texts), classes(), terminal_table(), STOP_HASHES, counts, figures)
    for text, row, figure in zip(texts, counts.tolist(), figures.tolist(), strict=True):
        assert dict(zip(STATISTICS, row, strict=True)) == text_statistics_reference(text)
        assert dict(zip(REPETITION, figure, strict=True)) == repetition_reference(text)
    alone = np.zeros((len(texts), len(REPETITION)), np.uint32)
    measure_texts(*packed(texts), classes(), alone)
    assert np.array_equal(alone, figures)
