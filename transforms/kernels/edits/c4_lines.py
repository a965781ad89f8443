"""C4's rules on lines (Raffel et al. 2019): which lines stay, what they lose, and how many sentences are left.

Lines end with ``\\n``. White space at the ends of a line goes, and so do citations in brackets (``[12]``, ``[edit]``,
``[citation needed]``). A line goes if it has a word of over ``max_word_length`` characters, doesn't end in ``. ? ! "
'`` or ends in ``...`` (where ``terminal_punctuation`` is wanted), has fewer than ``min_words`` words, says
"javascript", or says one of ``PHRASES``. Words are what white space separates, small and capital letters of ASCII are
alike.

A **sentence** of a line ends with a run of characters of ``TERMINAL`` and of closing quotes and brackets that white
space or the line's end follows, or that has a full-width one; what stands behind the last one is a sentence, too.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from transforms.kernels.deduplication.folding import CODE_POINTS
from transforms.kernels.statistics.text_statistics import TERMINAL
from transforms.kernels.statistics.words import NUMBER, SPACE, class_of, classes, decode

PHRASES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
LOREM_IPSUM, JAVASCRIPT = "lorem ipsum", "javascript"
ENDS = (".", "?", "!", '"', "'")
CITATIONS = ("[edit]", "[citation needed]")
CLOSING = "\"'”’»)]}"

SENTENCES, HAS_LOREM_IPSUM, HAS_CURLY_BRACKET = range(3)
FIGURES = 3

_ENDS, _TERMINAL, _CLOSING, _WIDE = 1, 2, 4, 8


class C4Text(NamedTuple):
    """What the rules leave of a text: the text, its sentences, and whether a line has the words or the bracket."""

    text: str
    sentences: int
    lorem_ipsum: bool
    curly_bracket: bool


def c4_reference(
    text: str, terminal_punctuation: bool = True, min_words: int = 3, max_word_length: int = 1000
) -> C4Text:
    """What the rules make of a text: slow and obvious."""
    kept = []
    sentences, lorem_ipsum, curly_bracket = 0, False, False
    for given in text.split("\n"):
        line = _without_citations(given).strip()
        words = line.split()
        if any(len(word) > max_word_length for word in words) or len(words) < min_words or not words:
            continue
        if terminal_punctuation and (not line.endswith(ENDS) or line.endswith("...")):
            continue
        lower = "".join(character.lower() if character.isascii() else character for character in line)
        lorem_ipsum = lorem_ipsum or LOREM_IPSUM in lower
        if JAVASCRIPT in lower:
            continue
        curly_bracket = curly_bracket or "{" in line
        if any(phrase in lower for phrase in PHRASES):
            continue
        kept.append(line)
        sentences += _sentences(line)
    return C4Text("\n".join(kept), sentences, lorem_ipsum, curly_bracket)


def _without_citations(line: str) -> str:
    """The line without citations, those included that only appear when another goes."""
    left = ""
    for character in line:
        left += character
        if character == "]":
            start = left.rfind("[")
            inner = left[start + 1 : -1]
            numbers = all(class_of(each) & NUMBER for each in inner)
            if start >= 0 and (numbers or left.endswith(CITATIONS)):
                left = left[:start]
    return left


def _sentences(line: str) -> int:
    count, place, rest = 0, 0, False
    while place < len(line):
        if line[place] not in TERMINAL:
            rest = rest or not line[place].isspace()
            place += 1
            continue
        wide = False
        while place < len(line) and line[place] in (*TERMINAL, *CLOSING):
            wide = wide or (ord(line[place]) >= 0x3000 and line[place] in TERMINAL)
            place += 1
        ends = wide or place == len(line) or line[place].isspace()
        count += ends
        rest = not ends
    return count + rest


@functools.cache
def line_classes() -> np.ndarray:
    """What each code point is at the end of a line or sentence (uint8[0x110000])."""
    table = np.zeros(CODE_POINTS, np.uint8)
    for bit, characters in ((_ENDS, ENDS), (_TERMINAL, TERMINAL), (_CLOSING, CLOSING)):
        for character in characters:
            table[ord(character)] |= bit
    for character in TERMINAL:
        if ord(character) >= 0x3000:
            table[ord(character)] |= _WIDE
    table.flags.writeable = False
    return table


@numba.njit(cache=True)
def found_phrases(data: np.ndarray, start: int, end: int, phrases: tuple[np.ndarray, ...], firsts: np.ndarray) -> int:
    """Which phrases some bytes contain, one bit each; the letters of ASCII folded to small ones.

    ``firsts`` (int64[3, 256]) has for each of the first three bytes which phrases have it there.
    """
    found = 0
    for place in range(start, end - 2):
        candidates = firsts[0, data[place]]
        if candidates == 0:
            continue
        candidates &= firsts[1, data[place + 1]] & firsts[2, data[place + 2]] & ~found
        if candidates == 0:
            continue
        for k in range(len(phrases)):
            wanted = phrases[k]
            if candidates >> k & 1 == 0 or end - place < len(wanted):
                continue
            same = 3
            while same < len(wanted):
                byte = data[place + same]
                if 0x41 <= byte <= 0x5A:
                    byte |= 0x20
                if byte != wanted[same]:
                    break
                same += 1
            if same == len(wanted):
                found |= 1 << k
    return found


@numba.njit(cache=True)
def _ends_with(data: np.ndarray, start: int, end: int, wanted: np.ndarray) -> bool:
    if end - start < len(wanted):
        return False
    for k in range(len(wanted)):  # noqa: SIM110 - numba compiles the loop
        if data[end - len(wanted) + k] != wanted[k]:
            return False
    return True


@numba.njit(cache=True)
def _copy_without_citations(
    data: np.ndarray, start: int, end: int, kinds: np.ndarray, edit: np.ndarray, needed: np.ndarray, out: np.ndarray,
    to: int,
) -> int:  # fmt: skip
    """Copies a line without its citations to ``out[to:]``; returns where it ends there."""
    place = to
    for i in range(start, end):
        out[place] = data[i]
        place += 1
        if data[i] != 0x5D:
            continue
        if _ends_with(out, to, place, edit):
            place -= len(edit)
        elif _ends_with(out, to, place, needed):
            place -= len(needed)
        else:
            back = place - 1
            while back > to:
                first = back - 1
                while first > to and out[first] & 0xC0 == 0x80:
                    first -= 1
                code, _ = decode(out, first)
                if kinds[code] & NUMBER == 0:
                    if code == 0x5B:
                        place = first
                    break
                back = first
    return place


@numba.njit(cache=True)
def _sentences_compiled(data: np.ndarray, start: int, end: int, kinds: np.ndarray, ends: np.ndarray) -> int:
    count, place, rest = 0, start, False
    while place < end:
        code, size = decode(data, place)
        if ends[code] & _TERMINAL == 0:
            rest = rest or kinds[code] & SPACE == 0
            place += size
            continue
        wide = 0
        while place < end:
            code, size = decode(data, place)
            if ends[code] & (_TERMINAL | _CLOSING) == 0:
                break
            wide |= ends[code] & _WIDE
            place += size
        closed = wide != 0 or place >= end or kinds[code] & SPACE != 0
        count += closed
        rest = not closed
    return count + rest


@numba.njit(cache=True)
def _kept_lines(
    data: np.ndarray, offsets: np.ndarray, kinds: np.ndarray, ends: np.ndarray, phrases: tuple[np.ndarray, ...],
    firsts: np.ndarray, citations: tuple[np.ndarray, ...], terminal_punctuation: bool, min_words: int,
    max_word_length: int, out: np.ndarray, out_offsets: np.ndarray, figures: np.ndarray,
) -> None:  # fmt: skip
    """Fills ``out``, ``out_offsets`` and ``figures`` with what ``kept_lines`` returns."""
    to = 0
    out_offsets[0] = 0
    for text in range(len(offsets) - 1):
        begin, end = offsets[text], offsets[text + 1]
        first = True
        while begin <= end:
            stop, brackets = begin, 0
            while stop < end and data[stop] != 0x0A:
                brackets += data[stop] == 0x5D
                stop += 1
            # The line goes behind the one before, with a byte for the \n between them.
            start = to + (not first)
            last = start + stop - begin
            if brackets > 0:
                last = _copy_without_citations(data, begin, stop, kinds, citations[0], citations[1], out, start)
            else:
                for i in range(begin, stop):
                    out[start + i - begin] = data[i]
            begin = stop + 1
            words = length = longest = curly = 0
            lead = tail = ending = last
            place = start
            while place < last:
                code, size = decode(out, place)
                if kinds[code] & SPACE != 0:
                    length = 0
                else:
                    lead = min(lead, place)
                    tail, ending = place + size, code
                    words += length == 0
                    length += 1
                    longest = max(longest, length)
                    curly |= code == 0x7B
                place += size
            if words == 0 or words < min_words or longest > max_word_length:
                continue
            dots = tail - lead >= 3 and out[tail - 1] == 0x2E and out[tail - 2] == 0x2E and out[tail - 3] == 0x2E
            if terminal_punctuation and (ends[ending] & _ENDS == 0 or dots):
                continue
            found = found_phrases(out, lead, tail, phrases, firsts)
            figures[text, HAS_LOREM_IPSUM] |= found & 1
            if found & 2 != 0:
                continue
            figures[text, HAS_CURLY_BRACKET] |= curly
            if found >> 2 != 0:
                continue
            if lead > start:
                for i in range(tail - lead):
                    out[start + i] = out[lead + i]
                tail -= lead - start
            figures[text, SENTENCES] += _sentences_compiled(out, start, tail, kinds, ends)
            if not first:
                out[to] = 0x0A
            first = False
            to = tail
        out_offsets[text + 1] = to


def _encoded(phrases: Sequence[str]) -> tuple[np.ndarray, ...]:
    return tuple(np.frombuffer(phrase.encode(), np.uint8) for phrase in phrases)


_PHRASES = _encoded((LOREM_IPSUM, JAVASCRIPT, *PHRASES))
_FIRSTS = np.zeros((3, 256), np.int64)
for _place, _phrase in enumerate(_PHRASES):
    for _at in range(3):
        _FIRSTS[_at, [int(_phrase[_at]), int(_phrase[_at]) - 0x20]] |= 1 << _place


def kept_lines(
    data: np.ndarray, offsets: np.ndarray, terminal_punctuation: bool = True, min_words: int = 3,
    max_word_length: int = 1000,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """What the rules leave of texts as UTF-8: uint8[bytes], int64[texts + 1], and uint32[texts, FIGURES]."""
    out = np.empty(offsets[-1] - offsets[0] + 1, np.uint8)
    out_offsets = np.empty(len(offsets), np.int64)
    figures = np.zeros((len(offsets) - 1, FIGURES), np.uint32)
    _kept_lines(
        data, offsets, classes(), line_classes(), _PHRASES, _FIRSTS, _encoded(CITATIONS), terminal_punctuation,
        min_words, max_word_length, out, out_offsets, figures,
    )  # fmt: skip
    return out, out_offsets, figures
