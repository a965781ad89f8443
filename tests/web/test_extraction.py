"""Extraction: engines by name, limits that hold, and pages that try to break them."""

from __future__ import annotations

import pytest

from tests.web.warcs import TEXT, page
from transforms.extraction.bounded import BoundedExtractor, EngineWontStart, Failed
from transforms.extraction.engines import ENGINES, cascade, engine_named
from transforms.kernels.web.main_content import Block, blocks_of, choose

ENGINE = "tests.web.engines:misbehaving"
SENTENCE = "The miller keeps a ledger of every sack that comes and goes, with the date and the name of the farm. "


def article(*blocks: str) -> str:
    return f"<html><head><title> A \n title </title></head><body><article>{''.join(blocks)}</article></body></html>"


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_finds_the_text_the_title_and_the_links(name: str) -> None:
    paragraphs = [f"<p>{i}: {SENTENCE * 2}</p>" for i in range(12)]
    found = ENGINES[name](article("<h1>Mill</h1>", *paragraphs, "<a href='/x'>more</a><A class=b HREF=y>z</a>"))
    assert all(f"{i}: {SENTENCE.strip()}" in found.text for i in range(12))
    assert (found.title, found.links) == ("A title", 2)


def test_the_cascade_asks_the_slow_engine_only_where_it_is_in_doubt() -> None:
    paragraphs = [f"<p>{i}: {SENTENCE * 2}</p>" for i in range(12)]
    assert cascade(article(*paragraphs)).extractor == "resiliparse"
    links = "".join(f"<p><a href='/{i}'>{i}. {SENTENCE * 2}</a></p>" for i in range(4))
    assert cascade(article(*paragraphs[:6], links, *paragraphs[6:])).extractor == "trafilatura"
    assert cascade(article("<p>short</p>")).text == "short"


def test_which_blocks_are_text() -> None:
    def block(text: str, tag: str = "p", linked: float = 0.0) -> Block:
        return Block(tag, text, linked)

    long = [f"{i} {SENTENCE}" for i in range(6)]
    caption, teaser = "A mill at dawn", "Ten mills that you must see"
    kept, doubt = choose(
        [
            block("Home / News", ""),
            block("The Mill", "h1"),
            block("By A. Miller", ""),
            *map(block, long[:2]),
            block(caption, ""),
            block(long[0]),  # as in a refrain
            block("Sacks", "h2"),
            block(long[2]),
            block("It stands alone, and ends as a sentence does.", ""),
            block(long[3]),
            block(teaser, "p", 1.0),
            *map(block, long[4:]),
            block("Comments", "h2"),
            block("3 replies"),
        ]
    )
    expected = [*long[:2], long[0], "Sacks", long[2], "It stands alone, and ends as a sentence does.", *long[3:]]
    assert kept.split("\n") == expected
    assert doubt == pytest.approx((len(caption) + len(teaser)) / len(kept))
    # Without paragraphs, what stands outside of them is the text.
    assert choose([block(text, "") for text in long]).text == "\n".join(long)
    assert choose([]) == ("", 0.0)


def test_blocks_say_what_they_are_in_and_how_much_of_them_is_links() -> None:
    found = blocks_of('<h1>A &amp; b</h1>\n\n<ul>\n  <li>\nx <a href="/y">y&lt;z</a></li>\n</ul>\n<p>c</p>\nplain')
    assert found == [("h1", "A & b", 0.0), ("li", "x y<z", 3 / 5), ("p", "c", 0.0), ("", "plain", 0.0)]


def test_a_page_over_a_limit_costs_itself() -> None:
    with BoundedExtractor(ENGINE, seconds=0.5, memory_bytes=1 << 30) as extractor:
        for what, reason in (("spin", "timeout"), ("sleep", "timeout"), ("die", "crash"), ("raise", "extractor")):
            assert extractor.extract(page(f"please {what}")) == Failed(reason)
            assert TEXT[:50] in extractor.extract(page("please print" + TEXT)).text  # type: ignore[union-attr]
    with BoundedExtractor(ENGINE, seconds=30, memory_bytes=1 << 30) as extractor:
        assert extractor.extract(page("please take memory")) == Failed("memory")
        assert TEXT[:50] in extractor.extract(page()).text  # type: ignore[union-attr]


def test_an_engine_that_is_none_is_told_before_any_page() -> None:
    with pytest.raises(ValueError, match="there is no 'fast'"):
        engine_named("fast")
    with pytest.raises(ValueError, match="can't be imported"):
        engine_named("tests.web.engines:none")
    with pytest.raises(EngineWontStart), BoundedExtractor("tests.web.engines:none") as extractor:
        extractor.extract("x")


PAGES = {
    "deep": "<div>" * 100_000 + SENTENCE,
    "deep inline": "<p><b>" * 20_000 + SENTENCE,
    "deep lists": "<ul><li>" * 20_000 + SENTENCE,
    "long attribute": f"<a href='{'x' * 5_000_000}'>{SENTENCE}</a>",
    "many elements": "<span>word </span>" * 50_000,
    "no markup": SENTENCE * 1000,
    "unclosed comment": "<!-- " + SENTENCE * 1000,
    "unclosed script": "<script>" + "<p>" * 10_000,
    "nothing": "",
    "NUL and controls": "<p>\0\x01\x02" + SENTENCE * 10,
    "large": article("".join(f"<p>{SENTENCE * 20}</p>" for _ in range(1_000))),
}


def test_odd_pages_give_a_text_or_a_reason_and_the_process_goes_on() -> None:
    with BoundedExtractor("cascade") as extractor:
        outcome = {name: extractor.extract(text) for name, text in PAGES.items()}
        assert SENTENCE.strip() in extractor.extract(article(f"<p>{SENTENCE * 9}</p>")).text  # type: ignore[union-attr]
    assert not {name: found for name, found in outcome.items() if isinstance(found, Failed) and "deep" not in name}
    assert len(outcome["large"].text) > 1_900_000  # type: ignore[union-attr]
