"""Engines beside each other: quality and speed on pages with known text (``make bench-extract PAGES=FOLDER``).

The folder has ``pages.warc.gz`` and ``pages.truth.json``: a list of ``{"record_id", "url", "article_body"}``. F1 is
that of the means of precision and recall over all pages, both of multisets of word 4-grams; a word is a run of
``\\w``. Speed is CPU time of one process, the imports left out: charset, parsing and extraction; the best of three.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from transforms.extraction.engines import ENGINES, Engine
from transforms.io.readers.streams import compression_of
from transforms.io.readers.warc_records import Record, records
from transforms.kernels.web.page import page_of

_WORD = re.compile(r"\w+")


def four_grams(text: str) -> Counter[tuple[str, ...]]:
    """How often each run of four words is in a text; a shorter text is one run."""
    words = _WORD.findall(text)
    return Counter(tuple(words[i : i + 4]) for i in range(max(1, len(words) - 3))) if words else Counter()


def precision_and_recall(found: str, truth: str) -> tuple[float, float]:
    """Shares of 4-grams that both texts have, of those found and of those that are true."""
    mine, theirs = four_grams(found), four_grams(truth)
    both = sum((mine & theirs).values())
    return both / max(1, sum(mine.values())), both / max(1, sum(theirs.values()))


def read_pages(folder: Path) -> list[tuple[Record, str]]:
    """Records with their true texts."""
    truth = {page["record_id"]: page["article_body"] for page in json.loads((folder / "pages.truth.json").read_text())}
    path = folder / "pages.warc.gz"
    with path.open("rb") as file:
        found = list(records(str(path), file, compression_of(b"\x1f\x8b\x08\x00")))
    return [(r, truth[r.headers["warc-record-id"]]) for r in found if r.headers.get("warc-record-id") in truth]


def measure(engine: Engine, pages: list[tuple[Record, str]]) -> tuple[float, float, float, Counter[str]]:
    """Precision, recall, pages a CPU second, and which engine made the texts."""
    engine("<html><body><p>warm</p></body></html>")
    started = time.process_time()
    found = [engine(page_of(record.type, record.headers, record.block).text) for record, _ in pages]
    seconds = time.process_time() - started
    scores = [precision_and_recall(each.text, truth) for each, (_, truth) in zip(found, pages, strict=True)]
    precision, recall = (statistics.mean(score[i] for score in scores) for i in (0, 1))
    return precision, recall, len(pages) / seconds, Counter(each.extractor for each in found)


def main(folder: Path) -> None:
    """One table of all engines, in one run."""
    pages = read_pages(folder)
    table = Table(title=f"{len(pages)} pages of {folder}", title_justify="left")
    for column in ("engine", "F1", "precision", "recall", "pages/s", "by"):
        table.add_column(column, justify="left" if column in ("engine", "by") else "right")
    for name, engine in ENGINES.items():
        best = max((measure(engine, pages) for _ in range(3)), key=lambda measured: measured[2])
        precision, recall, speed, by = best
        f1 = 2 * precision * recall / (precision + recall)
        shares = ", ".join(f"{extractor} {count}" for extractor, count in by.most_common())
        table.add_row(name, f"{f1:.3f}", f"{precision:.3f}", f"{recall:.3f}", f"{speed:.0f}", shares)
    Console(width=110).print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
