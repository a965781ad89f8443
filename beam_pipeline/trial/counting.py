"""What each step of a recipe does to documents: in order, and alone.

Every step is called with every document, those that it would see in a run first. So what it drops alone is known, and
as each document is judged by itself, what it drops in the order of the recipe is what a run drops.

Memory: one batch, the texts that may be shown, and ``ROWS`` rows of attributes; the counts are sums.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.trial import conditions
from beam_pipeline.trial.calling import Caller, Fault
from beam_pipeline.trial.examples import Examples
from beam_pipeline.trial.prepared import Documents
from beam_pipeline.trial.result import ALL, DOCUMENTS, INVALID, KEPT, Condition, ShownText
from schemas.outcomes import EDITS, Outcomes
from transforms.costs import Cost

ROWS = 200_000
"""Documents whose attributes are held; of more, the first ones."""
CHECKED_DOCUMENTS, CHECKED_BYTES = 100, 256 << 10
"""With what a step is called when it is checked (``beam_pipeline.trial.checks``)."""
DUPLICATE_DOCUMENTS, DUPLICATE_BYTES = 50_000, 256 << 20
"""Of the documents kept, in which duplicates are looked for."""
WARMED_UP = 8

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


class Counting:
    """Takes batches through the steps of a recipe and adds up.

    Args:
      callers: of the steps, in order.
      outcomes: of the recipe.
      examples: takes the texts to look at.
    """

    def __init__(self, callers: Sequence[Caller], outcomes: Outcomes, examples: Examples) -> None:
        self._callers, self._outcomes, self._examples = callers, outcomes, examples
        self._counted = Counted()
        self._warm: set[int] = set()
        self._rows = self._kept_documents = self._kept_bytes = 0
        self._conditions: dict[Condition, None] = {}

    def __call__(self, batches: Iterable[Documents]) -> Counted:
        """All counts of the batches."""
        for documents in batches:
            self._add(documents)
        found = self._counted
        found.faults = {caller.number: caller.faults for caller in self._callers if caller.faults}
        found.texts, found.conditions = self._examples.texts(), tuple(self._conditions)
        return found

    def _add(self, documents: Documents) -> None:
        found, data = self._counted, documents.data
        found.read[0] += len(data)
        found.read[1] += documents.read_bytes
        judged = _Judged(data, self._outcomes)
        usable = pc.is_null(data["outcome"])
        active = data.filter(usable)
        for caller in self._callers:
            active = self._step(caller, active, judged, documents)
        kept = active.filter(pa.array(judged.step[_places(active, judged.first)] < 0))
        self._examples.add_kept(kept, documents)
        self._hold(kept, documents)
        judged.add_to(found, self._callers)
        self._add_rows(judged, active, documents)
        for caller in self._callers:
            for fault in caller.faults:
                at = fault.place - judged.first
                if 0 <= at < len(data) and fault.place not in found.places:
                    text = str(data["text"][at].as_py() or "")[:200]
                    found.places[fault.place] = (documents.source[at].as_py(), documents.source_row[at].as_py(), text)

    def _step(self, caller: Caller, active: pa.RecordBatch, judged: _Judged, source: Documents) -> pa.RecordBatch:
        """All documents after a step: those that an earlier step has dropped, too, with ``outcome`` null."""
        step = caller.step
        gone = judged.step[_places(active, judged.first)] >= 0
        seen, others = active.filter(pa.array(~gone)), active.filter(pa.array(gone))
        self._counted.checked.setdefault(caller.number, _some(seen))
        if not caller.own and caller.number not in self._warm and len(seen):
            self._warm.add(caller.number)
            caller(seen[:WARMED_UP], quiet=True)  # loading and compiling is no work
        cost, text_bytes = self._counted.costs.setdefault(step.label, (Cost(), 0))
        began, wall = time.process_time(), time.perf_counter()
        answer = caller(seen)
        cost.cpu += time.process_time() - began
        cost.wall += time.perf_counter() - wall
        shown_bytes = int(pc.sum(pc.binary_length(seen["text"])).as_py() or 0)
        self._counted.costs[step.label] = (cost, text_bytes + shown_bytes)
        parts = [answer, caller(others, quiet=True)] if len(others) else [answer]
        kind = active["outcome"].type
        codes = [part["outcome"].fill_null(0).to_numpy().astype(np.uint16) for part in parts]
        if step.kind == "editor":
            changed = _changed(answer, step.columns)
            self._examples.add_edited(step, seen, pc.fill_null(answer["text"], ""), changed, source)
            judged.edited(step.label, answer, changed, parts)
        judged.dropped(caller.number, [part["row"].to_numpy() for part in parts], codes)
        if step.kind == "filter":
            self._show(step, seen, codes[0], source)
        found = pa.Table.from_batches([_active(part, kind) for part in parts]).unify_dictionaries()
        whole = found.combine_chunks().to_batches()[0] if len(found) else active.slice(0, 0)
        if step.kind == "editor":  # what it leaves nothing of, no step sees
            return whole.filter(pc.is_valid(whole["text"])) if whole["text"].null_count else whole
        if step.kind == "filter":
            own = conditions.conditions_of([step], whole)
            self._conditions |= dict.fromkeys(own)
            judged.figures(conditions.figures_of(own, whole), whole)
        return whole

    def _show(self, step: object, seen: pa.RecordBatch, codes: np.ndarray, source: Documents) -> None:
        for reason in step.reasons:  # type: ignore[attr-defined]
            dropped = codes == self._outcomes.code(reason)
            self._examples.add_dropped(step, reason, seen, dropped, codes == 0, source)  # type: ignore[arg-type]

    def _hold(self, kept: pa.RecordBatch, source: Documents) -> None:
        size = int(pc.sum(pc.binary_length(kept["text"])).as_py() or 0)
        self._kept_documents += len(kept)
        self._kept_bytes += size
        if self._kept_documents > DUPLICATE_DOCUMENTS or self._kept_bytes > DUPLICATE_BYTES:
            self._counted.all_kept = False
            return
        at = pa.array(_places(kept, _first(source.data)))
        held = {name: kept[name] for name in ("id", "text", "language")}
        held["language"] = held["language"].cast(pa.string())
        held |= {"source": source.source.take(at).cast(pa.string()), "row": source.source_row.take(at)}
        self._counted.kept.append(pa.table(held))

    def _add_rows(self, judged: _Judged, active: pa.RecordBatch, source: Documents) -> None:
        if self._rows >= ROWS:
            return
        table = judged.table(active, source, self._callers, self._outcomes)[: ROWS - self._rows]
        self._rows += len(table)
        self._counted.documents.append(table)


class _Judged:
    """What becomes of the documents of one batch.

    Attributes:
      first: place of the first.
      step: number of the step that drops each, in order; -1: none.
      code: its outcome; of what is no text from the start, too.
      size: bytes of each text where it leaves the recipe.
    """

    def __init__(self, data: pa.RecordBatch, outcomes: Outcomes) -> None:
        self.first, self._data, self._outcomes = _first(data), data, outcomes
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
            at = _places(part, self.first)
            left = part["text"].is_valid().to_numpy(zero_copy_only=False)
            length = pc.binary_length(part["text"]).fill_null(0).to_numpy().astype(np.int64)
            self._now[at[left]] = length[left]
            if number == 0:
                self.size[at[left]] = length[left]
        counts = [answer[f"{label}.{what}"].fill_null(0).to_numpy().astype(np.int64) for what in EDITS]
        language = self._language[_places(answer, self.first)]
        sums = [np.bincount(language, weights, len(self._names)) for weights in (changed, *counts)]
        for name, row in zip(self._names, np.stack(sums, axis=1).astype(np.int64), strict=True):
            if row[0]:
                self._edits[label, name] = row

    def figures(self, found: Mapping[str, pa.Array], documents: pa.RecordBatch) -> None:
        """What rules look at of the documents."""
        at = _places(documents, self.first)
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
        at[_places(active, self.first)] = np.arange(len(active))
        taken = pa.array(at, mask=at < 0)
        for caller in callers:
            for name in caller.step.columns:
                if name in active.schema.names and name not in found.column_names:
                    found = found.append_column(name, active[name].take(taken))
        for name, values in self._figures.items():
            if name not in found.column_names:
                found = found.append_column(name, pa.array(values, mask=np.isnan(values)))
        return found


def _first(data: pa.RecordBatch) -> int:
    return int(data["row"][0].as_py()) if len(data) else 0


def _places(data: pa.RecordBatch, first: int) -> np.ndarray:
    """Where documents are in their batch."""
    return data["row"].to_numpy().astype(np.int64) - first


def _changed(answer: pa.RecordBatch, columns: Iterable[str]) -> np.ndarray:
    """Mask of the documents that an editor has changed."""
    counts = [answer[name].fill_null(0).to_numpy() for name in list(columns)[: len(EDITS)]]
    return np.logical_or.reduce(counts) if len(answer) else np.zeros(0, np.bool_)


def _active(part: pa.RecordBatch, kind: pa.DataType) -> pa.RecordBatch:
    """The documents as if the step had dropped none of them."""
    place = part.schema.get_field_index("outcome")
    return part.set_column(place, "outcome", pa.nulls(len(part), kind))


def _some(documents: pa.RecordBatch) -> pa.RecordBatch:
    """Documents to check a step with, spread over the batch."""
    if not len(documents):
        return documents
    chosen = np.unique(np.linspace(0, len(documents) - 1, CHECKED_DOCUMENTS).astype(np.int64))
    sizes = pc.binary_length(documents["text"]).to_numpy()[chosen].astype(np.int64)
    fitting = np.cumsum(sizes) <= CHECKED_BYTES
    fitting[:1] = True
    return documents.take(pa.array(chosen[fitting]))


def languages_of(sums: Sums) -> Iterator[str]:
    """The languages of the funnel, the commonest first."""
    of_all = {language: row[0] for (step, _, language), row in sums.items() if step == ALL}
    yield from sorted(of_all, key=lambda name: (-of_all[name], name))
