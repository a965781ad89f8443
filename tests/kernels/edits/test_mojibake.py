"""Mojibake: what the kernel doesn't suspect, ftfy leaves as it is; mending twice changes nothing."""

from __future__ import annotations

import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.statistics.test_statistics import packed
from transforms.kernels.edits.mojibake import ENCODINGS, suspected

PLAIN = st.one_of(st.text(max_size=30), st.text(st.sampled_from("aé ßüłщъїξя中あ한ก’“”—…€?\u00a0"), max_size=20)).map(
    lambda text: text.encode(errors="ignore").decode()
)
BROKEN = st.tuples(PLAIN, st.sampled_from(ENCODINGS)).map(
    lambda given: given[0].encode().decode(given[1], errors="ignore")
)


@settings(max_examples=1000, deadline=None)
@given(st.one_of(PLAIN, BROKEN, st.tuples(PLAIN, BROKEN, PLAIN).map("".join)))
def test_all_that_ftfy_mends_is_suspected_and_mended_once(text: str) -> None:
    mended = ftfy.fix_encoding(text)
    if not suspected(*packed([text]))[0]:
        assert mended == text
    assert ftfy.fix_encoding(mended) == mended


@pytest.mark.parametrize("text", ["schÃ¶n", "â€œquotedâ€\u009d", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "cafÃ©", "ä¸­æ–‡"])
def test_what_is_mojibake_is_suspected(text: str) -> None:
    assert suspected(*packed([text]))[0]
    assert ftfy.fix_encoding(text) != text


@pytest.mark.parametrize("text", ["plain", "schön und größer", "中文字", "a “quoted” word — yes…", "Élan vital"])
def test_what_is_none_is_left_alone(text: str) -> None:
    assert not suspected(*packed([text]))[0]
