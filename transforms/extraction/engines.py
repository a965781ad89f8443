"""Engines that make text of HTML, by name: ``resiliparse``, ``trafilatura``, and ``cascade`` of both.

Measured on 91 real pages with known text (``make bench-extract``; F1 over word 4-grams; pages a second of one core):

    resiliparse 0.925, 430    trafilatura 0.975, 60    cascade 0.963, 280

``cascade`` takes what resiliparse finds, chooses among its blocks (``transforms.kernels.web.main_content``), and asks
trafilatura only about pages of which it had to drop more than ``MOST_DOUBT`` from within the text, or of which next to
nothing is left: one page in seven.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from transforms.kernels.web.main_content import blocks_of, choose

MOST_DOUBT = 0.03
LEAST_CHARACTERS = 250
_CONTENT: dict[str, Any] = {"main_content": True, "list_bullets": False, "alt_texts": False}
MOST_TITLE = 1000


@dataclasses.dataclass(frozen=True)
class Extracted:
    """What an engine has found in a page.

    Attributes:
      text: empty if there is none.
      title: of the document.
      links: how many links the page has.
      extractor: the engine that made the text, of ``cascade`` one of its two.
    """

    text: str
    title: str
    links: int
    extractor: str


Engine = Callable[[str], Extracted]


def resiliparse(page: str) -> Extracted:
    """Fast; nearly all of the text, and some that isn't."""
    tree = HTMLTree.parse(page)
    return _extracted(tree, extract_plain_text(tree, **_CONTENT), "resiliparse")


def trafilatura(page: str) -> Extracted:
    """Slow and exact."""
    return _extracted(HTMLTree.parse(page), _by_trafilatura(page, fast=False), "trafilatura")


def cascade(page: str) -> Extracted:
    """Fast, and slow where the fast way is in doubt."""
    tree = HTMLTree.parse(page)
    found = extract_plain_text(tree, **_CONTENT, preserve_formatting="minimal_html", links=True)
    text, doubt = choose(blocks_of(found))
    if doubt > MOST_DOUBT or len(text) < LEAST_CHARACTERS:
        slow = _by_trafilatura(page, fast=True)
        if slow:
            return _extracted(tree, slow, "trafilatura")
    return _extracted(tree, text, "resiliparse")


ENGINES: dict[str, Engine] = {"resiliparse": resiliparse, "trafilatura": trafilatura, "cascade": cascade}


def engine_named(name: str) -> Engine:
    """An engine by its name, or ``module:function`` of one's own.

    Raises:
      ValueError: there is none.
    """
    if name in ENGINES:
        return ENGINES[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"engine: there is no {name!r}; give one of {', '.join(ENGINES)}, or module:function")
    try:
        found: Engine = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"engine: {name} can't be imported: {error}") from error
    return found


def versions() -> str:
    """The versions of the libraries behind our engines: they decide what is found."""
    return ", ".join(f"{library} {version(library)}" for library in ("resiliparse", "trafilatura", "lxml"))


def _extracted(tree: HTMLTree, text: str, extractor: str) -> Extracted:
    title = " ".join((tree.title or "").split())[:MOST_TITLE]
    links = len(tree.document.query_selector_all("a[href]")) if tree.document else 0
    return Extracted(text.strip(), title, links, extractor)


def _by_trafilatura(page: str, fast: bool) -> str:
    return _trafilatura()(page, fast=fast, favor_precision=True, include_comments=False) or ""


@functools.cache
def _trafilatura() -> Callable[..., str | None]:
    """Half a second to import, for those who need it."""
    import logging

    from trafilatura import extract

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it logs every page that it finds odd
    found: Callable[..., str | None] = extract
    return found
