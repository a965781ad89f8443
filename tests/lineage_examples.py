"""Segments for tests, made up from a seed, and what the lineage must say of them, by the slow and obvious way."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import numpy as np

from schemas.outcomes import PAGE, Outcomes
from schemas.segments import Segment
from schemas.shards import Source, document_id

RUN = "0b5e3f4c-9d3e-4f4e-8a51-3f0d4b6c7d8e"
OUTCOMES = Outcomes.with_filters(["too_short", 'a "quoted" \\ reason', "languages"])
WIDE = Outcomes.with_filters(["too_short", 'a "quoted" \\ reason', "languages", *(f"reason {i}" for i in range(300))])
"""Of a run with more reasons than one byte has codes for."""
LANGUAGES = ("deu", "eng", "l'étrange\\", "zho_Hans")
_CODES, _WIDE_CODES = sorted(OUTCOMES.table), sorted(WIDE.table)


def sources(count: int) -> list[Source]:
    return [Source(i, f"s3://bucket/in/part-{i:03d}.parquet", f"etag{i}", 1000 + i) for i in range(count)]


def segment(
    seed: int,
    source: int = 0,
    first_row: int = 0,
    rows: int = 50,
    state: str = "done",
    run: str = RUN,
    sources: int = 3,
    wide: bool = False,
) -> Segment:
    """A segment with every outcome in it if it's long enough; the same for the same arguments."""
    random = np.random.default_rng([seed, source, first_row])
    codes = random.choice(np.array(_WIDE_CODES if wide else _CODES, np.uint16), rows if state == "done" else 0)
    if wide:  # duplicates and kept ones are rare among so many
        codes = np.where(
            random.random(len(codes)) < 0.5, random.choice(np.array([*b"kxn"], np.uint16), len(codes)), codes
        )
    duplicates = np.flatnonzero(np.isin(codes, list(b"xn")))
    languages = random.integers(-1, len(LANGUAGES), len(codes)).astype(np.int16)
    similarities = np.where(codes[duplicates] == ord("x"), 1, random.integers(205, 256, len(duplicates)) / 256)
    result = Segment(
        run=run,
        shard=f"{source:07d}-{first_row:05d}",
        source=source,
        first_row=first_row,
        rows=rows,
        state=state,
        token_object=f"s3://bucket/out/tokens/{source:07d}-{first_row:05d}.parquet" if state == "done" else "",
        outcomes=(codes % PAGE).astype(np.uint8).tobytes(),
        pages=(codes // PAGE).astype(np.uint8).tobytes() if codes.max(initial=0) >= PAGE else b"",
        languages=languages,
        language_names=LANGUAGES,
        duplicate_rows=(duplicates + first_row).astype(np.uint32),
        witness_sources=random.integers(0, sources, len(duplicates)).astype(np.uint32),
        witness_rows=random.integers(0, 10, len(duplicates)).astype(np.uint32),
        similarities=similarities.astype(np.float32),
        costs={"ReadDocuments": {"wall": 0.5, "cpu": 0.25}},
    )
    return dataclasses.replace(result, counts={"funnel": funnel_cells(result)})


def funnel_cells(of: Segment) -> list[list[Any]]:
    """Documents by outcome and language; ten bytes a document, two tokens a kept one."""
    cells = collections.Counter(zip(codes_of(of), of.languages.tolist(), strict=True))
    return [
        [
            chr(code % PAGE),
            LANGUAGES[i] if i >= 0 else None,
            n,
            10 * n,
            2 * n if code == ord("k") else 0,
            *([code // PAGE] if code >= PAGE else []),
        ]
        for (code, i), n in sorted(cells.items())
    ]


def codes_of(of: Segment) -> list[int]:
    """The outcome codes of its documents."""
    pages = of.pages or bytes(len(of.outcomes))
    return [PAGE * page + character for page, character in zip(pages, of.outcomes, strict=True)]


def lineage_rows(segments: list[Segment]) -> list[tuple[Any, ...]]:
    """The rows of the view ``lineage`` without the run, in order."""
    rows: list[tuple[Any, ...]] = []
    for of in segments:
        kept = duplicates = 0
        for k, code in enumerate(codes_of(of)):
            row = of.first_row + k
            outcome, reason = WIDE.table[code]
            language = of.language_names[of.languages[k]] if of.languages[k] >= 0 else None
            witness: tuple[Any, ...] = (None, None, None)
            output: tuple[Any, ...] = (None, None)
            if code in (*b"xn",):
                i = duplicates
                assert of.duplicate_rows[i] == row
                witness = (_uri(int(of.witness_sources[i])), int(of.witness_rows[i]), float(of.similarities[i]))
                duplicates += 1
            if code == ord("k"):
                output = (of.token_object, kept)
                kept += 1
            place = (_uri(of.source), row, document_id(of.source, row))
            rows.append((*place, outcome, reason, language, *witness, *output))
    return sorted(rows, key=lambda row: row[2])


def _uri(number: int) -> str:
    return f"s3://bucket/in/part-{number:03d}.parquet"
