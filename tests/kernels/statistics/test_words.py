"""Words: the compiled cutter does what the slow one does, and both do what the definition says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.statistics.words import HAS_LETTER, WORD, classes, cut, tokens, tokens_reference

AWKWARD = st.text(st.sampled_from("aB3 .,-–‐~:<>=/+*^—…()[]@|\\'’_&#\n\t中ก้ेक́😀x"), max_size=60)


@settings(max_examples=2000, deadline=None)
@given(st.one_of(AWKWARD, st.text(max_size=60)))
def test_compiled_and_slow_agree(text: str) -> None:
    text = text.encode(errors="ignore").decode()
    assert tokens(text) == tokens_reference(text)


@pytest.mark.parametrize(
    ("text", "words", "symbols"),
    [
        ("It's well-known, isn't it?", ["It's", "well", "known", "isn't", "it"], ["-", ",", "?"]),
        ("3.14 and 1,000 or 5-6", ["3.14", "and", "1,000", "or", "5", "6"], ["-"]),
        ("and/or AT&T a.b end.Start", ["and", "or", "AT&T", "a.b", "end", "Start"], ["/", "."]),
        ("/usr/bin -1 @name x-", ["/usr", "bin", "-1", "@name", "x-"], ["/"]),
        ("wait... what…no — yes", ["wait", "what", "no", "yes"], ["...", "…", "—"]),
        ("f(x) (see [12])", ["f", "x", "see", "12"], ["(", ")", "(", "[", "]", ")"]),
        ("##! --- ..", [], ["#", "#", "!", "---", ".."]),
        ("中文字 ไทย", ["中", "文", "字", "ไ", "ท", "ย"], []),
        ("क्षेत्र में", ["क्षेत्र", "में"], []),
        ("Привет,мир", ["Привет", "мир"], [","]),
        ("", [], []),
    ],
)
def test_the_definition(text: str, words: list[str], symbols: list[str]) -> None:
    assert [token.text for token in tokens(text) if token.is_word] == words
    assert [token.text for token in tokens(text) if not token.is_word] == symbols


def test_tokens_cover_all_but_white_space() -> None:
    text = "A (strange) text -- with\tall: kinds/of\nthings…中文 3+4=7"
    assert "".join(token.text for token in tokens(text)) == "".join(text.split())


def test_a_word_without_letters_says_so() -> None:
    import numpy as np

    data = np.frombuffer(b"12 a1", np.uint8)
    assert [flags & (WORD | HAS_LETTER) for _, _, flags in cut(data, 0, 5, classes())] == [WORD, WORD | HAS_LETTER]
