"""DCLM's rules on lines (Li et al. 2024, as in mlfoundations/dclm, dclm_baseline_refinedweb.yaml), in one walk.

Each line is judged without the white space at its ends; an empty line stays. A line goes

- if more than half of its characters are capital letters, or all of them are numbers;
- if it is a counter, such as "12 likes" or "3.4k Comments!";
- if it has fewer than two words (what white space separates);
- if nothing is left of it: of a line of at most ten words go "items in cart", "Read more" and the three characters
behind
  it at its end, and "Sign-in" at its beginning, with a white space before or behind them.

What is left of a line is judged again until nothing more goes, so that doing it twice changes nothing. White space at
the ends of the text goes, too.
"""

from __future__ import annotations

import re

import numba
import numpy as np

from transforms.kernels.statistics.text_statistics import trimmed
from transforms.kernels.statistics.words import (
    ENDS_IN_WORD_CHARACTER,
    NUMBER,
    SPACE,
    UPPER,
    WORD,
    WORD_CHARACTER,
    class_of,
    classes,
    decode,
    next_token,
    tokens_reference,
)

COUNTED = (
    "likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks", "upvotes", "downvotes", "downloads",
    "views", "followers",
)  # fmt: skip
MOST_WORDS = 10
PHRASES = (r"\s?items in cart", r"\s?read more...\Z", r"\Asign-in\s?")


def dclm_reference(text: str) -> tuple[str, int]:
    """What the rules leave of a text, and how many words (``words``) go: slow and obvious."""
    kept, removed = [], 0
    for line in text.split("\n"):
        left = _line_reference(line.strip()) if line else ""
        if left is None or left != line.strip():
            removed += _words(line) - _words(left or "")
        if left == line.strip():
            kept.append(line)
        elif left:
            kept.append(left)
    return "\n".join(kept).strip(), removed


def _words(line: str) -> int:
    return sum(token.is_word for token in tokens_reference(line))


def _line_reference(line: str) -> str | None:
    """What is left of a line without white space at its ends; None if it goes."""
    while line:
        kinds = [class_of(character) for character in line]
        if sum(bool(kind & UPPER) for kind in kinds) * 2 > len(line) or all(kind & NUMBER for kind in kinds):
            return None
        words = line.split()
        if len(words) < 2 or _is_counter(line, kinds):
            return None
        if len(words) > MOST_WORDS:
            return line
        left = line
        for phrase in PHRASES:
            left = _without(phrase, left)
        left = left.strip()
        if left == line:
            return line
        line = left
    return None


def _without(phrase: str, line: str) -> str:
    """The line without what a pattern finds, in which small and capital letters of ASCII are alike."""
    lower = "".join(character.lower() if character.isascii() else character for character in line)
    left, end = "", 0
    for found in re.finditer(phrase, lower):
        left += line[end : found.start()]
        end = found.end()
    return left + line[end:]


def _is_counter(line: str, kinds: list[int]) -> bool:
    """Whether a line is a number, perhaps with K, M or B, white space, and a word of ``COUNTED``."""
    inner = [place for place, kind in enumerate(kinds) if kind & WORD_CHARACTER or line[place] == "_"]
    core = line[inner[0] : inner[-1] + 1] if inner else ""
    found = re.fullmatch(r"[0-9][0-9.,]*[kmbKMB]?\s+([a-zA-Z]+)", core)
    return found is not None and found[1].lower() in COUNTED


@numba.njit(cache=True)
def _same(data: np.ndarray, place: int, end: int, wanted: np.ndarray) -> bool:
    """Whether small letters of ASCII stand at a place, as small ones or capital ones."""
    if end - place < len(wanted):
        return False
    for k in range(len(wanted)):
        byte = data[place + k]
        if 0x41 <= byte <= 0x5A:
            byte |= 0x20
        if byte != wanted[k]:
            return False
    return True


@numba.njit(cache=True)
def _before(data: np.ndarray, start: int, end: int) -> int:
    """Where the character before ``end`` begins."""
    place = end - 1
    while place > start and data[place] & 0xC0 == 0x80:
        place -= 1
    return place


@numba.njit(cache=True)
def _is_counter_compiled(
    data: np.ndarray, start: int, end: int, kinds: np.ndarray, counted: tuple[np.ndarray, ...]
) -> bool:
    place = start
    while place < end:
        code, size = decode(data, place)
        if kinds[code] & WORD_CHARACTER != 0 or code == 0x5F:
            break
        place += size
    if place >= end or not 0x30 <= data[place] <= 0x39:
        return False
    while place < end and (0x30 <= data[place] <= 0x39 or data[place] == 0x2E or data[place] == 0x2C):
        place += 1
    if place < end and (data[place] | 0x20 == 0x6B or data[place] | 0x20 == 0x6D or data[place] | 0x20 == 0x62):
        place += 1
    spaces = 0
    while place < end:
        code, size = decode(data, place)
        if kinds[code] & SPACE == 0:
            break
        spaces += 1
        place += size
    if spaces == 0:
        return False
    found = False
    for k in range(len(counted)):
        if _same(data, place, end, counted[k]):
            found = True
            place += len(counted[k])
            break
    while found and place < end:
        code, size = decode(data, place)
        found = kinds[code] & WORD_CHARACTER == 0 and code != 0x5F
        place += size
    return found


@numba.njit(cache=True)
def _without_phrases(data: np.ndarray, start: int, end: int, kinds: np.ndarray, phrases: tuple[np.ndarray, ...]) -> int:
    """Takes the stock phrases out of a line in place; returns where it ends."""
    to = place = start
    while place < end:
        size = 0
        code, width = decode(data, place)
        if _same(data, place, end, phrases[0]):
            size = len(phrases[0])
        elif kinds[code] & SPACE != 0 and _same(data, place + width, end, phrases[0]):
            size = width + len(phrases[0])
        if size > 0:
            place += size
            continue
        data[to] = data[place]
        to, place = to + 1, place + 1
        while place < end and data[place] & 0xC0 == 0x80:
            data[to] = data[place]
            to, place = to + 1, place + 1
    end = to
    three = end
    for _ in range(3):
        if three > start:
            three = _before(data, start, three)
    tail = three - len(phrases[1])
    if end > start and tail >= start and _same(data, tail, three, phrases[1]):
        end = tail
        if end > start:
            before = _before(data, start, end)
            code, _ = decode(data, before)
            if kinds[code] & SPACE != 0:
                end = before
    if _same(data, start, end, phrases[2]):
        size = len(phrases[2])
        if start + size < end:
            code, width = decode(data, start + size)
            size += width if kinds[code] & SPACE != 0 else 0
        for i in range(start + size, end):
            data[i - size] = data[i]
        end -= size
    return end


@numba.njit(cache=True)
def _words_compiled(data: np.ndarray, start: int, end: int, kinds: np.ndarray) -> int:
    words, place, word_before = 0, start, False
    while True:
        begin, stop, flags, _, _ = next_token(data, place, end, kinds, word_before)
        if begin >= end:
            return words
        words += flags & WORD
        place, word_before = stop, flags & ENDS_IN_WORD_CHARACTER != 0


@numba.njit(cache=True)
def _left_of_line(
    data: np.ndarray, start: int, end: int, kinds: np.ndarray, phrases: tuple[np.ndarray, ...],
    counted: tuple[np.ndarray, ...],
) -> int:  # fmt: skip
    """Edits a line without white space at its ends in place; returns where it ends, ``start`` if it goes."""
    while end > start:
        characters = uppercase = numbers = words = 0
        in_word = False
        place = start
        while place < end:
            code, size = decode(data, place)
            kind = kinds[code]
            characters += 1
            uppercase += kind & UPPER != 0
            numbers += kind & NUMBER != 0
            words += kind & SPACE == 0 and not in_word
            in_word = kind & SPACE == 0
            place += size
        if uppercase * 2 > characters or numbers == characters or words < 2:
            return start
        if words > MOST_WORDS and numbers == 0:
            return end
        if numbers > 0 and _is_counter_compiled(data, start, end, kinds, counted):
            return start
        if words > MOST_WORDS:
            return end
        left = _without_phrases(data, start, end, kinds, phrases)
        if left == end:
            return end
        first, end = trimmed(data, start, left, kinds)
        for i in range(first, end):
            data[start + i - first] = data[i]
        end -= first - start
    return start


@numba.njit(cache=True)
def _kept_lines(
    data: np.ndarray, offsets: np.ndarray, kinds: np.ndarray, phrases: tuple[np.ndarray, ...],
    counted: tuple[np.ndarray, ...], out: np.ndarray, out_offsets: np.ndarray, removed: np.ndarray,
) -> None:  # fmt: skip
    """Fills the last three with what ``kept_lines`` returns."""
    to = 0
    out_offsets[0] = 0
    for text in range(len(offsets) - 1):
        begin, end = trimmed(data, offsets[text], offsets[text + 1], kinds)
        first_of_text = to
        while begin <= end:
            stop = begin
            while stop < end and data[stop] != 0x0A:
                stop += 1
            lead, tail = trimmed(data, begin, stop, kinds)
            start = to + (to > first_of_text)
            for i in range(lead, tail):
                out[start + i - lead] = data[i]
            last = _left_of_line(out, start, start + tail - lead, kinds, phrases, counted)
            unchanged = last - start == tail - lead
            goes = last == start and stop > begin
            if not unchanged or goes:
                removed[text] += _words_compiled(data, lead, tail, kinds) - _words_compiled(out, start, last, kinds)
            if unchanged and not goes and stop - begin > tail - lead:  # with the white space at its ends
                for i in range(begin, stop):
                    out[start + i - begin] = data[i]
                last = start + stop - begin
            begin = stop + 1
            if goes:
                continue
            if to > first_of_text:
                out[to] = 0x0A
            to = last
        first, last = trimmed(out, first_of_text, to, kinds)
        for i in range(first, last):
            out[first_of_text + i - first] = out[i]
        to = first_of_text + last - first
        out_offsets[text + 1] = to


_BYTES = tuple(np.frombuffer(phrase.encode(), np.uint8) for phrase in ("items in cart", "read more", "sign-in"))
_COUNTED = tuple(np.frombuffer(word.encode(), np.uint8) for word in COUNTED)


def kept_lines(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the rules leave of texts as UTF-8: uint8[bytes], int64[texts + 1]; words that go: uint32[texts]."""
    out = np.empty(offsets[-1] - offsets[0] + 1, np.uint8)
    out_offsets = np.empty(len(offsets), np.int64)
    removed = np.zeros(len(offsets) - 1, np.uint32)
    _kept_lines(data, offsets, classes(), _BYTES, _COUNTED, out, out_offsets, removed)
    return out, out_offsets, removed
