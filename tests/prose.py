"""Lints README.md and docs/: sentences of at most 30 words, and none of the metaphors that this project has dropped.

    python -m tests.prose [FILE...]

Prints ``FILE:LINE: what is wrong`` and exits with 1 if there is anything. Code blocks are left out; a piece of inline
code or a link counts as one word; each cell of a table and each item of a list is a text of its own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_WORDS = 30
README_LINES = 150

BANNED = {
    r"worked again": "done again",
    r"\b(is|are) (never|not) believed|runner's word\b": "say what is checked",
    r"\bforetell|\bforetold": "estimate",
    r"\bthe bill\b": "the cost",
    r"\bbooks\b": "counts",
    r"\btally|\btallied": "count",
    r"\bleftovers?\b": "stale objects",
    r"\bin play\b|\bout of play\b": "active, dropped",
    r"\bverdicts?\b": "outcome, decision",
    r"\bthe dead\b|\bdead runs\b": "stopped runs, killed workers",
    r"\bbad weather\b": "slow or failing storage",
    r"\bthe house\b|\bfloors?\b": "layer",
    r"\bworld of\b|\bin one room\b": "name the thing",
    r"\bhas its say\b|\bhave their say\b|\bsay more of it\b": "say what is asked for",
    r"\ba stranger's\b|\bstrangers\b": "another run's",
    r"\bholds? up\b": "delay, stop",
}
"""Expressions that a newcomer must read twice, and what to write instead."""

_CODE = re.compile(r"`[^`]*`")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')*_]*\s+")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+\.)\s+")
_WORD = re.compile(r"[^\W_]")


def faults(text: str) -> Iterator[tuple[int, str]]:
    """Line number and what is wrong, for each fault in a Markdown text."""
    for line, words in passages(text):
        for pattern, instead in BANNED.items():
            if found := re.search(pattern, words, re.IGNORECASE):
                yield line, f"{found[0]!r}: write plainly ({instead})"
        for sentence in _SENTENCE_END.split(words):
            count = sum(bool(_WORD.search(word)) for word in sentence.split())
            if count > MOST_WORDS:
                yield line, f"a sentence of {count} words, more than {MOST_WORDS}: {sentence[:60].strip()}..."


def passages(text: str) -> Iterator[tuple[int, str]]:
    """The texts of a Markdown file with the line they begin in: paragraphs, items, headings and cells."""
    waiting: list[str] = []
    begin, fenced = 0, False
    for number, line in enumerate([*text.split("\n"), ""], 1):
        fence = line.lstrip().startswith("```")
        if fence or fenced or line.startswith("    "):
            fenced ^= fence
            kept = ""
            if line.startswith("    ") and waiting and not fence and not fenced:
                kept = line.strip()  # an item's next line
        else:
            kept = line.strip()
        alone = kept.startswith(("|", "#")) or _ITEM.match(line) is not None
        if waiting and (not kept or alone):
            yield begin, _plain(" ".join(waiting))
            waiting = []
        if kept.startswith("|"):
            yield from ((number, _plain(cell)) for cell in kept.strip("|").split("|"))
        elif kept:
            begin = begin if waiting else number
            waiting.append(_ITEM.sub("", kept) if alone else kept)


def _plain(text: str) -> str:
    return _LINK.sub(lambda link: link[1], _CODE.sub("code", text))


def main(files: list[str]) -> int:
    """Prints the faults of the files, or of README.md and all docs; returns the exit status."""
    paths = [Path(file) for file in files] or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    count = 0
    for path in paths:
        text = path.read_text()
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        found = list(faults(text))
        if path.name == "README.md" and text.count("\n") > README_LINES:
            found.append((README_LINES, f"{text.count(chr(10))} lines, more than {README_LINES}"))
        for line, fault in sorted(found):
            sys.stdout.write(f"{shown}:{line}: {fault}\n")
        count += len(found)
    return bool(count)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
