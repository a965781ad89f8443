"""The parts of a text that a rule on statistics is about, to be marked where the text is shown.

Plain Python, for the few texts that are shown. What counts as a line, a word or an n-gram is what the statistics say
(``transforms.kernels.statistics``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from transforms.kernels.statistics.text_statistics import SHORT_LINE, TERMINAL
from transforms.kernels.statistics.words import tokens_reference

Span = tuple[int, int]
"""Start and end, in characters."""
_NGRAM = re.compile(r"(top|duplicate)_(\d+)gram_characters")


def spans_of(columns: Iterable[str], text: str) -> tuple[Span, ...]:
    """The parts of a text that some of its statistics are about, in order, none overlapping.

    Args:
      columns: attributes that a rule reads, such as ``bullet_lines``; those that are about no parts give none.
      text: as the rule has judged it.
    """
    found: list[Span] = []
    for name in columns:
        plain = name.rpartition(".")[2]
        if ngram := _NGRAM.fullmatch(plain):
            found += _ngrams(text, int(ngram[2]), top=ngram[1] == "top")
        elif plain in _MARKERS:
            found += _MARKERS[plain](text)
    return tuple(_merged(found))


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    start = end = -1
    for first, last in sorted(span for span in spans if span[1] > span[0]):
        if first > end:
            if end > start:
                yield start, end
            start, end = first, last
        else:
            end = max(end, last)
    if end > start:
        yield start, end


def _lines(text: str, wanted: Callable[[str], bool]) -> Iterator[Span]:
    """The filled lines for which a condition holds."""
    start = 0
    for line in text.split("\n"):
        if line.strip() and wanted(line):
            yield start, start + len(line)
        start += len(line) + 1


def _duplicate_lines(text: str) -> Iterator[Span]:
    seen: set[str] = set()

    def again(line: str) -> bool:
        found = line in seen
        seen.add(line)
        return found

    return _lines(text, again)


def _duplicate_paragraphs(text: str) -> Iterator[Span]:
    seen: set[str] = set()
    start = 0
    for part in re.split(r"(\n{2,})", text):
        if part.strip():
            if part in seen:
                yield start, start + len(part)
            seen.add(part)
        start += len(part)


def _found(pattern: str) -> Callable[[str], Iterator[Span]]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda text: (match.span() for match in compiled.finditer(text))


def _chosen_lines(wanted: Callable[[str], bool]) -> Callable[[str], Iterator[Span]]:
    return lambda text: _lines(text, wanted)


def _ngrams(text: str, n: int, top: bool) -> Iterator[Span]:
    """The places of the commonest n-gram, or of n-grams that have occurred before."""
    words, places, cursor = [], [], 0
    for token in tokens_reference(text):
        cursor = text.index(token.text, cursor)
        words.append(token.text)
        places.append((cursor, cursor + len(token.text)))
        cursor += len(token.text)
    grams = [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]
    if top:
        commonest, count = max(Counter(grams).items(), key=lambda item: item[1], default=((), 0))
        if count > 1:
            yield from (
                (places[place][0], places[place + n - 1][1]) for place, gram in enumerate(grams) if gram == commonest
            )
        return
    seen: set[tuple[str, ...]] = set()
    place = 0
    while place < len(grams):
        if grams[place] in seen:
            yield places[place][0], places[place + n - 1][1]
            place += n
        else:
            seen.add(grams[place])
            place += 1


_MARKERS: dict[str, Callable[[str], Iterator[Span]]] = {
    "bullet_lines": _chosen_lines(lambda line: line.lstrip().startswith(("•", "-"))),
    "ellipsis_lines": _chosen_lines(lambda line: line.rstrip().endswith(("...", "…"))),
    "short_lines": _chosen_lines(lambda line: len(line) <= SHORT_LINE),
    "terminal_lines": _chosen_lines(lambda line: line[-1] not in TERMINAL),
    "duplicate_lines": _duplicate_lines,
    "duplicate_line_characters": _duplicate_lines,
    "duplicate_filled_characters": _duplicate_lines,
    "duplicate_paragraphs": _duplicate_paragraphs,
    "duplicate_paragraph_characters": _duplicate_paragraphs,
    "hashes": _found("#"),
    "ellipses": _found(r"\.\.\.|…"),
    "c4_lorem_ipsum": _found("lorem ipsum"),
    "c4_curly_bracket": _found(r"\{"),
}
"""For each statistic that is about parts, these parts; of lines that end in punctuation, those that don't."""
