"""What an editor changed is counted exactly where it only removes or only adds, and line by line else."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.text.edits import count_edits

TEXTS = st.text(alphabet="ab \nä€😀", max_size=30)


def counted(before: str, after: str) -> list[int]:
    """Removed, replaced, added; beside other texts, whose places must not matter."""
    counts = count_edits(pa.array(["x", before, "é"]).slice(1), pa.array([after, "é"]))
    assert counts[1].tolist() == [0, 0, 0]
    return counts[0].tolist()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a,b,c", "abc", [2, 0, 0]),
        ("one\ntwo\nthree", "one\nthree", [4, 0, 0]),
        ("one\ntwo\nthree\nfour!", "one\nthree\nfour?", [4, 1, 0]),
        ("mail me@x.org now\nsecond\nlast", "mail EMAIL now\nfirst\nsecond\nlast", [0, 8, 6]),
        ("grüße", "größe", [0, 1, 0]),
        ("", "new", [0, 0, 3]),
        ("gone", "", [4, 0, 0]),
        ("a\n\nb\n\nc", "a\n\nx\n\nc", [0, 1, 0]),
    ],
)
def test_edits_are_counted_in_characters(before: str, after: str, expected: list[int]) -> None:
    assert counted(before, after) == expected


@settings(deadline=None)
@given(TEXTS, st.data())
def test_what_is_only_removed_or_added_is_counted_exactly(text: str, data: st.DataObject) -> None:
    keeps = data.draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    shorter = "".join(character for character, keep in zip(text, keeps, strict=True) if keep)
    assert counted(text, shorter) == [len(text) - len(shorter), 0, 0]
    assert counted(shorter, text) == [0, 0, len(text) - len(shorter)]


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_counts_are_possible_for_any_two_texts(before: str, after: str) -> None:
    removed, replaced, added = counted(before, after)
    assert removed + replaced <= len(before)
    assert added <= len(after)
    assert (before == after) == (removed == replaced == added == 0)
