"""Invisible characters that are spelling or meaning, by script: none goes, whichever way a text is stored.

The reasons are those of the Unicode Standard (core specification, version 14 and later): sections 9.2 (Arabic), 12.1
(Devanagari and the cursive joiners), 13.5 (Mongolian), 16 (Southeast Asia), 23.2 (layout controls), 23.4 (variation
selectors), 23.8 (specials), and UTS 51 (emoji).
"""

from __future__ import annotations

import pyarrow as pa
import pytest

from transforms.kernels.text.normalization import DEFAULT, EVERYTHING, Normalization, normalize
from transforms.kernels.text.options import DROPPABLE

SPELLING = {
    "Persian, ZWNJ within a word": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Persian, plural with ZWNJ": "\u06a9\u062a\u0627\u0628\u200c\u0647\u0627",
    "Arabic abbreviation, ZWJ": "\u0647\u200d",
    "Devanagari, ZWJ for a half form": "\u0915\u094d\u200d\u0937",
    "Devanagari, ZWNJ for an explicit virama": "\u0915\u094d\u200c\u0937",
    "Bengali, ZWJ": "\u09b0\u200d\u09cd\u09af\u09be\u09ac",
    "Kannada, ZWNJ": "\u0cb0\u0cbe\u0c9c\u0ccd\u200c\u0c95\u0cc1\u0cae\u0cbe\u0cb0\u0ccd",
    "Malayalam, chillu with ZWJ": "\u0d05\u0d35\u0d28\u0d4d\u200d",
    "Sinhala, ZWJ for a conjunct": "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "Mongolian, vowel separator": "\u1820\u182a\u180e\u1820",
    "Mongolian, free variation selector": "\u182d\u180b\u1820",
    "combining grapheme joiner": "c\u034fh",
    "emoji, family joined by ZWJ": "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "emoji, flag of Scotland by tags": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "emoji, skin tone": "\U0001f44d\U0001f3fd",
    "emoji and text presentation": "\u2764\ufe0f \u2764\ufe0e",
    "keycap": "1\ufe0f\u20e3",
    "ideographic variation sequence": "\u845b\U000e0100",
    "mathematical variant": "\u2268\ufe00",
}
BREAKS_AND_ORDER = {
    "Thai, ZWSP between words": ("\u0e20\u0e32\u0e29\u0e32\u200b\u0e44\u0e17\u0e22", "zero_width_spaces"),
    "Khmer, ZWSP between words": ("\u1797\u17b6\u179f\u17b6\u200b\u1781\u17d2\u1798\u17c2\u179a", "zero_width_spaces"),
    "Burmese, ZWSP between words": ("\u1019\u103c\u1014\u103a\u200b\u1019\u102c", "zero_width_spaces"),
    "Tibetan, ZWSP after a shad": ("\u0f56\u0f7c\u0f51\u0f0b\u0f0d\u200b\u0f61\u0f72\u0f42", "zero_width_spaces"),
    "soft hyphen": ("Donau\u00addampf\u00adschiff", "soft_hyphens"),
    "Hebrew, RLM after punctuation": ("\u05e9\u05dc\u05d5\u05dd!\u200f C++", "directions"),
    "Arabic, ALM before digits": ("\u061c1/2/2024", "directions"),
    "isolated title": ("\u2068\u0627\u0644\u0643\u062a\u0627\u0628\u2069 (2024)", "directions"),
    "embedding and its end": ("\u202babc\u202c", "directions"),
    "word joiner": ("U.S.\u2060A.", "word_joiners"),
    "U+FEFF within a text": ("a\ufeffb", "word_joiners"),
    "invisible times": ("2\u2062x", "invisible_operators"),
    "annotation": ("\ufff9\u6f22\ufffa\u304b\u3093\ufffb", "annotations"),
}


@pytest.mark.parametrize("name", SPELLING)
def test_no_rule_touches_spelling(name: str) -> None:
    array = pa.array([SPELLING[name], f"a {SPELLING[name]} b\nc"])
    for options in (DEFAULT, Normalization(tuple(DROPPABLE), line_ends="all"), EVERYTHING):
        assert normalize(array, options).equals(array)


@pytest.mark.parametrize("name", BREAKS_AND_ORDER)
def test_breaks_and_order_stay_unless_asked_for(name: str) -> None:
    text, only = BREAKS_AND_ORDER[name]
    array = pa.array([text, f"a {text} b"])
    assert normalize(array).equals(array)
    others = tuple(other for other in DROPPABLE if other != only)
    assert normalize(array, Normalization(others)).equals(array)
    gone = {chr(c) for first, last in DROPPABLE[only] for c in range(first, last + 1)}
    expected = "".join(character for character in text if character not in gone)
    assert expected != text
    assert normalize(array, Normalization((only,))).to_pylist() == [expected, f"a {expected} b"]
