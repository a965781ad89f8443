"""Which blocks of a page are its text, judged by what kind of block each is: no language, no site is known here.

resiliparse finds the part of a page with the content, fast and nearly complete (recall 0.98), but takes captions,
bylines, teasers and forms with it (precision 0.87). What it gives is a list of blocks here, and these go:

- the heading of the first level and what stands before it: the title has a column of its own;
- text outside of paragraphs, headings and lists, where three quarters of the text are in them: captions and bylines;
  unless it stands alone between two paragraphs and ends as a sentence does;
- blocks of which more than half is links, unless they are long;
- short blocks at the end, and headings with nothing below them.

What goes from between the first and the last long paragraph is doubtful: it may belong to the text. Its share says how
far the choice is to be trusted (``Choice.doubt``).
"""

from __future__ import annotations

import html
import re
from typing import NamedTuple

LONG, SHORT_AT_END = 80, 60
"""Characters: of a paragraph that is surely text; under which a block is dropped at the end."""
LINKED, LONG_LINKED = 0.5, 0.9
LONG_LINKED_CHARACTERS = 100
_TAG = re.compile(r"<[^>]*>")
_LINK = re.compile(r"<a [^>]*>(.*?)</a>")
_OPENS = re.compile(r"<(p|h[1-6]|li|pre)\b")
_ENDS = tuple(".:?!…。！？؟।”\"'»")
_IN_PARAGRAPHS = {"p", "li", "pre"}


class Block(NamedTuple):
    """A line of text: the element that it is in (empty if none that says anything), and the share of links in it."""

    tag: str
    text: str
    linked: float


class Choice(NamedTuple):
    """The text of a page, and characters that were dropped from within it for each that was kept."""

    text: str
    doubt: float


def blocks_of(minimal_html: str) -> list[Block]:
    """The blocks in what resiliparse gives with ``preserve_formatting="minimal_html", links=True``."""
    blocks = []
    for line in minimal_html.split("\n"):
        markup = line.strip()
        if not markup:
            continue
        opens = _OPENS.match(markup)
        tag = opens[1] if opens else "li" if "</li>" in markup else ""
        text = _plain(markup)
        if text:
            links = sum(len(_plain(link)) for link in _LINK.findall(markup)) if "<a " in markup else 0
            blocks.append(Block(tag, text, links / len(text)))
    return blocks


def _plain(markup: str) -> str:
    return html.unescape(_TAG.sub("", markup)).strip() if "<" in markup or "&" in markup else markup


def choose(blocks: list[Block]) -> Choice:
    """The blocks that are the page's text."""
    inside = sum(len(block.text) for block in blocks if block.tag in _IN_PARAGRAPHS)
    outside = sum(len(block.text) for block in blocks if not block.tag)
    only_paragraphs = inside >= 3 * outside
    long = [
        i for i, block in enumerate(blocks) if block.tag == "p" and len(block.text) >= LONG and block.linked < LINKED
    ]
    first, last = (long[0], long[-1]) if long else (0, len(blocks))
    kept: list[Block] = []
    dropped = 0
    for i in range(_start(blocks, inside + outside), len(blocks)):
        block = blocks[i]
        if block.tag == "h1":
            continue
        caption = only_paragraphs and not block.tag and not _is_sentence_alone(blocks, i, first, last)
        if caption or _is_links(block):
            dropped += len(block.text) if first < i < last else 0
            continue
        kept.append(block)
    while kept and len(kept[-1].text) < SHORT_AT_END:
        kept.pop()
    while kept and kept[-1].tag.startswith("h"):
        kept.pop()
    text = "\n".join(block.text for block in kept)
    return Choice(text, dropped / max(1, len(text)))


def _start(blocks: list[Block], characters: int) -> int:
    """Behind the title, if there is one and little stands before it."""
    titles = [i for i, block in enumerate(blocks) if block.tag == "h1"]
    if len(titles) != 1:
        return 0
    before = sum(len(block.text) for block in blocks[: titles[0]])
    return titles[0] + 1 if before < 0.3 * characters else 0


def _is_links(block: Block) -> bool:
    if block.linked <= LINKED:
        return False
    return block.tag not in ("p", "") or len(block.text) < LONG_LINKED_CHARACTERS or block.linked >= LONG_LINKED


def _is_sentence_alone(blocks: list[Block], i: int, first: int, last: int) -> bool:
    if not first < i < last or not blocks[i].text.endswith(_ENDS):
        return False
    return blocks[i - 1].tag in ("p", "li") and blocks[i + 1].tag in ("p", "li")
