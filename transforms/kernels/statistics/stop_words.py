"""How many of a language's stop words occur in a text.

A stop word occurs where its characters begin with a token and end with one (``words``), capital and small letters
apart. So a stop word of several letters is found in scripts without spaces, too, where each letter is a token; one
that is only a part of a token here (``l'`` of ``l'eau``) isn't found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numba
import numpy as np

from transforms.kernels.statistics.words import ENDS_IN_WORD_CHARACTER, classes, next_token, tokens_reference

MOST = 63


def stop_words_reference(text: str, stop_words: Sequence[str]) -> int:
    """How many of the stop words occur in a text: slow and obvious."""
    starts, ends, place = set(), set(), 0
    for token in tokens_reference(text):
        place = text.index(token.text, place)
        starts.add(place)
        place += len(token.text)
        ends.add(place)
    return sum(
        any(text.startswith(word, start) and start + len(word) in ends for start in starts) for word in set(stop_words)
    )


@numba.njit(cache=True)
def _occurs(data: np.ndarray, start: int, end: int, kinds: np.ndarray, first_stop: int, stop: int) -> bool:
    """Whether a token ends at ``stop``, the first one of ``start`` at ``first_stop``."""
    place, last = first_stop, first_stop
    word_before = True
    while last < stop:
        place, last, flags, _, _ = next_token(data, last, end, kinds, word_before)
        if place >= end:
            return False
        word_before = flags & ENDS_IN_WORD_CHARACTER != 0
    return last == stop


@numba.njit(cache=True)
def _count(
    data: np.ndarray, offsets: np.ndarray, kinds: np.ndarray, languages: np.ndarray, firsts: np.ndarray,
    words: np.ndarray, bounds: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    for text in range(len(offsets) - 1):
        language = languages[text]
        if language < 0:
            continue
        place, end, word_before = offsets[text], offsets[text + 1], False
        found = 0
        while True:
            start, stop, flags, _, _ = next_token(data, place, end, kinds, word_before)
            if start >= end:
                break
            word_before = flags & ENDS_IN_WORD_CHARACTER != 0
            for word in range(firsts[language], firsts[language + 1]):
                bit = 1 << (word - firsts[language])
                size = bounds[word + 1] - bounds[word]
                if found & bit != 0 or size < stop - start or start + size > end:
                    continue
                same = 0
                while same < size and data[start + same] == words[bounds[word] + same]:
                    same += 1
                if same == size and (size == stop - start or _occurs(data, start, end, kinds, stop, start + size)):
                    found |= bit
            place = stop
        while found:
            counts[text] += found & 1
            found >>= 1


class StopWords:
    """The stop words of several languages, ready to be counted.

    Attributes:
      places: the number of each language.

    Raises:
      ValueError: a language has more than ``MOST``.
    """

    def __init__(self, stop_words: Mapping[str, Sequence[str]]) -> None:
        self.places = {language: place for place, language in enumerate(stop_words)}
        lists = [sorted({word for word in words if word}) for words in stop_words.values()]
        for language, words in zip(stop_words, lists, strict=True):
            if len(words) > MOST:
                raise ValueError(f"{language} has {len(words)} stop words; there can be {MOST}")
        encoded = [word.encode() for words in lists for word in words]
        self._firsts = np.cumsum([0, *map(len, lists)])
        self._bounds = np.cumsum([0, *map(len, encoded)])
        self._words = np.frombuffer(b"".join(encoded) + b"\0", np.uint8)

    def count(self, data: np.ndarray, offsets: np.ndarray, languages: np.ndarray) -> np.ndarray:
        """How many occur in each text, uint8; ``languages`` has the number of its language, int64, or -1."""
        counts = np.zeros(len(offsets) - 1, np.uint8)
        _count(data, offsets, classes(), languages, self._firsts, self._words, self._bounds, counts)
        return counts
