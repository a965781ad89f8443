import dataclasses
import itertools
import sys
import time
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.kernels.text import normalization
from transforms.kernels.text.normalization import (
    DEFAULT,
    EVERYTHING,
    OFF,
    UNICODE_VERSION,
    Normalization,
    has_content,
    normalize,
    normalize_reference,
)
from transforms.kernels.text.options import DROPPABLE
from transforms.kernels.text.unicode_tables import HANGUL_FINALS, HANGUL_VOWELS, composes, unicode_tables

STRING = pa.string()
CODE_POINTS = [code_point for code_point in range(sys.maxunicode + 1) if not 0xD800 <= code_point < 0xE000]
BLANKS = "\t\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
LINE_ENDS = "\n\r\v\f\u0085\u2028\u2029"
INVISIBLE = (
    "\u00ad\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069"
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
SPELLING = "\u200c\u200d\u180e\u034f\ufe0e\ufe0f\U000e0061\U000e007f\U0001f469"
"""What no rule ever drops."""
NFC = Normalization(nfc=True)

# Whatever a rule is about, and what might stand beside it.
PIECES = st.one_of(
    st.sampled_from(BLANKS),
    st.sampled_from(LINE_ENDS + "\n\n\n"),
    st.sampled_from(
        [
            "\r\n",
            "\r\r\n",
            "\r\0\n",
            "\r\ufeff\n",
            "\n\r",
            "\n \n",
            " " * 7,
            " " * 15,
            " " * 16,
            " " * 17,
            "\t" * 16,
            "\n\ufeff",
        ]
    ),
    st.sampled_from(["word", "a sentence of words", "two  blanks"]),
    st.sampled_from(INVISIBLE + CONTROLS),
    st.sampled_from("\0\ufeff"),
    st.sampled_from(MARKS),
    st.sampled_from("\u0301\u0323\u0316\u0345\u0338\u0344\u0f73\u3099\u093c\u09be"),
    st.sampled_from(DECOMPOSING),
    st.sampled_from(JAMO),
    st.sampled_from(SPELLING),
    st.sampled_from("aeoAK\u00e2\u1ecd\u09c7\u304b\u2260\u0928\u212b"),
    st.characters(exclude_categories=["Cs"]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7F), max_size=24),
)
# Half of them with one kind of line end only, as files have.
TEXTS = st.tuples(st.lists(PIECES, max_size=40).map("".join), st.sampled_from([None, None, "\r\n", "\r"])).map(
    lambda drawn: drawn[0] if drawn[1] is None else drawn[0].replace("\r", "").replace("\n", drawn[1])
)
SOME_OPTIONS = st.builds(
    Normalization,
    drop=st.lists(st.sampled_from([*DROPPABLE]), unique=True).map(tuple),
    trim=st.booleans(),
    line_ends=st.sampled_from(["keep", "uniform", "all"]),
    nfc=st.booleans(),
    strip_lines=st.booleans(),
    max_blanks=st.sampled_from([0, 1, 2, 3, 13, 14, 16, 1000]),
    max_blank_lines=st.integers(0, 2),
)
OPTIONS = st.sampled_from([DEFAULT, EVERYTHING, OFF, NFC]) | SOME_OPTIONS


def normalized(
    texts: list[str | None], options: Normalization = DEFAULT, type_: pa.DataType = STRING
) -> list[str | None]:
    result = normalize(pa.array(texts, type_), options)
    result.validate(full=True)
    assert result.type == type_
    return result.to_pylist()


def expected(texts: list[str | None], options: Normalization = DEFAULT) -> list[str | None]:
    return [None if text is None else normalize_reference(text, options) for text in texts]


def check(text: str, result: str, options: Normalization) -> None:
    assert normalize_reference(text, options) == result
    assert normalize_reference(result, options) == result
    for type_ in (pa.string(), pa.large_string()):
        assert normalized([text, "between", text], options, type_) == [result, "between", result]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("a\r\nb\r\n", "a\nb\n"),
        ("a\rb\r\rc", "a\nb\n\nc"),  # as Mac OS had it before X
        ("a\r\nb\nc\r\n", "a\r\nb\nc\r\n"),  # the difference between the lines is content
        ("a\r\r\nb", "a\r\r\nb"),
        ("10%\r20%\n", "10%\r20%\n"),
        ("a\r\0\nb", "a\nb"),
        ("a\vb\fc\u0085d\u2028e\u2029", "a\vb\fc\u0085d\u2028e\u2029"),
        ("a\0b", "ab"),
        ("\ufeff\ufeffa\ufeffb", "a\ufeffb"),
        (" \n\ufeffa", " \na"),
        ("\0\ufeff\0a", "a"),
        (INVISIBLE[:-4] + CONTROLS[1:] + SPELLING, INVISIBLE[:-4] + CONTROLS[1:] + SPELLING),
        ("e\u0301 \u212b \u0958", "e\u0301 \u212b \u0958"),
        ("  a \t\n \n\n\n\n\tb" + 40 * " " + "c  \n\n", "  a \t\n \n\n\n\n\tb" + 40 * " " + "c  \n\n"),
        (" \n\u3000", " \n\u3000"),
    ],
)
def test_defaults(text: str, result: str) -> None:
    check(text, result, DEFAULT)


@pytest.mark.parametrize("name", DROPPABLE)
def test_dropping_a_class(name: str) -> None:
    everything = "x" + CONTROLS + INVISIBLE + SPELLING
    gone = {chr(c) for first, last in DROPPABLE[name] for c in range(first, last + 1)}
    assert name == "byte_order_mark" or gone <= set(everything)
    check(everything, "".join(c for c in everything if c not in gone), Normalization((name,), line_ends="keep"))


def test_all_classes_together_are_what_is_invisible_and_no_spelling() -> None:
    all_classes = Normalization(tuple(DROPPABLE))
    check("x" + CONTROLS + INVISIBLE + SPELLING, "x" + SPELLING, all_classes)


@pytest.mark.parametrize(
    ("options", "text", "result"),
    [
        (Normalization(line_ends="all"), "a\r\nb\rc\vd\fe\u0085f\u2028g\u2029h\r\r\n", "a\nb\nc\nd\ne\nf\ng\nh\n\n"),
        (Normalization(line_ends="keep"), "a\r\nb\r", "a\r\nb\r"),
        (NFC, "a\u0323\u0302 \u1100\u1161\u11a8 \u212b \u0958", "\u1ead \uac01 \u00c5 \u0915\u093c"),
        (NFC, "\u00e2\u0323", "\u1ead"),
        (NFC, "e\0\u0301", "\u00e9"),  # what parted them is dropped
        (NFC, "e\u200d\u0301", "e\u200d\u0301"),  # the joiner stays and parts them
        (Normalization(trim=True), " \n\t\n  a \n b \n\n ", "  a \n b"),
        (Normalization(trim=True), "\r\n\r\n\ta\r\n", "\ta"),
        (Normalization(trim=True), "a\rb\n", "a\nb"),
        (Normalization(trim=True), " \n\ufeff\r\n\u3000", ""),
        (Normalization(strip_lines=True), "  a \t\u3000\n \nb\r \n", "  a\n\nb\n"),
        (Normalization(max_blanks=16), "a" + 17 * " " + "b" + 16 * " ", "a" + 16 * " " + "b" + 16 * " "),
        (Normalization(max_blanks=1), "   a  b \t  c\t\t\td", "   a b \t c\t\t\td"),
        (Normalization(max_blanks=2), "a\u3000\u00a0\u2003b", "a\u3000\u00a0b"),
        (Normalization(max_blanks=1), "a\r  b\n", "a\r  b\n"),
        (Normalization(max_blank_lines=1), "a\n\n\n\nb\n \n\n\n\nc", "a\n\nb\n \n\nc"),
        (Normalization(max_blank_lines=1, strip_lines=True), "a\n \n\t\n\n  b", "a\n\n  b"),
        (EVERYTHING, "\ufeff\n  a\u00ad\r\n\r\n \r\n\u2028 b\u200b" + 20 * " " + "e\u0301 \n ", None),
    ],
)
def test_options(options: Normalization, text: str, result: str | None) -> None:
    check(text, "  a\n\n b" + 16 * " " + "\u00e9" if result is None else result, options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"drop": ("nul", "letters")}, "drop: must be one of nul, .*letters"),
        ({"line_ends": "dos"}, "line_ends: must be one of .*dos"),
        ({"max_blanks": -1}, "max_blanks: must be at least 0, not -1"),
        ({"max_blank_lines": 2**31}, "max_blank_lines: must be less than 2147483648"),
    ],
)
def test_wrong_options_are_named(options: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Normalization(**options)


@settings(max_examples=800, deadline=None)
@given(st.lists(TEXTS | st.none(), max_size=4), OPTIONS)
@example([" ", None, "\n", "a"], EVERYTHING)
@example(["a       ", "b               \u00e9"], EVERYTHING)
@example(["a\rb\n", "\n\ufeffa", "a\r \nb\r\n"], EVERYTHING)
@example(["\r\ufeff\na", "\r\ufeff\0\nb\r\n", "a\r\ufeff\nb"], DEFAULT)
def test_equals_reference_and_is_a_fixed_point(texts: list[str | None], options: Normalization) -> None:
    once = normalized(texts, options)
    assert once == expected(texts, options)
    assert expected(once, options) == once
    assert normalized(once, options) == once


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_all_can_be_off(texts: list[str]) -> None:
    array = pa.array(texts, STRING)
    assert normalize(array, OFF) is array
    assert expected(texts, OFF) == texts


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS | st.none(), max_size=6), OPTIONS, st.data())
def test_texts_that_are_known_to_be_clean_change_nothing(
    texts: list[str | None], options: Normalization, data: st.DataObject
) -> None:
    once = expected(texts, options)
    known = np.array([data.draw(st.booleans()) if text is not None else False for text in texts], np.bool_)
    mixed = [clean if is_known else text for text, clean, is_known in zip(texts, once, known, strict=True)]
    assert normalize(pa.array(mixed, pa.string()), options, known).to_pylist() == once


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(0, 8))
def test_what_every_rule_leaves(text: str, shift: int) -> None:
    (result,) = normalized(["x" * shift + text], EVERYTHING)
    assert unicodedata.is_normalized("NFC", result)
    assert not set(result) & set(LINE_ENDS[1:] + INVISIBLE + CONTROLS)
    assert "\n\n\n" not in result
    assert result == result.rstrip(BLANKS + "\n")
    assert not result or result.split("\n")[0].strip(BLANKS)
    assert all(line == line.rstrip(BLANKS) for line in result.split("\n"))
    for line in result.split("\n"):
        runs = (len([*run]) for blank, run in itertools.groupby(line.lstrip(BLANKS), BLANKS[1:].__contains__) if blank)
        assert max(runs, default=0) <= 16


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.text(st.sampled_from(BLANKS), max_size=30), st.sampled_from(["x", "", "x  y"]))), OPTIONS)
def test_indentation_is_kept_exactly(lines: list[tuple[str, str]], options: Normalization) -> None:
    options = dataclasses.replace(options, nfc=False, trim=False, strip_lines=False)
    text = "\n".join(indentation + content for indentation, content in lines)
    before = [line for line in text.split("\n") if line]
    (result,) = normalized([text], options)
    after = [line for line in result.split("\n") if line]
    assert [line[: len(line) - len(line.lstrip())] for line in after] == [
        line[: len(line) - len(line.lstrip())] for line in before
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS | st.none(), max_size=6), st.integers(0, 6), st.integers(0, 6), OPTIONS)
def test_slices(texts: list[str | None], start: int, length: int, options: Normalization) -> None:
    for type_ in (pa.string(), pa.large_string()):
        part = pa.array(texts, type_).slice(start, length)
        result = normalize(part, options)
        result.validate(full=True)
        assert result.to_pylist() == expected(texts[start : start + length], options)
        assert has_content(part).tolist() == [
            text is not None and bool(normalize_reference(text, EVERYTHING)) for text in part.to_pylist()
        ]


@pytest.mark.parametrize("options", [DEFAULT, NFC, EVERYTHING], ids=["default", "nfc", "everything"])
def test_every_code_point(options: Normalization) -> None:
    # Before and after a letter, a blank, a mark; one document each for 16 code points, so that few hide behind others.
    texts = []
    for start in range(0, len(CODE_POINTS), 16):
        characters = [chr(c) for c in CODE_POINTS[start : start + 16]]
        texts.append("x".join(characters) + " " + " ".join(characters))
    assert normalized(texts, options) == expected(texts, options)


def test_every_composition_and_every_mark_is_checked() -> None:
    # One document a pair: every character that takes part in a composition with every one that may follow.
    decompositions = [unicodedata.decomposition(character).split() for character in DECOMPOSING]
    canonical = [[chr(int(part, 16)) for part in parts] for parts in decompositions if len(parts) == 2]
    firsts = sorted({first for first, _ in canonical} | set(JAMO))
    seconds = sorted({second for _, second in canonical} | set(JAMO))
    texts = [first + second for first in firsts for second in seconds]
    texts += [character + mark for character in "a\u00e2\u1ecd\u09c7" for mark in MARKS]
    texts += [f"a{first}{second}" for first in MARKS[::7] for second in MARKS[::5]]
    assert normalized(texts, NFC) == [unicodedata.normalize("NFC", text) for text in texts]


def test_composable_pairs_are_those_of_unicodedata() -> None:
    pairs = unicode_tables().pairs
    for character in DECOMPOSING:
        parts = unicodedata.normalize("NFD", character)
        first, second = unicodedata.normalize("NFC", parts[:-1]), parts[-1]
        if len(first) == 1:
            assert composes(pairs, ord(first), ord(second)) == (len(unicodedata.normalize("NFC", first + second)) == 1)
    assert not composes(pairs, ord("x"), 0x0301)
    assert not composes(pairs, 0, 0x0301)


def test_composition_makes_no_work_for_other_rules() -> None:
    white = set(BLANKS + LINE_ENDS)
    for code_point in CODE_POINTS:
        parts = unicodedata.normalize("NFD", chr(code_point))
        if len(parts) > 1 or parts != chr(code_point):
            assert not set(parts) & set(LINE_ENDS + INVISIBLE + CONTROLS)
            assert chr(code_point) in white or not set(parts) & white
    assert {unicodedata.normalize("NFC", blank) for blank in BLANKS} < set(BLANKS)
    assert not {*map(ord, BLANKS + LINE_ENDS)} & {*HANGUL_VOWELS, *HANGUL_FINALS}


@pytest.mark.parametrize("options", [DEFAULT, NFC, EVERYTHING], ids=["default", "nfc", "everything"])
def test_clean_text_is_handed_back(options: Normalization) -> None:
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
        assert normalize(array, options) is array
        part = array.slice(1, 2)
        assert normalize(part, options) is part


@pytest.mark.parametrize("text", ["\u1161", "\u00e2\u0316", "\u00e2\u0316" + "\u0316" * 40])
def test_normal_text_that_fails_the_check_is_handed_back(text: str) -> None:
    assert unicodedata.is_normalized("NFC", text)
    array = pa.array(["before", text, None])
    assert normalize(array, NFC) is array


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("texts", [[], [None], [None, None], [""], [None, ""], ["", ""], [" ", None]])
def test_nothing_to_do(texts: list[str | None], type_: pa.DataType) -> None:
    for options in (DEFAULT, EVERYTHING):
        assert normalized(texts, options, type_) == expected(texts, options)
    assert not has_content(pa.array(texts, type_)).any()


def test_bytes_of_nulls_are_not_read() -> None:
    offsets = pa.py_buffer(np.array([0, 2, 5, 7], np.int32))
    validity = pa.py_buffer(b"\x05")
    array = pa.Array.from_buffers(pa.string(), 3, [validity, offsets, pa.py_buffer(b"a\0\xff\xfe\x01b\0")], 1)
    for options in (DEFAULT, EVERYTHING):
        result = normalize(array, options)
        result.validate(full=True)
        assert result.to_pylist() == ["a", None, "b"]


@pytest.mark.parametrize("options", [DEFAULT, EVERYTHING], ids=["default", "everything"])
def test_result_does_not_depend_on_the_batch(options: Normalization) -> None:
    texts = ["a  ", None, "e\u0301", "\n", "plain", " \u1100\u1161", "b\r\n", "\0c"] * 3
    one_by_one = [normalized([text], options)[0] for text in texts]
    assert normalized(texts, options) == one_by_one


@pytest.mark.parametrize(
    "array", [pa.array([b"a"]), pa.array([1]), pa.array([None]), pa.chunked_array([["a"]]), ["a"]], ids=repr
)
def test_other_types_are_refused(array: object) -> None:
    with pytest.raises(TypeError, match="string or large_string"):
        normalize(array)


def test_too_long_for_a_string_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalization, "_MAX_STRING_BYTES", 5)
    assert normalized(["\u0958"], NFC, pa.large_string()) == ["\u0915\u093c"]
    with pytest.raises(ValueError, match="large_string"):
        normalize(pa.array(["\u0958"]), NFC)


# Each takes a minute or more if the time grows with the square of the length.
LONG = 200_000


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (" " * LONG, ""),
        ("a" + "  " * LONG + "b", "a" + " " * 16 + "b"),
        ("a" + " \t" * LONG + "b", "a" + " \t" * LONG + "b"),
        ("a" + "\u3000" * LONG + "\n" * LONG, "a"),
        ("a" + " \n" * LONG + "b", "a\n\nb"),
        ("a" + "\u200b" * LONG + "b", "ab"),
        ("a" + "\r\n" * LONG, "a"),
        ("a" + "\r\0" * LONG + "b", "a\n\nb"),
        ("a\r" + "\0" * LONG + "\n" + "\r" * LONG + "b", "a\n\nb"),
        ("\ufeff" * LONG + "a" + "\ufeff" * LONG, "a"),
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
    assert normalized([text], EVERYTHING) == [result]
    normalized([text], DEFAULT)
    normalized([text], Normalization(tuple(DROPPABLE)))
    assert time.process_time() - start < 5


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from([*MARKS, "\u0301", "\u0316", "\u0344", "\u0f73", "\u00e2"]), min_size=25, max_size=120))
def test_long_runs_of_marks(marks: str) -> None:
    assert normalized(["a" + marks], NFC) == [normalize_reference("a" + marks, NFC)]


def test_unicode_version() -> None:
    assert unicodedata.unidata_version == UNICODE_VERSION
