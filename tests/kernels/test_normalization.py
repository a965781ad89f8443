import itertools
import sys
import time
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.kernels import normalization
from transforms.kernels.normalization import UNICODE_VERSION, normalize, normalize_reference
from transforms.kernels.unicode_tables import HANGUL_FINALS, HANGUL_VOWELS, composes, unicode_tables

STRING = pa.string()
CODE_POINTS = [code_point for code_point in range(sys.maxunicode + 1) if not 0xD800 <= code_point < 0xE000]
BLANKS = "\t\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
LINE_ENDS = "\n\r\v\f\u0085\u2028\u2029"
INVISIBLE = (
    "\u00ad\u180e\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069"
    "\u206a\u206b\u206c\u206d\u206e\u206f\ufeff\ufff9\ufffa\ufffb"
)
CONTROLS = "".join(chr(c) for c in [*range(0x20), *range(0x7F, 0xA0)] if chr(c) not in BLANKS + LINE_ENDS)
MARKS = [chr(c) for c in CODE_POINTS if unicodedata.combining(chr(c))]
DECOMPOSING = [
    chr(c) for c in CODE_POINTS if unicodedata.normalize("NFD", chr(c)) != chr(c) and not 0xAC00 <= c <= 0xD7A3
]
JAMO = [
    chr(c) for c in (0x1100, 0x1112, 0x1161, 0x1175, 0x1176, 0x11A7, 0x11A8, 0x11C2, 0x11C3, 0xAC00, 0xAC01, 0xD788)
]
TAGS_AND_JOINERS = "\u200c\u200d\ufe0e\ufe0f\U000e0061\U000e007f\U0001f469"

# Whatever a rule is about, and what might stand beside it.
PIECES = st.one_of(
    st.sampled_from(BLANKS),
    st.sampled_from(LINE_ENDS + "\n\n\n"),
    st.sampled_from(
        ["\r\n", "\n\r", "\n \n", " " * 7, " " * 15, " " * 16, " " * 17, "\t" * 16, "word", "a sentence of words"]
    ),
    st.sampled_from(INVISIBLE + CONTROLS),
    st.sampled_from(MARKS),
    st.sampled_from("\u0301\u0323\u0316\u0345\u0338\u0344\u0f73\u3099\u093c\u09be"),
    st.sampled_from(DECOMPOSING),
    st.sampled_from(JAMO),
    st.sampled_from(TAGS_AND_JOINERS),
    st.sampled_from("aeoAK\u00e2\u1ecd\u09c7\u304b\u2260\u0928\u212b"),
    st.characters(exclude_categories=["Cs"]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7F), max_size=24),
)
TEXTS = st.lists(PIECES, max_size=40).map("".join)


def normalized(texts: list[str | None], type_: pa.DataType = STRING) -> list[str | None]:
    result = normalize(pa.array(texts, type_))
    result.validate(full=True)
    assert result.type == type_
    return result.to_pylist()


def expected(texts: list[str | None]) -> list[str | None]:
    return [None if text is None else normalize_reference(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("a\r\nb\rc\vd", "a\nb\nc\nd"),
        ("a\fb\u0085c\u2028d\u2029e", "a\nb\nc\nd\ne"),
        ("a\r\r\nb", "a\n\nb"),
        ("a\r\u200b\nb", "a\n\nb"),  # not a CR LF
        ("a\n\r\nb", "a\n\nb"),
        ("a\r", "a"),
        (f"a{INVISIBLE}{CONTROLS}b", "ab"),
        (TAGS_AND_JOINERS, TAGS_AND_JOINERS),
        ("e\u00ad\u200b\u0301", "\u00e9"),  # the junk parted them
        ("e\u200d\u0301", "e\u200d\u0301"),  # the joiner stays and parts them
        ("a\u0323\u0302 \u1100\u1161\u11a8 \u212b \u0958", "\u1ead \uac01 \u00c5 \u0915\u093c"),
        ("\u00e2\u0323", "\u1ead"),
        ("a \t\u3000\nb\u2003", "a\nb"),
        (f"a{BLANKS}b", "a" + BLANKS[:16].replace("\u2000\u2001", "\u2002\u2003") + "b"),
        ("a" + 16 * " " + "b", "a" + 16 * " " + "b"),
        ("a" + 17 * " " + "b", "a" + 16 * " " + "b"),
        ("a" + 15 * " " + "\u200b" + 15 * " " + "b", "a" + 16 * " " + "b"),
        ("if x:\n\tif y:\n\t\tz", "if x:\n\tif y:\n\t\tz"),
        ("a\n" + 20 * " " + "b", "a\n" + 16 * " " + "b"),
        ("a\n\nb", "a\n\nb"),
        ("a\n \n\t\n\u200b\nb", "a\n\nb"),
        (" \n\t\n  a \n b \n\n ", "a\n b"),
        ("\n \u0301", "\u0301"),
        (" \n\ufeff\r\n\u3000", ""),
    ],
)
def test_rules(text: str, result: str) -> None:
    assert normalize_reference(text) == result
    for type_ in (pa.string(), pa.large_string()):
        assert normalized([text, "between", text], type_) == [result, "between", result]


@settings(max_examples=600, deadline=None)
@given(st.lists(TEXTS | st.none(), max_size=4))
@example([" ", None, "\n", "a"])
@example(["a       ", "b               \u00e9"])
def test_equals_reference_and_is_a_fixed_point(texts: list[str | None]) -> None:
    once = normalized(texts)
    assert once == expected(texts)
    assert expected(once) == once
    array = pa.array(once, pa.string())
    assert normalize(array) is array or normalize(array).to_pylist() == once


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS | st.none(), max_size=6), st.data())
def test_texts_that_are_known_to_be_clean_change_nothing(texts: list[str | None], data: st.DataObject) -> None:
    once = expected(texts)
    known = np.array([data.draw(st.booleans()) if text is not None else False for text in texts], np.bool_)
    mixed = [clean if is_known else text for text, clean, is_known in zip(texts, once, known, strict=True)]
    assert normalize(pa.array(mixed, pa.string()), known).to_pylist() == once


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(0, 8))
def test_result_is_normal(text: str, shift: int) -> None:
    (result,) = normalized(["x" * shift + text])
    assert unicodedata.is_normalized("NFC", result)
    assert not set(result) & set(LINE_ENDS[1:] + INVISIBLE + CONTROLS)
    assert "\n\n\n" not in result
    assert result == result.strip(BLANKS + "\n")
    assert all(line == line.rstrip(BLANKS) for line in result.split("\n"))
    blank_runs = (len(list(run)) for blank, run in itertools.groupby(result, BLANKS.__contains__) if blank)
    assert max(blank_runs, default=0) <= 16


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS | st.none(), max_size=6), st.integers(0, 6), st.integers(0, 6))
def test_slices(texts: list[str | None], start: int, length: int) -> None:
    for type_ in (pa.string(), pa.large_string()):
        result = normalize(pa.array(texts, type_).slice(start, length))
        result.validate(full=True)
        assert result.to_pylist() == expected(texts[start : start + length])


def test_every_code_point() -> None:
    # Before and after a letter, a blank, a mark; one document each for 16 code points, so that few hide behind others.
    texts = []
    for start in range(0, len(CODE_POINTS), 16):
        characters = [chr(c) for c in CODE_POINTS[start : start + 16]]
        texts.append("x".join(characters) + " " + " ".join(characters))
    assert normalized(texts) == expected(texts)


def test_every_composition_and_every_mark_is_checked() -> None:
    # One document a pair: every character that takes part in a composition with every one that may follow.
    decompositions = [unicodedata.decomposition(character).split() for character in DECOMPOSING]
    canonical = [[chr(int(part, 16)) for part in parts] for parts in decompositions if len(parts) == 2]
    firsts = sorted({first for first, _ in canonical} | set(JAMO))
    seconds = sorted({second for _, second in canonical} | set(JAMO))
    texts = [first + second for first in firsts for second in seconds]
    texts += [character + mark for character in "a\u00e2\u1ecd\u09c7" for mark in MARKS]
    texts += [f"a{first}{second}" for first in MARKS[::7] for second in MARKS[::5]]
    assert normalized(texts) == [unicodedata.normalize("NFC", text) for text in texts]


def test_composable_pairs_are_those_of_unicodedata() -> None:
    pairs = unicode_tables().pairs
    for character in DECOMPOSING:
        parts = unicodedata.normalize("NFD", character)
        first, second = unicodedata.normalize("NFC", parts[:-1]), parts[-1]
        if len(first) == 1:
            assert composes(pairs, ord(first), ord(second)) == (len(unicodedata.normalize("NFC", first + second)) == 1)
    assert not composes(pairs, ord("x"), 0x0301)
    assert not composes(pairs, 0, 0x0301)


def test_rules_four_and_five_commute_with_composition() -> None:
    whitespace = set(BLANKS + LINE_ENDS)
    for code_point in CODE_POINTS:
        parts = unicodedata.normalize("NFD", chr(code_point))
        if len(parts) > 1 or parts != chr(code_point):
            assert not set(parts) & set(LINE_ENDS + INVISIBLE + CONTROLS)
            assert chr(code_point) in whitespace or not set(parts) & whitespace
    assert {unicodedata.normalize("NFC", blank) for blank in BLANKS} < set(BLANKS)
    assert not {*map(ord, BLANKS + LINE_ENDS)} & {*HANGUL_VOWELS, *HANGUL_FINALS}


def test_clean_text_is_handed_back() -> None:
    # Letters with marks that don't compose, composed letters with further marks, conjoined syllables, scripts.
    texts = [
        "plain text\n\n  of lines",
        "x\u0301 \u1ecd\u0301 \u00e9",
        "\uac01 \u0ba8\u0bbe \u6f22\u5b57 \U0001f469\u200d\U0001f4bb",
        "",
        None,
    ]
    for type_ in (pa.string(), pa.large_string()):
        array = pa.array(texts, type_)
        assert normalize(array) is array
        part = array.slice(1, 2)
        assert normalize(part) is part


@pytest.mark.parametrize("text", ["\u1161", "\u00e2\u0316", "\u00e2\u0316" + "\u0316" * 40])
def test_normal_text_that_fails_the_check_is_handed_back(text: str) -> None:
    assert unicodedata.is_normalized("NFC", text)
    array = pa.array(["before", text, None])
    assert normalize(array) is array


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("texts", [[], [None], [None, None], [""], [None, ""], ["", ""], [" ", None]])
def test_nothing_to_do(texts: list[str | None], type_: pa.DataType) -> None:
    assert normalized(texts, type_) == expected(texts)


def test_bytes_of_nulls_are_not_read() -> None:
    offsets = pa.py_buffer(np.array([0, 1, 4, 6], np.int32))
    validity = pa.py_buffer(b"\x05")
    array = pa.Array.from_buffers(pa.string(), 3, [validity, offsets, pa.py_buffer(b"a\xff\xfe\x01b ")], 1)
    result = normalize(array)
    result.validate(full=True)
    assert result.to_pylist() == ["a", None, "b"]


def test_result_does_not_depend_on_the_batch() -> None:
    texts = ["a  ", None, "e\u0301", "\n", "plain", " \u1100\u1161", "b\r\n"] * 3
    one_by_one = [normalized([text])[0] for text in texts]
    assert normalized(texts) == one_by_one


@pytest.mark.parametrize(
    "array", [pa.array([b"a"]), pa.array([1]), pa.array([None]), pa.chunked_array([["a"]]), ["a"]], ids=repr
)
def test_other_types_are_refused(array: object) -> None:
    with pytest.raises(TypeError, match="string or large_string"):
        normalize(array)


def test_too_long_for_a_string_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalization, "_MAX_STRING_BYTES", 5)
    assert normalized(["\u0958"], pa.large_string()) == ["\u0915\u093c"]
    with pytest.raises(ValueError, match="large_string"):
        normalize(pa.array(["\u0958"]))


# Each takes a minute or more if the time grows with the square of the length.
LONG = 200_000


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (" " * LONG, ""),
        ("a" + " \t" * LONG + "b", "a" + " \t" * 8 + "b"),
        ("a" + "\u3000" * LONG + "\n" * LONG, "a"),
        ("a" + " \n" * LONG + "b", "a\n\nb"),
        ("a" + "\u200b" * LONG + "b", "ab"),
        ("a" + "\r\n" * LONG, "a"),
        ("ab" * LONG, "ab" * LONG),
        ("a" + "\u0301" * LONG, "\u00e1" + "\u0301" * (LONG - 1)),
        ("a" + "\u0301\u0316" * LONG, "\u00e1" + "\u0316" * LONG + "\u0301" * (LONG - 1)),
        ("a" + "\u0301\u200b\u0316\u200b" * LONG, "\u00e1" + "\u0316" * LONG + "\u0301" * (LONG - 1)),
        ("\u00e2" + "\u0344\u0316" * LONG, "\u00e2" + "\u0316" * LONG + "\u0308\u0301" * LONG),
        ("\u0f73\u0f71\u0316" * LONG, "\u0f71" * (2 * LONG) + "\u0f72" * LONG + "\u0316" * LONG),
    ],
    ids=lambda value: f"{value[:3]!a}",
)
def test_time_is_proportional_to_length(text: str, result: str) -> None:
    start = time.process_time()
    assert normalized([text]) == [result]
    assert time.process_time() - start < 5


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from([*MARKS, "\u0301", "\u0316", "\u0344", "\u0f73", "\u00e2"]), min_size=25, max_size=120))
def test_long_runs_of_marks(marks: str) -> None:
    assert normalized(["a" + marks]) == [normalize_reference("a" + marks)]


def test_unicode_version() -> None:
    assert unicodedata.unidata_version == UNICODE_VERSION
