"""How texts are cut into words for statistics and rules: one definition, in plain Python and compiled.

A text is a sequence of **tokens**, and a token is a word or a symbol. White space separates tokens and belongs to none.

- A **word character** is a letter, mark or number (general categories L, M, N).
- A **word** is a run of word characters. One to three other characters join two runs (``don't``, ``3.14``, ``a.b``,
  ``AT&T``, ``file_name``), unless they separate: ``-``, ``–``, ``‐``, ``~`` and ``,`` between letters; ``:``, ``<``,
  ``>``, ``=`` and ``/`` before a letter; ``.`` between a small and a capital letter; ``-``, ``+``, ``*`` and ``^``
  between numbers; a bracket between letters; ``—`` and ``…`` always.
- A run of the characters ``- / @ ~ | \\ ^ +`` belongs to the word behind it if no word character is before it
  (``/usr``, ``-1``, ``@name``), or to the word before it if none is behind it.
- In scripts written without spaces each letter is a word, with the marks behind it.
- Every other character is a **symbol**; a run of two or more dots is one, and so is a run of the characters above.

This is close to what spaCy's rules do in English, on which the published thresholds were tried, and needs no list of
any language's words: docs/rules.md has the agreement.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any, NamedTuple

import numba
import numpy as np

from transforms.kernels.deduplication.folding import CODE_POINTS, MULTIPLIER, is_unspaced

LETTER = 1  # a letter or mark
NUMBER = 2
UPPER = 4
LOWER = 8
SPACE = 16
UNSPACED = 32  # of a script written without spaces
ATTACHED = 64  # one of ATTACHED_CHARACTERS
MARK = 128
WORD_CHARACTER = LETTER | NUMBER

ATTACHED_CHARACTERS = "-/@~|\\^+"
SEPARATE_LETTERS = "-–‐~,()[]"
SEPARATE_BEFORE_LETTER = ":<>=/"
SEPARATE_NUMBERS = "-+*^"
SEPARATE_ALWAYS = "—…"
MOST_JOINING = 3

# What a token is.
WORD = 1
HAS_LETTER = 2  # in the sense of str.isalpha: at least one letter that isn't a mark
ENDS_IN_WORD_CHARACTER = 4


class Token(NamedTuple):
    """A token of a text: its characters, and whether it is a word."""

    text: str
    is_word: bool


def class_of(character: str) -> int:
    """The class bits of one character."""
    category = unicodedata.category(character)
    bits = 0
    if category[0] in "LM":
        bits |= LETTER
    if category[0] == "M":
        bits |= MARK
    if category[0] == "N":
        bits |= NUMBER
    if category == "Lu":
        bits |= UPPER
    if category == "Ll":
        bits |= LOWER
    if character.isspace():
        bits |= SPACE
    if category[0] == "L" and is_unspaced(character):
        bits |= UNSPACED
    if character in ATTACHED_CHARACTERS:
        bits |= ATTACHED
    return bits


@functools.cache
def classes() -> np.ndarray:
    """The class bits of every code point (uint8[0x110000]). Built once a process, in 0.4 s."""
    table = np.zeros(CODE_POINTS, np.uint8)
    for code_point in range(CODE_POINTS):
        if code_point >= 0xE1000 or 0x40000 <= code_point < 0xE0000 or 0xD800 <= code_point < 0xF900:
            continue  # unassigned, surrogates, or for private use
        table[code_point] = class_of(chr(code_point))
    table.flags.writeable = False
    return table


def tokens_reference(text: str) -> list[Token]:
    """The tokens of a text, in order: slow and obvious."""
    kinds = [class_of(character) for character in text]
    tokens: list[Token] = []
    place = 0
    word_before = False  # whether a word character stands directly before `place`

    def is_word_character(at: int) -> bool:
        return at < len(text) and bool(kinds[at] & WORD_CHARACTER)

    def starts_run(at: int) -> bool:
        return is_word_character(at) and not kinds[at] & UNSPACED

    while place < len(text):
        if kinds[place] & SPACE:
            place, word_before = place + 1, False
            continue
        start = place
        if kinds[place] & UNSPACED:
            place += 1
            while place < len(text) and kinds[place] & MARK:
                place += 1
            tokens.append(Token(text[start:place], True))
            word_before = True
            continue
        while place < len(text) and kinds[place] & ATTACHED:
            place += 1
        if place > start and (word_before or not starts_run(place)):
            tokens.append(Token(text[start:place], False))
            word_before = False
            continue
        if not starts_run(place):
            place += 1
            while text[start] == "." and place < len(text) and text[place] == ".":
                place += 1
            tokens.append(Token(text[start:place], False))
            word_before = False
            continue
        while True:
            while starts_run(place):
                place += 1
            end = place
            while end < len(text) and end - place <= MOST_JOINING and not kinds[end] & (SPACE | WORD_CHARACTER):
                end += 1
            joins = 0 < end - place <= MOST_JOINING and starts_run(end) and not _separates(text, kinds, place, end)
            if not joins:
                break
            place = end
        word_before = True
        end = place
        while end < len(text) and kinds[end] & ATTACHED:
            end += 1
        if end > place and not is_word_character(end):
            place, word_before = end, False
        tokens.append(Token(text[start:place], True))
    return tokens


def _separates(text: str, kinds: list[int], start: int, end: int) -> bool:
    """Whether the characters between two runs of word characters, ``text[start:end]``, separate them."""
    character, before, after = text[start], kinds[start - 1], kinds[end]
    if character in SEPARATE_ALWAYS:
        return True
    if end - start > 1:
        return False
    if character in SEPARATE_LETTERS and before & LETTER and after & LETTER:
        return True
    if character in SEPARATE_BEFORE_LETTER and after & LETTER:
        return True
    if character in SEPARATE_NUMBERS and before & NUMBER and after & NUMBER:
        return True
    return character == "." and bool(before & LOWER) and bool(after & UPPER)


@numba.njit(cache=True, inline="always")
def decode(data: np.ndarray, place: int) -> tuple[Any, int]:
    """The code point at a place of valid UTF-8, and its bytes."""
    first = np.int64(data[place])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | (np.int64(data[place + 1]) & 0x3F), 2
    second = np.int64(data[place + 1]) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | second << 6 | (np.int64(data[place + 2]) & 0x3F), 3
    third = np.int64(data[place + 2]) & 0x3F
    return (first & 0x07) << 18 | second << 12 | third << 6 | (np.int64(data[place + 3]) & 0x3F), 4


@numba.njit(cache=True)
def _separates_compiled(character: int, count: int, before: int, after: int) -> bool:
    if character == 0x2014 or character == 0x2026:
        return True
    if count > 1:
        return False
    letters = before & LETTER != 0 and after & LETTER != 0
    if letters and (
        character == 0x2D or character == 0x2013 or character == 0x2010 or character == 0x7E or character == 0x2C
        or character == 0x28 or character == 0x29 or character == 0x5B or character == 0x5D
    ):  # fmt: skip
        return True
    if after & LETTER != 0 and (0x3C <= character <= 0x3E or character == 0x3A or character == 0x2F):
        return True
    numbers = before & NUMBER != 0 and after & NUMBER != 0
    if numbers and (character == 0x2D or character == 0x2B or character == 0x2A or character == 0x5E):
        return True
    return character == 0x2E and before & LOWER != 0 and after & UPPER != 0


_PLAIN_SYMBOLS = np.zeros(256, np.bool_)
_PLAIN_SYMBOLS[[ord(symbol) for symbol in "!\"#$%&'()*,.:;<=>?[]_`{}"]] = True


@numba.njit(cache=True)
def next_token(
    data: np.ndarray, place: int, end: int, kinds: np.ndarray, word_before: bool
) -> tuple[int, int, int, int, np.uint64]:
    """The token at or behind a place.

    Args:
      data: UTF-8 (uint8).
      place, end: where to look.
      kinds: ``classes()``.
      word_before: whether the token before ends at ``place`` in a word character.

    Returns:
      start, stop: its bytes; both ``end`` if there is none.
      flags: of ``WORD``, ``HAS_LETTER`` and ``ENDS_IN_WORD_CHARACTER``.
      characters: its code points.
      hash: of its bytes, to be mixed before it is used.
    """
    factor = np.uint64(MULTIPLIER)
    hashed = np.uint64(0)
    characters = 0
    # Most tokens of many languages: letters of ASCII up to a blank or a line's end, perhaps with a symbol before it.
    while place < end and (data[place] == 0x20 or data[place] == 0x0A):
        place, word_before = place + 1, False
    stop = place
    while stop < end and 0x61 <= data[stop] | 0x20 <= 0x7A:
        hashed = hashed * factor + np.uint64(data[stop]) + np.uint64(1)
        stop += 1
    if stop > place:
        behind = stop
        if stop < end and _PLAIN_SYMBOLS[data[stop]]:
            behind = stop + 1
        if behind == end or data[behind] == 0x20 or data[behind] == 0x0A:
            return place, stop, WORD | HAS_LETTER | ENDS_IN_WORD_CHARACTER, stop - place, hashed
    hashed = np.uint64(0)
    code, size, kind = 0, 0, 0
    while place < end:
        code, size = decode(data, place)
        kind = kinds[code]
        if kind & SPACE == 0:
            break
        word_before = False
        place += size
    if place >= end:
        return end, end, 0, 0, hashed
    start = place
    if kind & UNSPACED != 0:
        stop = place + size
        characters = 1
        while stop < end:
            code, size = decode(data, stop)
            if kinds[code] & MARK == 0:
                break
            stop += size
            characters += 1
        for i in range(start, stop):
            hashed = hashed * factor + np.uint64(data[i]) + np.uint64(1)
        return start, stop, WORD | HAS_LETTER | ENDS_IN_WORD_CHARACTER, characters, hashed
    while kind & ATTACHED != 0:
        place += size
        characters += 1
        kind = 0
        if place < end:
            code, size = decode(data, place)
            kind = kinds[code]
    in_run = kind & WORD_CHARACTER != 0 and kind & UNSPACED == 0
    if place > start and (word_before or not in_run):
        for i in range(start, place):
            hashed = hashed * factor + np.uint64(data[i]) + np.uint64(1)
        return start, place, 0, characters, hashed
    if not in_run:
        place += size
        characters = 1
        if code == 0x2E:
            while place < end and data[place] == 0x2E:
                place += 1
                characters += 1
        for i in range(start, place):
            hashed = hashed * factor + np.uint64(data[i]) + np.uint64(1)
        return start, place, 0, characters, hashed
    flags = WORD
    before = 0
    while True:
        while kind & WORD_CHARACTER != 0 and kind & UNSPACED == 0:
            if kind & (LETTER | MARK) == LETTER:
                flags |= HAS_LETTER
            before = kind
            place += size
            characters += 1
            kind = 0
            if place < end:
                code, size = decode(data, place)
                kind = kinds[code]
            else:
                break
        if place >= end or kind & (SPACE | WORD_CHARACTER) != 0:
            break
        first = code
        ahead, count = place, 0
        while ahead < end and count <= MOST_JOINING:
            code, size = decode(data, ahead)
            kind = kinds[code]
            if kind & (SPACE | WORD_CHARACTER) != 0:
                break
            ahead += size
            count += 1
        if ahead >= end or count > MOST_JOINING or kind & WORD_CHARACTER == 0 or kind & UNSPACED != 0:
            break
        if _separates_compiled(first, count, before, kind):
            break
        place = ahead
        characters += count
    ends_in_word_character = ENDS_IN_WORD_CHARACTER
    ahead, count, kind = place, 0, 0
    while ahead < end:
        code, size = decode(data, ahead)
        kind = kinds[code]
        if kind & ATTACHED == 0:
            break
        kind = 0
        ahead += size
        count += 1
    if count > 0 and kind & WORD_CHARACTER == 0:
        place = ahead
        characters += count
        ends_in_word_character = 0
    for i in range(start, place):
        hashed = hashed * factor + np.uint64(data[i]) + np.uint64(1)
    return start, place, flags | ends_in_word_character, characters, hashed


@numba.njit(cache=True)
def _fill(
    data: np.ndarray, place: int, end: int, kinds: np.ndarray, word_before: bool, hashes: np.ndarray,
    lengths: np.ndarray, flags: np.ndarray, count: int,
) -> tuple[int, bool, int]:  # fmt: skip
    """Fills the arrays with tokens until the text ends, or they are full; returns where it stands."""
    while count < len(hashes):
        start, stop, these, characters, hashed = next_token(data, place, end, kinds, word_before)
        if start >= end:
            return end, False, count
        hashes[count], lengths[count], flags[count] = hashed, characters, these
        count += 1
        place, word_before = stop, these & ENDS_IN_WORD_CHARACTER != 0
    return place, word_before, count


@numba.njit(cache=True)
def collect_tokens(
    data: np.ndarray, begin: int, end: int, kinds: np.ndarray, hashes: np.ndarray, lengths: np.ndarray,
    flags: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:  # fmt: skip
    """The tokens of a text: hash, code points and flags of each, and how many there are.

    Args:
      hashes, lengths, flags: uint64, uint32 and uint8 arrays of one length, to be filled if they are long enough.
    """
    count, place, word_before = 0, begin, False
    while True:
        place, word_before, count = _fill(data, place, end, kinds, word_before, hashes, lengths, flags, count)
        if place >= end:
            return hashes, lengths, flags, count
        hashes = np.concatenate((hashes, np.empty(count, np.uint64)))
        lengths = np.concatenate((lengths, np.empty(count, np.uint32)))
        flags = np.concatenate((flags, np.empty(count, np.uint8)))


@numba.njit(cache=True)
def cut(data: np.ndarray, begin: int, end: int, kinds: np.ndarray) -> np.ndarray:
    """The tokens of a text: int64[tokens, 3], start and stop in ``data`` and flags."""
    found = np.empty((end - begin + 1, 3), np.int64)
    count, place, word_before = 0, begin, False
    while True:
        start, stop, flags, _, _ = next_token(data, place, end, kinds, word_before)
        if start >= end:
            return found[:count].copy()
        found[count, 0], found[count, 1], found[count, 2] = start, stop, flags
        count += 1
        place, word_before = stop, flags & ENDS_IN_WORD_CHARACTER != 0


def tokens(text: str) -> list[Token]:
    """The tokens of a text, by the compiled cutter."""
    encoded = text.encode()
    data = np.frombuffer(encoded, np.uint8) if encoded else np.zeros(0, np.uint8)
    return [
        Token(encoded[start:stop].decode(), bool(flags & WORD))
        for start, stop, flags in cut(data, 0, len(encoded), classes()).tolist()
    ]
