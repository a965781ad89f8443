"""The statistics of a text in plain Python: slow and obvious; what the kernel is held against."""

from __future__ import annotations

from collections.abc import Sequence

from transforms.kernels.statistics.text_statistics import SHORT_LINE, STOP_WORDS, TERMINAL
from transforms.kernels.statistics.words import LETTER, NUMBER, UPPER, Token, class_of, tokens_reference


def text_statistics_reference(text: str, tokens: Sequence[Token] | None = None) -> dict[str, int]:
    """The statistics of a text: slow and obvious. ``tokens`` are those of somebody else, to be compared with."""
    tokens = tokens_reference(text) if tokens is None else tokens
    words = [token.text for token in tokens if token.is_word]
    kinds = [class_of(character) for character in text]
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    filled = [line for line in text.split("\n") if line.strip()]
    separate = [line for place, line in enumerate(text.split("\n")) if line or place == 0]
    if text.endswith("\n"):
        separate.append("")  # as re.split says
    stripped = text.strip()
    paragraphs = _split_paragraphs(stripped)
    duplicate_lines = _duplicates(separate)
    duplicate_paragraphs = _duplicates(paragraphs)
    return {
        "characters": len(text),
        "words": len(words),
        "symbols": len(tokens) - len(words),
        "word_characters": sum(map(len, words)),
        "letter_words": sum(any(character.isalpha() for character in word) for word in words),
        "stop_words": len({*STOP_WORDS} & {*words}),
        "hashes": text.count("#"),
        "ellipses": text.count("...") + text.count("…"),
        "letters": sum(bool(kind & LETTER) for kind in kinds),
        "uppercase": sum(bool(kind & UPPER) for kind in kinds),
        "digits": sum(bool(kind & NUMBER) for kind in kinds),
        "newlines": text.count("\n"),
        "lines": len(lines),
        "bullet_lines": sum(line.lstrip().startswith(("•", "-")) for line in lines),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines),
        "filled_lines": len(filled),
        "terminal_lines": sum(line[-1] in TERMINAL for line in filled),
        "short_lines": sum(len(line) <= SHORT_LINE for line in filled),
        "duplicate_filled_characters": sum(map(len, _duplicates(filled))),
        "separate_lines": len(separate),
        "duplicate_lines": len(duplicate_lines),
        "duplicate_line_characters": sum(map(len, duplicate_lines)),
        "paragraphs": len(paragraphs),
        "duplicate_paragraphs": len(duplicate_paragraphs),
        "duplicate_paragraph_characters": sum(map(len, duplicate_paragraphs)),
    }


def _split_paragraphs(text: str) -> list[str]:
    """What two or more newlines separate."""
    parts, part = [], ""
    place = 0
    while place < len(text):
        run = 0
        while place + run < len(text) and text[place + run] == "\n":
            run += 1
        if run >= 2:
            parts.append(part)
            part = ""
        elif run:
            part += "\n"
        else:
            part += text[place]
            run = 1
        place += run
    return [*parts, part]


def _duplicates(parts: list[str]) -> list[str]:
    seen: set[str] = set()
    found = []
    for part in parts:
        if part in seen:
            found.append(part)
        seen.add(part)
    return found
