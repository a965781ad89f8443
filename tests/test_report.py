"""The report's page: what it shows, and that no text becomes markup; looked at by a parser and by a real browser."""

from __future__ import annotations

import dataclasses
import html.parser
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from beam_pipeline.report import charts, page, tables
from beam_pipeline.report.distributions import ALL, Distributions, distributions_of
from beam_pipeline.report.marks import Piece, differing, marked
from beam_pipeline.trial import result as trial
from tests import browser
from tests.hostile import ATTACKS, FIGURE, hostile_result

SECTIONS = (
    "summary", "problems", "funnel", "languages", "attributes", "edits", "texts", "duplicates", "cost", "settings",
)  # fmt: skip
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "h3", "p", "nav", "a", "section", "div",
    "b", "span", "bdi", "code", "pre", "mark", "del", "ins", "figure", "details", "summary", "article", "table",
    "thead", "tbody", "tr", "th", "td", "svg", "g", "path", "rect", "text", "tspan", "line", "defs", "clippath",
}  # fmt: skip


class Reader(html.parser.HTMLParser):
    """Collects the elements, the text and the attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.sections: list[str] = []
        self.texts: list[str] = []
        self.rows = self.charts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.sections += [value or "" for name, value in attrs if tag == "section" and name == "id"]
        self.rows += tag == "tr"
        self.charts += tag == "svg"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def hostile() -> str:
    return page.render(hostile_result())


def test_no_text_becomes_markup(hostile: str) -> None:
    found = Reader(hostile)
    assert found.tags <= TAGS, found.tags - TAGS
    assert not [each for each in found.attributes if each[1].startswith("on") or each[1] in ("src", "xlink:href")]
    assert {value[0] for _, name, value in found.attributes if name == "href"} == {"#"}
    styles = [value for _, name, value in found.attributes if name == "style"]
    assert all("url" not in value for value in styles)
    assert tuple(found.sections) == SECTIONS
    assert "default-src 'none'" in hostile
    shown = "".join(found.texts)
    for attack in ATTACKS:
        assert attack in shown  # as the characters that it is


def test_the_page_says_what_the_result_says(hostile: str) -> None:
    text = " ".join("".join(Reader(hostile).texts).split())
    assert "Looked at 300 documents (1.0 MB) of about 1,000,000,000 (10.0 TB)" in text
    assert "kept75.0%" in text
    assert "1 exact and 2 near-duplicates among 300 documents" in text
    assert "17 documents" in text
    assert "is 0.25, kept if >= 0.5" in text
    assert Reader(hostile).charts == 3 + 8  # funnel, languages, cost; the attributes with values


def test_a_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    large = page.render(hostile_result(length=3000))
    monkeypatch.setattr(page, "MOST_BYTES", len(large.encode()) - 1)
    shorter = page.render(hostile_result(length=3000))
    assert len(shorter.encode()) < len(large.encode())
    assert tuple(Reader(shorter).sections) == SECTIONS
    monkeypatch.setattr(page, "MOST_BYTES", 0)
    assert "the page would be too large" in page.render(hostile_result())


def test_an_empty_result_is_a_page() -> None:
    whole = hostile_result(documents=0)
    nothing = {name: getattr(trial, name.upper()).empty_table() for name in ("funnel", "edits", "overlap", "costs")}
    empty = dataclasses.replace(
        whole,
        texts=(),
        problems=(),
        conditions=(),
        duplicates=trial.Duplicates(),
        documents=whole.documents[:0],
        **nothing,
    )
    assert tuple(Reader(page.render(empty)).sections) == tuple(name for name in SECTIONS if name != "problems")


def test_it_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    page.write(hostile_result(), str(tmp_path / "new" / "report.html"))
    assert (tmp_path / "new" / "report.html").read_text().startswith("<!DOCTYPE html>")


@pytest.fixture(scope="module")
def chromium() -> Iterator[browser.Browser]:
    with browser.opened() as opened:
        yield opened


def test_in_a_browser_all_is_there_and_nothing_runs(hostile: str, chromium: browser.Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(hostile)
    chromium.open(path.as_uri())
    assert chromium.named("Runtime.consoleAPICalled", "Log.entryAdded", "Runtime.exceptionThrown") == []
    assert [each["request"]["url"] for each in chromium.named("Network.requestWillBeSent")] == [path.as_uri()]
    assert chromium.ask("typeof window.pwned") == "undefined"
    assert chromium.ask("document.scripts.length + document.images.length + document.links.length") == len(SECTIONS)
    for section in SECTIONS:
        assert chromium.ask(f"document.querySelector('#{section}').getBoundingClientRect().height") > 20, section
    sizes = "each => [each.getBBox().width, each.querySelectorAll('path').length]"
    drawn = chromium.ask(f"[...document.querySelectorAll('figure svg')].map({sizes})")
    assert len(drawn) == Reader(hostile).charts
    assert all(width > 200 and paths > 5 for width, paths in drawn)
    cells = chromium.ask("[...document.querySelectorAll('td')].map(each => each.textContent)")
    assert any(ATTACKS[1] in cell for cell in cells)


def test_in_a_browser_it_is_light_or_dark_and_prints(hostile: str, chromium: browser.Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(hostile)
    chromium.open(path.as_uri())
    grounds = []
    for dark in (False, True):
        chromium.screenshot(tmp_path / "seen.png", 900, 700, dark)
        assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")
        grounds.append(chromium.ask("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 24, 31)"]
    assert chromium.ask("document.documentElement.scrollWidth") <= 900
    assert chromium.call("Page.printToPDF")["data"].startswith("JVBERi")  # %PDF


@pytest.mark.parametrize(("most", "shown"), [(0.18, "0.02"), (650, "150"), (5000, "1,500"), (4e7, "20M")])
def test_axes_have_numbers_that_are_read_at_a_glance(most: float, shown: str) -> None:
    bars = charts.bars([{"name": "one", "size": most}], "name", [("size", charts.KEPT)], "documents")
    ticks = re.findall(r">([^<>]+)</text>", bars)
    assert shown in ticks and not [tick for tick in ticks if re.fullmatch(r".*e[+-]?\d+|[\d.]+m", tick)]


@pytest.mark.parametrize(
    ("hours", "shown"),
    [(None, "–"), (0, "0 s"), (1e-8, "< 0.001 s"), (1e-5, "0.036 s"), (0.25, "15.0 min"), (2345.6, "2,345.6 h")],
)
def test_a_duration_has_its_unit(hours: float | None, shown: str) -> None:
    assert tables.duration(hours) == shown


def test_distributions_count_every_document() -> None:
    documents = hostile_result(1000).documents
    found = {each.name: each for each in distributions_of(documents, hostile_result().conditions)}
    words = documents["words"].drop_null().to_numpy()
    assert found["words"].documents == len(words) == found["words"].counts[ALL].sum()
    kept = documents.filter(pa.compute.equal(documents["outcome"], "kept"))["words"].drop_null()
    assert found["words"].counts[ALL][0].sum() == len(kept)
    assert found["words"].counts[ALL].sum(axis=0)[3] == np.count_nonzero(words == 3)
    [threshold] = found["words"].beyond
    assert threshold.groups[ALL] == (len(words), np.count_nonzero(words < 5))
    english = documents.filter(pa.compute.equal(documents["language"], "en"))["words"].drop_null().to_numpy()
    assert threshold.groups["en"] == (len(english), np.count_nonzero(english < 5))
    assert found["text_bytes"].axis is not None
    assert found["text_bytes"].axis.is_logarithmic
    assert found["domain"].values == {attack: documents["domain"].to_pylist().count(attack) for attack in ATTACKS}
    [of_language] = found[FIGURE].beyond
    assert set(of_language.groups) == {ALL, "<b>xx</b>"}
    assert found["huge\x07"].documents == np.count_nonzero(np.isfinite(documents["huge\x07"].drop_null().to_numpy()))
    assert "nothing" not in found
    assert set(found) & {"row", "outcome", "id", "reason"} == set()


def test_distributions_in_pieces_are_those_of_the_whole() -> None:
    documents = hostile_result(1000).documents
    conditions = hostile_result().conditions
    weights = {"en": 3.0, "de": 0.5}
    pieces = Distributions(documents, conditions, weights)
    for start in range(0, 1000, 170):
        pieces.add(documents[start : start + 170].combine_chunks().to_batches()[0])
    for one, other in zip(pieces.results(), distributions_of(documents, conditions, weights), strict=True):
        assert (one.name, one.documents, one.beyond, one.values) == (
            other.name,
            other.documents,
            other.beyond,
            other.values,
        )
        for group, counts in one.counts.items():
            np.testing.assert_allclose(counts, other.counts[group])


def test_marks_and_differences_lose_nothing() -> None:
    text = "one <b>two</b> three"
    assert marked(text, [(4, 7), (10, 14)]) == [
        Piece("one "), Piece("<b>", "mark"), Piece("two"), Piece("</b>", "mark"), Piece(" three"),
    ]  # fmt: skip
    assert marked("", []) == []
    before, after = "the old harbour\nis here", "the new harbour\nis there"
    pieces = differing(before, after)
    assert "".join(piece.text for piece in pieces if piece.kind != "added") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "removed") == after
    assert Piece("old ", "removed") in pieces
    long = "word " * 1000
    pieces = differing(f"{long}old {long}", f"{long}new {long}")
    assert [piece.kind for piece in pieces] == ["gap", "", "removed", "added", "", "gap"]
    assert sum(len(piece.text) for piece in pieces) < 600
