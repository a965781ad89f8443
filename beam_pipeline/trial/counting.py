"""What each step of a recipe does to documents: in order, and alone.

Every step is called with every document, those that it would see in a run first. So what it drops alone is known, and
as each document is judged by itself, what it drops in the order of the recipe is what a run drops.

Memory: one batch, the texts that may be shown, and ``ROWS`` rows of attributes; the counts are sums.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.trial import conditions
from beam_pipeline.trial.calling import Caller
from beam_pipeline.trial.examples import Examples
from beam_pipeline.trial.judging import Counted, Judged, first_of, places_of
from beam_pipeline.trial.prepared import Documents
from beam_pipeline.trial.result import Condition
from schemas.outcomes import EDITS, Outcomes
from transforms.costs import Cost

ROWS = 200_000
"""Documents whose attributes are held; of more, the first ones."""
CHECKED_DOCUMENTS, CHECKED_BYTES = 100, 256 << 10
"""With what a step is called when it is checked (``beam_pipeline.trial.checks``)."""
DUPLICATE_DOCUMENTS, DUPLICATE_BYTES = 50_000, 256 << 20
"""Of the documents kept, in which duplicates are looked for."""
WARMED_UP = 8


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
        for caller in self._callers:
            caller.say_if_off()
        found.faults = {caller.number: caller.faults for caller in self._callers if caller.faults}
        found.texts, found.conditions = self._examples.texts(), tuple(self._conditions)
        return found

    def _add(self, documents: Documents) -> None:
        found, data = self._counted, documents.data
        found.read[0] += len(data)
        found.read[1] += documents.read_bytes
        judged = Judged(data, self._outcomes)
        usable = pc.is_null(data["outcome"])
        active = data.filter(usable)
        for caller in self._callers:
            active = self._step(caller, active, judged, documents)
        kept = active.filter(pa.array(judged.step[places_of(active, judged.first)] < 0))
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

    def _step(self, caller: Caller, active: pa.RecordBatch, judged: Judged, source: Documents) -> pa.RecordBatch:
        """All documents after a step: those that an earlier step has dropped, too, with ``outcome`` null."""
        step = caller.step
        gone = judged.step[places_of(active, judged.first)] >= 0
        seen, others = active.filter(pa.array(~gone)), active.filter(pa.array(gone))
        checked = self._counted.checked
        if not len(checked.get(caller.number, ())):
            checked[caller.number] = _some(seen)
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
        at = pa.array(places_of(kept, first_of(source.data)))
        held = {name: kept[name] for name in ("id", "text", "language")}
        held["language"] = held["language"].cast(pa.string())
        held |= {"source": source.source.take(at).cast(pa.string()), "row": source.source_row.take(at)}
        self._counted.kept.append(pa.table(held))

    def _add_rows(self, judged: Judged, active: pa.RecordBatch, source: Documents) -> None:
        if self._rows >= ROWS:
            return
        table = judged.table(active, source, self._callers, self._outcomes)[: ROWS - self._rows]
        self._rows += len(table)
        self._counted.documents.append(table)


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
