"""The editors of lines: the kernels leave what the slow references leave, and doing it twice changes nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.statistics.test_statistics import packed
from transforms.kernels.edits import c4_lines, dclm_lines

PIECES = [
    "A line of words.", "ONE TWO", "12 likes", "1.5K views!", "(3 Shares)", "12", "١٢", "items in cart",
    "Items in cart", "Read more...", "read more>>>", "Sign-in", "sign-inSign-in", " ", "\n", "\n", ".", "...", "!",
    '"', "。", "[", "]", "[1]", "[edit]", "[citation needed]", "[[2]", "lorem ipsum", "Lorem Ipsum", "javascript",
    "JavaScript", "{", "terms of use", "Cookie Policy", "a", "b c", "word", "x" * 12, "é", "ß.", "中文", "\u00a0", "_",
    "½",
]  # fmt: skip
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=14).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=10).map(" ".join),
    st.text(max_size=60).map(lambda text: text.encode(errors="ignore").decode()),
)


def strings(data: np.ndarray, offsets: np.ndarray) -> list[str]:
    whole = data.tobytes()
    return [whole[start:end].decode() for start, end in itertools.pairwise(offsets.tolist())]


@settings(max_examples=500, deadline=None)
@given(st.lists(TEXTS, max_size=4), st.booleans(), st.integers(0, 4))
def test_c4(texts: list[str], terminal_punctuation: bool, min_words: int) -> None:
    options = (terminal_punctuation, min_words, 10)
    data, offsets, figures = c4_lines.kept_lines(*packed(texts), *options)
    found = [
        c4_lines.C4Text(text, sentences, bool(lorem), bool(curly))
        for text, (sentences, lorem, curly) in zip(strings(data, offsets), figures.tolist(), strict=True)
    ]
    assert found == [c4_lines.c4_reference(text, *options) for text in texts]
    again = [text.text for text in found]
    assert strings(*c4_lines.kept_lines(*packed(again), *options)[:2]) == again


@settings(max_examples=500, deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_dclm(texts: list[str]) -> None:
    data, offsets, removed = dclm_lines.kept_lines(*packed(texts))
    found = list(zip(strings(data, offsets), removed.tolist(), strict=True))
    assert found == [dclm_lines.dclm_reference(text) for text in texts]
    again = [text for text, _ in found]
    data, offsets, removed = dclm_lines.kept_lines(*packed(again))
    assert strings(data, offsets) == again
    assert not removed.any()


@pytest.mark.parametrize(
    ("text", "left", "sentences"),
    [
        ("It is a line.[1]\nNo end\nTwo words.\nWe use javascript.", "It is a line.", 1),
        ('He said: it is so. Then he left! "Really?" Yes it is.', None, 4),
        ("Wait for it ...", "", 0),
        ("See our privacy policy here.\nA fine day it was.", "A fine day it was.", 1),
        ("Version 3.5 came out at 10.30 today.", None, 1),
    ],
)
def test_what_c4_keeps(text: str, left: str | None, sentences: int) -> None:
    found = c4_lines.c4_reference(text)
    assert (found.text, found.sentences) == (text if left is None else left, sentences)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("BREAKING NEWS today", ""),
        ("2024", ""),
        ("1,204 Comments", ""),
        ("* 3.4k likes *", ""),
        ("Home", ""),
        ("3 items in cart now", "3 now"),
        ("A long story that goes on. Read more...", "A long story that goes on."),
        ("Sign-in to read this", "to read this"),
        ("It has 12 likes already and more", None),
    ],
)
def test_what_dclm_keeps(line: str, left: str | None) -> None:
    assert dclm_lines.dclm_reference(line)[0] == (line if left is None else left)
