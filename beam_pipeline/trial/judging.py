"""What becomes of the documents of a batch, and the sums of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.trial.calling import Caller, Fault
from beam_pipeline.trial.prepared import Documents
from beam_pipeline.trial.result import ALL, DOCUMENTS, INVALID, KEPT, Condition, ShownText
from schemas.outcomes import EDITS, Outcomes
from transforms.costs import Cost

Sums = dict[tuple[str, str, str], list[int]]
"""By step, reason and language: documents, bytes, documents alone, bytes alone."""


@dataclasses.dataclass
class Counted:
    """What was counted.

    Attributes:
      sums: of the funnel.
      edits: by step and language: documents changed, and characters as ``schemas.outcomes.EDITS``.
      overlap: by pairs of reasons, documents that both would drop.
      documents: one row a document, ``ROWS`` at most: ``result.DOCUMENTS``, attributes, figures.
      costs: CPU seconds of each step, and bytes of text that it was shown, in the order of the recipe.
      faults: by number of the step.
      places: source and row of documents at which a step has failed.
      conditions: of the recipe.
      texts: to look at.
      checked: for each step, documents as it is shown them.
      kept: texts that the recipe keeps, with source and row, in which duplicates are looked for.
      all_kept: whether these are all.
      read: documents and bytes as read.
    """

    sums: Sums = dataclasses.field(default_factory=dict)
    edits: dict[tuple[str, str], list[int]] = dataclasses.field(default_factory=dict)
    overlap: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    documents: list[pa.Table] = dataclasses.field(default_factory=list)
    costs: dict[str, tuple[Cost, int]] = dataclasses.field(default_factory=dict)
    faults: dict[int, list[Fault]] = dataclasses.field(default_factory=dict)
    places: dict[int, tuple[str, int, str]] = dataclasses.field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    texts: tuple[ShownText, ...] = ()
    checked: dict[int, pa.RecordBatch] = dataclasses.field(default_factory=dict)
    kept: list[pa.Table] = dataclasses.field(default_factory=list)
    all_kept: bool = True
    read: list[int] = dataclasses.field(default_factory=lambda: [0, 0])


class Judged:
    """What becomes of the documents of one batch.

    Attributes:
      first: place of the first.
      step: number of the step that drops each, in order; -1: none.
      code: its outcome; of what is no text from the start, too.
      size: bytes of each text where it leaves the recipe.
    """

    def __init__(self, data: pa.RecordBatch, outcomes: Outcomes) -> None:
        self.first, self._data, self._outcomes = first_of(data), data, outcomes
        self.code = data["outcome"].fill_null(0).to_numpy().astype(np.uint16)
        self.step = np.where(self.code > 0, np.int32(1 << 30), np.int32(-1))
        self.size = data["text_bytes"].fill_null(0).to_numpy().astype(np.int64)
        self._now = self.size.copy()  # as if nothing were dropped
        languages = pc.fill_null(data["language"].cast(pa.string()), "").dictionary_encode()
        self._names: list[str] = languages.dictionary.to_pylist()
        self._language = languages.indices.to_numpy()
        self._alone: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._edits: dict[tuple[str, str], np.ndarray] = {}
        self._figures: dict[str, np.ndarray] = {}

    def dropped(self, number: int, rows: Sequence[np.ndarray], codes: Sequence[np.ndarray]) -> None:
        """What a step drops: of the documents that it sees in order first, then of the others."""
        at = rows[0].astype(np.int64) - self.first
        here = at[codes[0] > 0]
        self.step[here], self.code[here] = number, codes[0][codes[0] > 0]
        alone = np.zeros(len(self.code), np.uint16)
        for part, of_part in zip(rows, codes, strict=True):
            alone[part.astype(np.int64) - self.first] = of_part
        self._alone[number] = (alone, self._now.copy())

    def edited(self, label: str, answer: pa.RecordBatch, changed: np.ndarray, parts: Sequence[pa.RecordBatch]) -> None:
        """What an editor has made of the documents that it sees in order, and of all."""
        for number, part in enumerate(parts):
            at = places_of(part, self.first)
            left = part["text"].is_valid().to_numpy(zero_copy_only=False)
            length = pc.binary_length(part["text"]).fill_null(0).to_numpy().astype(np.int64)
            self._now[at[left]] = length[left]
            if number == 0:
                self.size[at[left]] = length[left]
        counts = [answer[f"{label}.{what}"].fill_null(0).to_numpy().astype(np.int64) for what in EDITS]
        language = self._language[places_of(answer, self.first)]
        sums = [np.bincount(language, weights, len(self._names)) for weights in (changed, *counts)]
        for name, row in zip(self._names, np.stack(sums, axis=1).astype(np.int64), strict=True):
            if row[0]:
                self._edits[label, name] = row

    def figures(self, found: Mapping[str, pa.Array], documents: pa.RecordBatch) -> None:
        """What rules look at of the documents."""
        at = places_of(documents, self.first)
        for name, values in found.items():
            column = self._figures.setdefault(name, np.full(len(self.code), np.nan))
            column[at] = values.to_numpy(zero_copy_only=False)

    def add_to(self, counted: Counted, callers: Sequence[Caller]) -> None:
        """Adds the batch to the counts."""
        every = np.ones(len(self.code), np.bool_)
        self._add(counted.sums, ALL, "", every, self.size, every, self.size)
        for code in np.unique(self.code[self.step == 1 << 30]).tolist():
            mask = (self.step == 1 << 30) & (self.code == code)
            self._add(counted.sums, INVALID, self._outcomes.table[code][1], mask, self.size, mask, self.size)
        usable = self.step != 1 << 30
        for caller in callers:
            if caller.number not in self._alone:
                continue
            alone, sizes = self._alone[caller.number]
            for reason in caller.step.reasons:
                code = self._outcomes.code(reason)
                mask = (self.step == caller.number) & (self.code == code)
                self._add(counted.sums, caller.step.label, reason, mask, self.size, usable & (alone == code), sizes)
        kept = self.step < 0
        self._add(counted.sums, KEPT, "", kept, self.size, kept, self.size)
        for key, row in self._edits.items():
            found = counted.edits.setdefault(key, [0] * len(row))
            counted.edits[key] = [old + int(new) for old, new in zip(found, row, strict=True)]
        self._add_overlap(counted.overlap)

    def _add(
        self,
        sums: Sums,
        step: str,
        reason: str,
        mask: np.ndarray,
        sizes: np.ndarray,
        alone: np.ndarray,
        sizes_alone: np.ndarray,
    ) -> None:
        width = len(self._names)
        columns = [
            np.bincount(self._language[mask], minlength=width),
            np.bincount(self._language[mask], sizes[mask], width).astype(np.int64),
            np.bincount(self._language[alone], minlength=width),
            np.bincount(self._language[alone], sizes_alone[alone], width).astype(np.int64),
        ]
        for number, name in enumerate(self._names):
            row = [int(column[number]) for column in columns]
            if any(row):
                found = sums.setdefault((step, reason, name), [0] * len(row))
                sums[step, reason, name] = [old + new for old, new in zip(found, row, strict=True)]
            elif step in (ALL, KEPT) or not any(key[:2] == (step, reason) for key in sums):
                sums.setdefault((step, reason, name), [0] * len(row))

    def _add_overlap(self, overlap: Counter[tuple[str, str]]) -> None:
        """Pairs of reasons of two steps that a document has."""
        numbers = sorted(self._alone)
        for place, one in enumerate(numbers):
            for other in numbers[place + 1 :]:
                first, second = self._alone[one][0], self._alone[other][0]
                both = np.flatnonzero((first > 0) & (second > 0))
                pairs, counts = np.unique(np.stack([first[both], second[both]]), axis=1, return_counts=True)
                for (a, b), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
                    overlap[self._outcomes.table[a][1], self._outcomes.table[b][1]] += count

    def table(
        self, active: pa.RecordBatch, source: Documents, callers: Sequence[Caller], outcomes: Outcomes
    ) -> pa.Table:
        """One row a document: ``result.DOCUMENTS``, the attributes, the figures."""
        reasons = {code: reason for code, (_, reason) in outcomes.table.items()}
        labels = {caller.number: caller.step.label for caller in callers} | {-1: "", 1 << 30: ""}
        invalid = self.step == 1 << 30
        columns: dict[str, object] = {
            "source": source.source,
            "row": source.source_row.cast(pa.int64()),
            "id": self._data["id"],
            "language": self._data["language"].cast(pa.string()),
            "language_score": self._data["language_score"],
            "text_bytes": pa.array(self.size, mask=invalid & (self.size == 0)),
            "outcome": pa.array(np.where(invalid, "invalid", np.where(self.step < 0, "kept", "dropped"))),
            "step": pa.array([labels[number] for number in self.step.tolist()], pa.string()),
            "reason": pa.array([reasons.get(code, "") for code in self.code.tolist()], pa.string()),
        }
        found = pa.table(columns).cast(DOCUMENTS)
        at = np.full(len(self.code), -1, np.int64)
        at[places_of(active, self.first)] = np.arange(len(active))
        taken = pa.array(at, mask=at < 0)
        for caller in callers:
            for name in caller.step.columns:
                if name in active.schema.names and name not in found.column_names:
                    found = found.append_column(name, active[name].take(taken))
        for name, values in self._figures.items():
            if name not in found.column_names:
                found = found.append_column(name, pa.array(values, mask=np.isnan(values)))
        return found


def first_of(data: pa.RecordBatch) -> int:
    """The place of the first document of a batch."""
    return int(data["row"][0].as_py()) if len(data) else 0


def places_of(data: pa.RecordBatch, first: int) -> np.ndarray:
    """Where documents are in their batch."""
    return data["row"].to_numpy().astype(np.int64) - first


def languages_of(sums: Sums) -> Iterator[str]:
    """The languages of the funnel, the commonest first."""
    of_all = {language: row[0] for (step, _, language), row in sums.items() if step == ALL}
    yield from sorted(of_all, key=lambda name: (-of_all[name], name))
