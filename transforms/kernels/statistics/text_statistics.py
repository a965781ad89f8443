"""Statistics of texts on which the published quality rules decide: one walk over the UTF-8 of a batch.

Every statistic is a whole number, so that a rule can form its ratios from stored attributes
(``docs/rules.md`` has the rules). Lines end with ``\\n``; words are those of ``transforms.kernels.statistics.words``.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from transforms.kernels.deduplication.folding import CODE_POINTS, MULTIPLIER
from transforms.kernels.statistics.repetition import measure_tokens
from transforms.kernels.statistics.sets import seen_before, table_for
from transforms.kernels.statistics.words import (
    HAS_LETTER,
    LETTER,
    NUMBER,
    SPACE,
    UPPER,
    WORD,
    collect_tokens,
    decode,
)

STATISTICS = {
    "characters": "code points",
    "words": "words",
    "symbols": "tokens that are no words",
    "word_characters": "code points of all words",
    "letter_words": "words with a letter",
    "stop_words": "how many of the eight stop words of Gopher occur: the, be, to, of, and, that, have, with",
    "hashes": "characters #",
    "ellipses": "... and …, counted as str.count does",
    "letters": "letters and marks",
    "uppercase": "capital letters",
    "digits": "numbers (general category N)",
    "newlines": "characters \\n",
    "lines": "lines; a last one without \\n counts if it isn't empty",
    "bullet_lines": "lines whose first characters but white space are • or -",
    "ellipsis_lines": "lines that end in ... or …, white space apart",
    "filled_lines": "lines that aren't only white space",
    "terminal_lines": "of these, lines whose last character ends a sentence",
    "short_lines": "of these, lines of at most 30 characters",
    "duplicate_filled_characters": "characters of the filled lines that have occurred before",
    "separate_lines": "lines where runs of \\n separate them, as Gopher counts for repetition",
    "duplicate_lines": "of these, lines that have occurred before",
    "duplicate_line_characters": "the characters of those",
    "paragraphs": "paragraphs: what two or more \\n separate, white space at the ends of the text apart",
    "duplicate_paragraphs": "paragraphs that have occurred before",
    "duplicate_paragraph_characters": "the characters of those",
}
"""The statistics of a text, each a whole number, and what they count."""

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
SHORT_LINE = 30

(
    CHARACTERS, WORDS, SYMBOLS, WORD_CHARACTERS, LETTER_WORDS, STOPS, HASHES, ELLIPSES, LETTERS, UPPERCASE, DIGITS,
    NEWLINES, LINES, BULLET_LINES, ELLIPSIS_LINES, FILLED_LINES, TERMINAL_LINES, SHORT_LINES, DUPLICATE_FILLED,
    SEPARATE_LINES, DUPLICATE_LINES, DUPLICATE_LINE_CHARACTERS, PARAGRAPHS, DUPLICATE_PARAGRAPHS,
    DUPLICATE_PARAGRAPH_CHARACTERS,
) = range(len(STATISTICS))  # fmt: skip

_TERMINAL_RANGES = (
    (0x21, 0x21), (0x2E, 0x2E), (0x3F, 0x3F), (0x589, 0x589), (0x61D, 0x61F), (0x6D4, 0x6D4), (0x700, 0x702),
    (0x7F9, 0x7F9), (0x837, 0x837), (0x839, 0x839), (0x83D, 0x83E), (0x964, 0x965), (0x104A, 0x104B), (0x1362, 0x1362),
    (0x1367, 0x1368), (0x166E, 0x166E), (0x1735, 0x1736), (0x17D4, 0x17D6), (0x17D9, 0x17DA), (0x1803, 0x1803),
    (0x1809, 0x1809), (0x1944, 0x1945), (0x1AA8, 0x1AAB), (0x1B5A, 0x1B5B), (0x1B5E, 0x1B5F), (0x1B7D, 0x1B7E),
    (0x1C3B, 0x1C3C), (0x1C7E, 0x1C7F), (0x203C, 0x203D), (0x2047, 0x2049), (0x2E2E, 0x2E2E), (0x2E3C, 0x2E3C),
    (0x2E53, 0x2E54), (0x3002, 0x3002), (0xA4FF, 0xA4FF), (0xA60E, 0xA60F), (0xA6F3, 0xA6F3), (0xA6F7, 0xA6F7),
    (0xA876, 0xA877), (0xA8CE, 0xA8CF), (0xA92F, 0xA92F), (0xA9C8, 0xA9C9), (0xAA5D, 0xAA5F), (0xAAF0, 0xAAF1),
    (0xABEB, 0xABEB), (0xFE52, 0xFE52), (0xFE56, 0xFE57), (0xFF01, 0xFF01), (0xFF0E, 0xFF0E), (0xFF1F, 0xFF1F),
    (0xFF61, 0xFF61), (0x10A56, 0x10A57), (0x10F55, 0x10F59), (0x10F86, 0x10F89), (0x11047, 0x11048),
    (0x110BE, 0x110C1), (0x11141, 0x11143), (0x111C5, 0x111C6), (0x111CD, 0x111CD), (0x111DE, 0x111DF),
    (0x11238, 0x11239), (0x1123B, 0x1123C), (0x112A9, 0x112A9), (0x1144B, 0x1144C), (0x115C2, 0x115C3),
    (0x115C9, 0x115D7), (0x11641, 0x11642), (0x1173C, 0x1173E), (0x11944, 0x11944), (0x11946, 0x11946),
    (0x11A42, 0x11A43), (0x11A9B, 0x11A9C), (0x11C41, 0x11C42), (0x11EF7, 0x11EF8), (0x11F43, 0x11F44),
    (0x16A6E, 0x16A6F), (0x16AF5, 0x16AF5), (0x16B37, 0x16B38), (0x16B44, 0x16B44), (0x16E98, 0x16E98),
    (0x1BC9F, 0x1BC9F), (0x1DA88, 0x1DA88),
)  # fmt: skip
TERMINAL = frozenset(chr(code_point) for first, last in _TERMINAL_RANGES for code_point in range(first, last + 1))
"""Characters with which a sentence ends: Unicode's Sentence_Terminal and its like, as FineWeb's rule has them."""


@functools.cache
def terminal_table() -> np.ndarray:
    """Whether each code point is in ``TERMINAL`` (bool[0x110000])."""
    table = np.zeros(CODE_POINTS, np.bool_)
    for first, last in _TERMINAL_RANGES:
        table[first : last + 1] = True
    table.flags.writeable = False
    return table


def word_hash(word: str) -> int:
    """The hash that ``next_token`` gives a word."""
    hashed = 0
    for byte in word.encode():
        hashed = (hashed * MULTIPLIER + byte + 1) & 0xFFFFFFFFFFFFFFFF
    return hashed


@numba.njit(cache=True)
def trimmed(data: np.ndarray, begin: int, end: int, kinds: np.ndarray) -> tuple[int, int]:
    """Where a text begins and ends without the white space at its ends."""
    while begin < end:
        code, size = decode(data, begin)
        if kinds[code] & SPACE == 0:
            break
        begin += size
    while end > begin:
        last = end - 1
        while data[last] & 0xC0 == 0x80:
            last -= 1
        code, _ = decode(data, last)
        if kinds[code] & SPACE == 0:
            break
        end = last
    return begin, end


@numba.njit(cache=True)
def _count_filled(
    data: np.ndarray, lead: int, tail: int, end: int, length: int, terminal: np.ndarray, out: np.ndarray
) -> None:
    """The statistics of a line with more than white space: it ends at ``end``, without white space at ``tail``."""
    first, _ = decode(data, lead)
    out[BULLET_LINES] += first == 0x2D or first == 0x2022
    dots = tail - lead >= 3 and data[tail - 1] == 0x2E and data[tail - 2] == 0x2E and data[tail - 3] == 0x2E
    one = tail - lead >= 3 and data[tail - 1] == 0xA6 and data[tail - 2] == 0x80 and data[tail - 3] == 0xE2
    out[ELLIPSIS_LINES] += dots or one
    out[FILLED_LINES] += 1
    last = end - 1
    while data[last] & 0xC0 == 0x80:
        last -= 1
    code, _ = decode(data, last)
    out[TERMINAL_LINES] += terminal[code]
    out[SHORT_LINES] += length <= SHORT_LINE


@numba.njit(cache=True)
def _count_lines(
    data: np.ndarray, begin: int, end: int, kinds: np.ndarray, terminal: np.ndarray, table: np.ndarray,
    mask: np.uint64, out: np.ndarray,
) -> None:  # fmt: skip
    """All statistics of a text that are of its characters and lines."""
    factor = np.uint64(MULTIPLIER)
    place, hashed = begin, np.uint64(0)
    length = letters = uppercase = digits = hashes = dots = ellipses = characters = 0
    line = begin
    while True:
        if place < end:
            code, size = decode(data, place)
        else:
            code, size = 0x0A, 0
        if code == 0x0A:
            if size > 0:
                out[NEWLINES] += 1
                out[LINES] += 1
                characters += 1
            elif length > 0:
                out[LINES] += 1
            if length > 0:
                lead, tail = trimmed(data, line, place, kinds)
                out[SEPARATE_LINES] += 1
                duplicate = seen_before(table, mask, hashed)
                if duplicate:
                    out[DUPLICATE_LINES] += 1
                    out[DUPLICATE_LINE_CHARACTERS] += length
                if lead < tail:
                    _count_filled(data, lead, tail, place, length, terminal, out)
                    out[DUPLICATE_FILLED] += length if duplicate else 0
            ellipses += dots // 3
            characters += length
            hashed = np.uint64(0)
            length = dots = 0
            if size == 0:
                break
            place += 1
            line = place
            continue
        kind = kinds[code]
        length += 1
        letters += kind & LETTER
        digits += (kind & NUMBER) >> 1
        uppercase += (kind & UPPER) >> 2
        if code == 0x2E:
            dots += 1
        elif dots > 0:
            ellipses += dots // 3
            dots = 0
        hashes += code == 0x23
        ellipses += code == 0x2026
        for i in range(place, place + size):
            hashed = hashed * factor + np.uint64(data[i]) + np.uint64(1)
        place += size
    # Runs of newlines at the ends of a text have an empty line on their outer side.
    outer = 0
    if begin == end or data[begin] == 0x0A:
        outer += 1
    if end > begin and data[end - 1] == 0x0A:
        outer += 1
    out[SEPARATE_LINES] += outer
    out[DUPLICATE_LINES] += outer == 2
    out[CHARACTERS], out[LETTERS], out[UPPERCASE], out[DIGITS] = characters, letters, uppercase, digits
    out[HASHES], out[ELLIPSES] = hashes, ellipses


@numba.njit(cache=True)
def _count_paragraphs(
    data: np.ndarray, begin: int, end: int, table: np.ndarray, mask: np.uint64, out: np.ndarray
) -> None:
    """The statistics of a trimmed text that are of its paragraphs."""
    factor = np.uint64(MULTIPLIER)
    hashed, length, place = np.uint64(0), 0, begin
    while True:
        newlines = 0
        while place < end and data[place] == 0x0A:
            newlines += 1
            place += 1
        if newlines >= 2 or place >= end:
            out[PARAGRAPHS] += 1
            if seen_before(table, mask, hashed):
                out[DUPLICATE_PARAGRAPHS] += 1
                out[DUPLICATE_PARAGRAPH_CHARACTERS] += length
            hashed, length = np.uint64(0), 0
            if place >= end:
                return
        elif newlines == 1:
            hashed = hashed * factor + np.uint64(0x0B)
            length += 1
        while place < end and data[place] != 0x0A:
            hashed = hashed * factor + np.uint64(data[place]) + np.uint64(1)
            length += data[place] & 0xC0 != 0x80
            place += 1


@numba.njit(cache=True)
def _count_words(
    hashes: np.ndarray, lengths: np.ndarray, flags: np.ndarray, count: int, stop_words: np.ndarray, out: np.ndarray
) -> None:
    """The statistics of a text that are of its tokens."""
    words = word_characters = letter_words = stops = 0
    for i in range(count):
        if flags[i] & WORD == 0:
            continue
        words += 1
        word_characters += lengths[i]
        letter_words += flags[i] & HAS_LETTER != 0
        if lengths[i] <= 4:
            for k in range(len(stop_words)):
                if stop_words[k] == hashes[i]:
                    stops |= 1 << k
    out[WORDS], out[SYMBOLS] = words, count - words
    out[WORD_CHARACTERS], out[LETTER_WORDS] = word_characters, letter_words
    while stops:
        out[STOPS] += stops & 1
        stops >>= 1


@numba.njit(cache=True)
def count_texts(
    data: np.ndarray, offsets: np.ndarray, kinds: np.ndarray, terminal: np.ndarray, stop_words: np.ndarray,
    out: np.ndarray, figures: np.ndarray,
) -> None:  # fmt: skip
    """Fills uint32[texts, statistics] with the statistics of each text; ``out`` must be 0.

    Needs 16 to 32 bytes for each line of the longest text and 13 to 26 for each of its tokens.

    Args:
      figures: uint32[texts, figures] of 0, to be filled as by ``repetition.measure_texts``; of no text: not wanted.
    """
    hashes, lengths, flags = np.empty(1024, np.uint64), np.empty(1024, np.uint32), np.empty(1024, np.uint8)
    table = np.empty(1024, np.uint64)
    for text in range(len(offsets) - 1):
        begin, end = offsets[text], offsets[text + 1]
        newlines = 0
        for i in range(begin, end):
            newlines += data[i] == 0x0A
        table, mask = table_for(newlines + 1, table)
        _count_lines(data, begin, end, kinds, terminal, table, mask, out[text])
        first, last = trimmed(data, begin, end, kinds)
        table, mask = table_for(newlines + 1, table)
        _count_paragraphs(data, first, last, table, mask, out[text])
        hashes, lengths, flags, count = collect_tokens(data, begin, end, kinds, hashes, lengths, flags)
        _count_words(hashes, lengths, flags, count, stop_words, out[text])
        if len(figures) > 0:
            measure_tokens(hashes, lengths, count, table, figures[text])


STOP_HASHES = np.array([word_hash(word) for word in STOP_WORDS], np.uint64)
