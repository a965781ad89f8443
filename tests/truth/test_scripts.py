"""Scripts written without spaces: near-duplicates in Chinese, Japanese, Thai, Khmer are found as well as English ones.

Built as ``neardup/`` was: pieces of real documents (``corpus/``; Thai is from the sentences of ``lid/``) and copies of
them with units inserted, deleted and replaced, where the unit is a character, in English a word. The truth is computed
from the texts.
"""

from __future__ import annotations

import random
from pathlib import Path
from unicodedata import category

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from rich.table import Table

from tests.truth.conftest import Decided, decide
from transforms.kernels.deduplication.folding import is_unspaced

LANGUAGES = {"en": " ", "zh": "", "ja": "", "th": "", "km": ""}
PIECES, UNITS = 1_000, 150
BANDS = ((0.9, 1.0), (0.85, 0.9), (0.8, 0.85), (0.0, 0.6))


def edited(units: list[str], generator: random.Random) -> list[str]:
    """A copy whose similarity is anywhere from 0.5 to 1: an edit spoils some five shingles."""
    similarity = generator.uniform(0.5, 1)
    copy = list(units)
    for _ in range(max(1, round(len(units) * (1 - similarity) / (1 + similarity) / 5))):
        place, kind = generator.randrange(len(copy)), generator.randrange(3)
        copy[place : place + (kind > 0)] = [] if kind == 2 else [generator.choice(units)]
    return copy


def pieces(texts: list[str], separator: str, generator: random.Random) -> list[list[str]]:
    """Pieces of ``UNITS`` units, none of them twice; of scripts without spaces only what is in such a script."""
    found = {}
    for text in texts:
        units = text.split() if separator else [c for c in text if is_unspaced(c) or category(c)[0] == "M"]
        for start in range(0, len(units) - UNITS, UNITS):
            found[tuple(units[start : start + UNITS])] = None
    return [list(piece) for piece in generator.sample(list(found), min(PIECES, len(found)))]


@pytest.fixture(scope="module")
def decided(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Decided:
    """The decisions on every piece followed by its copy; ids are language, number, and ``a`` or ``b``."""
    generator = random.Random(9)
    tables = [pq.read_table(file, columns=["text", "lang_hint"]) for file in sorted((data / "corpus").iterdir())]
    texts, hints = ([value for t in tables for value in t[name].to_pylist()] for name in ("text", "lang_hint"))
    sentences = pq.read_table(data / "lid/lid.parquet", columns=["text"])["text"].to_pylist()
    texts.append("".join(sentence for sentence in sentences if "\u0e01" <= sentence[:1] <= "\u0e5b"))
    hints.append("th")
    rows = []
    for language, separator in LANGUAGES.items():
        chosen = [text for text, hint in zip(texts, hints, strict=True) if hint == language]
        for number, units in enumerate(pieces(chosen, separator, generator)):
            rows.append({"id": f"{language}/{number}/a", "text": separator.join(units)})
            rows.append({"id": f"{language}/{number}/b", "text": separator.join(edited(units, generator))})
    folder = tmp_path_factory.mktemp("scripts")
    pq.write_table(pa.Table.from_pylist(rows), folder / "documents.parquet")
    return decide(folder / "documents.parquet", folder)


def test_every_script_is_deduplicated_alike(decided: Decided) -> None:
    table = Table(title="constructed pairs by language: share of which not both are kept")
    table.add_column("language")
    for low, high in BANDS:
        table.add_column(f"{low}-{high}", justify="right")
    for language in LANGUAGES:
        cells = []
        for low, high in BANDS:
            group = [
                position
                for position in range(0, len(decided.ids), 2)
                if decided.ids[position].startswith(f"{language}/")
                and low <= decided.jaccard(position, position + 1) < high
            ]
            one_left = sum(a in decided.witness or a + 1 in decided.witness for a in group)
            each_other = sum(decided.witness.get(a) == a + 1 or decided.witness.get(a + 1) == a for a in group)
            cells.append(f"{one_left:,} of {len(group):,}")
            assert len(group) > 10
            if high <= 0.6:
                assert each_other == 0
            else:
                least = {0.9: 0.999, 0.85: 0.985, 0.8: 0.85}[low]
                # of few pairs one may be missed, and at 0.8 the estimate decides by chance: five standard errors
                assert one_left / len(group) >= least - 5 * (least * (1 - least) / len(group)) ** 0.5
        table.add_row(language, *cells)
    Console().print(table)
