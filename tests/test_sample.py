"""The sample corpus holds what its documentation promises, so that runs on it show every outcome."""

from __future__ import annotations

import collections
import functools
import itertools
import json
import re
import unicodedata

import pytest

from beam_pipeline.sample import documents_path, tokenizer_path

MAX_BYTES = 400_000
BASE_ID = re.compile(r"[a-z]{2}-\d\d")
VARIANT_ID = re.compile(r"(copy|near|form-[a-z]+)-([a-z]{2}-\d\d)(-\d)?")
UNSPACED_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "THAI")
BLANKS = " \t\u00a0\u3000"
ZERO_WIDTH_SPACE = "\u200b"


@functools.cache
def lines() -> list[bytes]:
    content = documents_path().read_bytes()
    assert content.endswith(b"\n")
    return content[:-1].split(b"\n")


@functools.cache
def rows() -> list[dict]:
    """The lines that are JSON objects, in order."""
    parsed = []
    for line in lines():
        try:
            row = json.loads(line.decode("utf-8"))
        except ValueError:
            continue
        if isinstance(row, dict):
            parsed.append(row)
    return parsed


@functools.cache
def texts() -> dict[str, str]:
    """Id -> text of the rows that can be used."""
    return {row["id"]: row["text"] for row in rows() if not row["id"].startswith("bad-")}


@functools.cache
def base_texts() -> dict[str, str]:
    return {identifier: text for identifier, text in texts().items() if BASE_ID.fullmatch(identifier)}


def variants(prefix: str) -> list[tuple[str, str]]:
    """(id, id of the base document) of the variants whose id begins with `prefix`."""
    matches = [VARIANT_ID.fullmatch(identifier) for identifier in texts() if identifier.startswith(prefix)]
    return [(match.group(), match.group(2)) for match in matches if match]


def words(text: str) -> list[str]:
    """The text folded for matching, as DESIGN says: a character of a script without spaces is one word."""
    folded = unicodedata.normalize("NFKC", text.replace(ZERO_WIDTH_SPACE, "")).casefold()
    found: list[str] = []
    in_word = False
    for character in unicodedata.normalize("NFC", folded):
        if unicodedata.category(character)[0] not in "LMN":
            in_word = False
        elif unicodedata.name(character).startswith(UNSPACED_SCRIPTS):
            found.append(character)
            in_word = False
        elif in_word:
            found[-1] += character
        else:
            found.append(character)
            in_word = True
    return found


@functools.cache
def shingles(identifier: str) -> frozenset[tuple[str, ...]]:
    spelled = words(texts()[identifier])
    return frozenset(tuple(spelled[i : i + 5]) for i in range(len(spelled) - 4))


def jaccard(one: str, other: str) -> float:
    return len(shingles(one) & shingles(other)) / len(shingles(one) | shingles(other))


def test_size() -> None:
    assert len(lines()) >= 300
    assert documents_path().stat().st_size < MAX_BYTES


def test_tokenizer_is_beside_the_documents() -> None:
    assert tokenizer_path() == documents_path().with_name("tokenizer.json")


def test_ids_are_unique() -> None:
    counts = collections.Counter(row["id"] for row in rows())
    assert [identifier for identifier, count in counts.items() if count > 1] == []


def test_base_documents_are_long_enough_and_in_many_languages() -> None:
    per_language = collections.Counter(identifier[:2] for identifier in base_texts())
    assert len(per_language) >= 16
    assert min(per_language.values()) >= 8
    assert min(per_language["en"], per_language["de"]) >= 10
    assert {i for i, text in base_texts().items() if not 50 <= len(words(text)) <= 330} == set()


def test_language_of_a_base_document_is_in_its_id() -> None:
    assert {row["id"] for row in rows() if BASE_ID.fullmatch(row["id"]) and row["lang"] != row["id"][:2]} == set()


def test_many_scripts() -> None:
    letters = (c for text in base_texts().values() for c in text if unicodedata.category(c)[0] == "L")
    counts = collections.Counter(unicodedata.name(letter).split()[0] for letter in letters)
    common = {script for script, count in counts.items() if count >= 500}
    assert common >= {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "BENGALI", "CJK"}
    assert common >= {"HIRAGANA", "HANGUL", "THAI"}


def test_base_documents_are_in_normal_form() -> None:
    for identifier, text in base_texts().items():
        assert text == unicodedata.normalize("NFC", text).strip(), identifier
        assert not set(text) & {"\r", ZERO_WIDTH_SPACE, "\ufeff"}, identifier


def test_copies_have_the_text_of_their_base() -> None:
    copies = variants("copy-")
    assert len(copies) >= 20
    for copy, base in copies:
        assert texts()[copy] == texts()[base], copy


def test_near_duplicates_are_nearly_their_base() -> None:
    nears = variants("near-")
    assert len(nears) >= 25
    for near, base in nears:
        assert 0.85 < jaccard(near, base) < 1, near


@pytest.mark.parametrize(
    ("kind", "sign"),
    [
        ("upper", lambda text: text == text.upper()),
        ("fullwidth", lambda text: any("\uff01" <= c <= "\uff5e" for c in text) and "\u3000" in text),
        ("halfkana", lambda text: any("\uff66" <= c <= "\uff9f" for c in text)),
        ("nfd", lambda text: text == unicodedata.normalize("NFD", text) != unicodedata.normalize("NFC", text)),
        ("zerowidth", lambda text: ZERO_WIDTH_SPACE in text),
        ("curly", lambda text: bool(set(text) & set("\u2019\u201c\u201d"))),
        ("blanks", lambda text: "  " in text and text != text.strip()),
        ("nbsp", lambda text: "\u00a0" in text),
        ("crlf", lambda text: "\r\n" in text),
    ],
)
def test_forms_differ_from_their_base_in_form_only(kind, sign) -> None:
    forms = variants(f"form-{kind}-")
    assert forms
    for form, base in forms:
        assert sign(texts()[form]), form
        assert not sign(texts()[base]), base
        assert words(texts()[form]) == words(texts()[base]), form


def test_every_variant_comes_after_its_base() -> None:
    position = {row["id"]: i for i, row in enumerate(rows())}
    all_variants = variants("copy-") + variants("near-") + variants("form-")
    assert len(all_variants) == len(texts()) - len(base_texts()) - len(["special-endoftext"]) - len(SHORT)
    assert [variant for variant, base in all_variants if position[variant] < position[base]] == []


def test_nothing_else_resembles_anything() -> None:
    base_of = {identifier: identifier for identifier in base_texts()}
    base_of |= dict(variants("copy-") + variants("near-") + variants("form-"))
    alike = [
        pair
        for pair in itertools.combinations(base_of, 2)
        if base_of[pair[0]] != base_of[pair[1]] and jaccard(*pair) > 0.1
    ]
    assert alike == []


SHORT = ["short-01", "short-02", "short-03"]


@pytest.mark.parametrize("identifier", SHORT)
def test_short_documents_have_no_shingle(identifier) -> None:
    assert 2 <= len(words(texts()[identifier])) <= 3
    assert not shingles(identifier)


def test_control_token_as_text() -> None:
    assert [i for i, text in texts().items() if "<|endoftext|>" in text] == ["special-endoftext"]


def test_unusable_rows() -> None:
    bad = {row["id"]: row for row in rows() if row["id"].startswith("bad-")}
    assert bad["bad-null"]["text"] is None
    assert bad["bad-empty"]["text"] == ""
    assert bad["bad-blanks"]["text"].strip(BLANKS + "\n") == "" != bad["bad-blanks"]["text"]
    assert bad["bad-number"]["text"] == 42
    assert bad["bad-list"]["text"] == ["one", "two"]
    assert "text" not in bad["bad-missing"]
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        bad["bad-surrogate"]["text"].encode("utf-8")
    assert len(bad) == 7


def test_lines_that_are_no_json_object() -> None:
    broken: dict[str, list[bytes]] = collections.defaultdict(list)
    for line in lines():
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError:
            broken["not UTF-8"].append(line)
        except json.JSONDecodeError:
            broken["blank" if not line.strip() else "cut off"].append(line)
        else:
            if not isinstance(value, dict):
                broken["no object"].append(line)
    assert {reason: len(found) for reason, found in broken.items()} == {
        "not UTF-8": 1,
        "blank": 1,
        "cut off": 1,
        "no object": 1,
    }
