"""Segments: what became of a shard's documents, as one record with packed arrays; and the states of sources."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.outcomes import EXACT_DUPLICATE, NEAR_DUPLICATE, PAGE
from schemas.shards import MAX_ROWS_PER_SOURCE, MAX_SOURCES, Census

STATES = ("unreadable", "fingerprinted", "done")


@dataclasses.dataclass(frozen=True, slots=True)
class SourceState:
    """What splitting a source has found out.

    Attributes:
      number: of the source.
      state: ``ok`` or ``unreadable: reason``.
      rows: documents in it; -1 while unknown (JSON Lines before it was read).
      shards: how many shards it was split into.
      packed: above 1, this is of so many consecutive sources that share one shard, which counts as the first one's;
        their rows and states come with its segment.
    """

    number: int
    state: str
    rows: int = -1
    shards: int = 0
    packed: int = 1


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """What became of every document of a shard, once it's known: until ``done`` the arrays are empty.

    Attributes:
      run: UUID of the run.
      shard: ``Shard.name``.
      source: source number; of a packed shard, the first's.
      first_row: row of the shard's first document in the source.
      rows: number of documents.
      state: ``fingerprinted`` after pass 1, ``done`` after pass 3, ``unreadable`` if the source is.
      error: why it's unreadable.
      token_object: URI of the shard's tokens, empty until ``done``.
      outcomes: one code of ``schemas.outcomes`` a document, in row order: the character of it.
      pages: the page of each code; empty if all are 0.
      languages: int16, an index into ``language_names`` for every document, -1 for none.
      language_names: labels as the model gives them.
      duplicate_rows: uint32, rows in the source (of a packed shard, places: ``schemas.shards``) of the documents that
        were dropped as duplicates, ascending: exactly those whose outcome is one of the two kinds of duplicate.
      witness_sources, witness_rows: uint32, the kept document each was dropped for; of one in a packed shard, the
        shard's first source and the document's place.
      similarities: float32, the estimated Jaccard similarity of each with its witness, 1 for exact duplicates.
      counts: JSON. Under ``funnel``: ``[[outcome code, language or None, documents, bytes of normalized text, tokens],
        ...]``, with the code's page at the end if it isn't 0; other keys are notes of the steps.
      costs: JSON, ``{step: {"wall": seconds, "cpu": seconds, ...}}``.
      census: of a packed shard, what each of its sources has.

    Raises:
      ValueError: an array's length or type is wrong, or the duplicates aren't those that ``outcomes`` says.
    """

    run: str
    shard: str
    source: int
    first_row: int
    rows: int
    state: str
    error: str = ""
    token_object: str = ""
    outcomes: bytes = b""
    pages: bytes = b""
    languages: npt.NDArray[np.int16] = dataclasses.field(default_factory=lambda: np.zeros(0, np.int16))
    language_names: tuple[str, ...] = ()
    duplicate_rows: npt.NDArray[np.uint32] = dataclasses.field(default_factory=lambda: np.zeros(0, np.uint32))
    witness_sources: npt.NDArray[np.uint32] = dataclasses.field(default_factory=lambda: np.zeros(0, np.uint32))
    witness_rows: npt.NDArray[np.uint32] = dataclasses.field(default_factory=lambda: np.zeros(0, np.uint32))
    similarities: npt.NDArray[np.float32] = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    counts: dict[str, Any] = dataclasses.field(default_factory=dict)
    costs: dict[str, Any] = dataclasses.field(default_factory=dict)
    census: Census | None = None

    def __post_init__(self) -> None:
        if self.state not in STATES:
            self._refuse(f"state {self.state!r} is none of {', '.join(STATES)}")
        if not 0 <= self.source < MAX_SOURCES:
            self._refuse(f"source {self.source} isn't in [0, {MAX_SOURCES})")
        if self.first_row < 0 or self.rows < 0 or self.first_row + self.rows > MAX_ROWS_PER_SOURCE:
            self._refuse(f"first_row {self.first_row} and rows {self.rows} don't fit into 32 bits")
        told = self.rows if self.state == "done" else 0
        if len(self.outcomes) != told or self.languages.shape != (told,):
            self._refuse(
                f"{self.state} with {self.rows} rows, {len(self.outcomes)} outcomes, languages {self.languages.shape}"
            )
        if len(self.pages) not in (0, told) or (self.pages and max(self.pages) >= PAGE):
            self._refuse(f"{len(self.pages)} pages of {told} outcomes, or one that is over {PAGE - 1}")
        if self.languages.dtype != np.int16:
            self._refuse(f"languages are {self.languages.dtype}, not int16")
        if told and not -1 <= self.languages.min() <= self.languages.max() < len(self.language_names):
            self._refuse(f"a language index isn't in [-1, {len(self.language_names)})")
        self._check_duplicates()
        if self.census is not None and (self.first_row or int(self.census.rows.sum()) != self.rows):
            self._refuse(f"its sources have {int(self.census.rows.sum())} rows, the shard {self.rows}")
        if (self.state == "done") != bool(self.token_object):
            self._refuse(f"state {self.state}, but token_object {self.token_object!r}")

    def _check_duplicates(self) -> None:
        # The view counts through the outcomes instead: the n-th entry belongs to the n-th document with such a one.
        codes = np.frombuffer(self.outcomes, np.uint8)
        if len(codes) and codes.max() > 127:
            self._refuse("an outcome code isn't ASCII")
        expected = np.flatnonzero((codes == EXACT_DUPLICATE) | (codes == NEAR_DUPLICATE)) + self.first_row
        if not np.array_equal(expected, self.duplicate_rows):
            self._refuse(f"duplicate_rows ({len(self.duplicate_rows)}) aren't the {len(expected)} rows of duplicates")
        for name in ("witness_sources", "witness_rows", "similarities"):
            if getattr(self, name).shape != expected.shape:
                self._refuse(f"{len(expected)} duplicates, but {name} of {getattr(self, name).shape}")

    def _refuse(self, reason: str) -> None:
        raise ValueError(f"segment of shard {self.shard}, run {self.run}: {reason}")
