"""Deciding again with another recipe: what stored columns tell, and which texts have to be read.

A step is decidable if it declares which stored columns it reads (``reads``), as rules, families of rules, ``languages``
and ``buckets`` do, and doesn't change texts. All other steps look at texts. What they found in a run is known for its
documents if the run had the same step behind the same editors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.outcomes import NO_TOKENS, OWN, UNKNOWN_TOKENS, Outcomes
from transforms.recipe.spec import StepSpec
from transforms.recipe.steps import Step, attributes_of, codes_of

ALWAYS = ("language", "language_score")
"""Columns that every document with a text has, and that every decidable step is shown."""
BEHIND_THE_RECIPE = (NO_TOKENS, UNKNOWN_TOKENS)
"""Outcomes that are given to documents that the whole recipe has let through."""

Looking = tuple[str, str, tuple[str, ...]]
"""A step that looks at texts: its spec, its label, and the specs of the editors before it."""


def is_decidable(step: Step) -> bool:
    """Whether a step can be decided from stored columns."""
    return step.kind != "editor" and getattr(step.function, "reads", None) is not None and "text" not in reads_of(step)


def reads_of(step: Step) -> tuple[str, ...]:
    """The stored columns that a step declares to read."""
    return tuple(getattr(step.function, "reads", None) or ())


@dataclasses.dataclass(frozen=True)
class Decided:
    """What is decided of a shard's documents.

    Attributes:
      codes: uint16, the outcome of each document in the new run, 0 where the recipe lets it through.
      read: mask of the documents whose texts must be read: the other decisions don't hold for them.
      columns: the attributes that annotators have made of stored columns; nulls for those of steps that have to see
        the texts, which the stored ones aren't of.
    """

    codes: np.ndarray
    read: np.ndarray
    columns: dict[str, pa.Array]


@dataclasses.dataclass(frozen=True)
class DecideRules:
    """Applies a recipe to documents to which another was applied, as far as stored columns go.

    Attributes:
      steps, specs: of the recipe to apply; the steps are set up.
      outcomes: what can become of a document by it.
      before: the steps of the recipe that was applied.
      outcomes_before: what could become of a document by that.
    """

    steps: Sequence[Step]
    specs: Sequence[StepSpec]
    outcomes: Outcomes
    before: Sequence[Step]
    specs_before: Sequence[StepSpec]
    outcomes_before: Outcomes

    @property
    def columns(self) -> list[str]:
        """The stored columns that are needed; an attribute that no step before adds isn't among them."""
        there = {name for step in self.before for name in step.columns}
        own = {name for step in self.steps for name in step.columns}
        read = {name for step in self.steps if is_decidable(step) for name in reads_of(step)}
        return sorted(read.union(ALWAYS) - (own - there))

    def __call__(self, stored: pa.Table) -> Decided:
        """Decides on a shard.

        Args:
          stored: ``outcome``, ``content_hash`` (also of what was dropped, where it is known) and ``columns``.
        """
        old = stored["outcome"].fill_null(0).to_numpy().astype(np.uint16)
        whole = pc.is_valid(stored["content_hash"]).to_numpy()
        codes, read = np.zeros(len(old), np.uint16), np.zeros(len(old), np.bool_)
        invalid = np.isin(old, [code for code in OWN if code not in BEHIND_THE_RECIPE])
        codes[invalid] = old[invalid]
        dropped_at = self._dropped_at(old, whole)
        made: dict[str, pa.Array] = {}
        known = {looking: number for number, looking in enumerate_looking(self.before, self.specs_before)}
        for step, looking in zip(self.steps, looking_of(self.steps, self.specs), strict=True):
            active = (codes == 0) & ~read
            if is_decidable(step) and step.kind == "annotator":
                made |= _attributes(step, stored)
                stored = _with(stored, made)
            elif is_decidable(step):
                certain = whole | _all_known(stored, step, len(old))
                read |= active & ~certain
                chosen = np.flatnonzero(active & certain)
                if len(chosen):
                    codes[chosen] = self._decided(step, stored, chosen)
            elif looking not in known:
                read |= active
                made |= {name: pa.nulls(len(old), kind) for name, kind in step.columns.items()}
            elif step.kind != "annotator":
                at = known[looking]
                read |= active & (dropped_at < at)
                here = active & (dropped_at == at)
                codes[here] = self._recoded(old[here], step)
        left = (codes == 0) & ~read & ~whole
        behind = left & np.isin(old, BEHIND_THE_RECIPE)
        codes[behind] = old[behind]
        return Decided(codes, read | (left & ~behind), made)

    def _dropped_at(self, old: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Number of the step that dropped each document before its text was fingerprinted; beyond all if none did."""
        step_of = {reason: number for number, step in enumerate(self.before) for reason in step.reasons}
        at = np.full(max([0, *self.outcomes_before.table]) + 1, len(self.before), np.int64)
        for code, (_, reason) in self.outcomes_before.table.items():
            at[code] = step_of.get(reason, len(self.before))
        return np.where(whole, len(self.before), at[old])

    def _decided(self, step: Step, stored: pa.Table, chosen: np.ndarray) -> np.ndarray:
        batch = _shown(step, stored)
        if len(chosen) < len(batch):
            batch = batch.take(pa.array(chosen))
        return codes_of(step, batch, self.outcomes).fill_null(0).to_numpy()

    def _recoded(self, old: np.ndarray, step: Step) -> np.ndarray:
        """The codes that the reasons of a step have in the new run."""
        table = self.outcomes_before.table
        codes, which = np.unique(old, return_inverse=True)
        return np.array([self.outcomes.code(table[code][1]) for code in codes.tolist()], np.uint16)[which]


def _shown(step: Step, stored: pa.Table) -> pa.RecordBatch:
    """The stored columns that a step reads."""
    return pa.RecordBatch.from_pydict({name: _one(stored[name]) for name in {*reads_of(step), *ALWAYS}})


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _attributes(step: Step, stored: pa.Table) -> dict[str, pa.Array]:
    """What an annotator makes of stored columns; null in a document with a column that isn't known."""
    missing = [name for name in reads_of(step) if name not in stored.column_names]
    if missing:
        return {name: pa.nulls(len(stored), kind) for name, kind in step.columns.items()}
    return attributes_of(step, _shown(step, stored))


def _with(stored: pa.Table, columns: dict[str, pa.Array]) -> pa.Table:
    kept = stored.drop_columns([name for name in columns if name in stored.column_names])
    for name, column in columns.items():
        kept = kept.append_column(name, column)
    return kept


def looking_of(steps: Sequence[Step], specs: Sequence[StepSpec]) -> list[Looking]:
    """What identifies each step: itself, and the editors before it."""
    editors: list[str] = []
    found = []
    for step, spec in zip(steps, specs, strict=True):
        text = spec.model_dump_json()
        found.append((text, step.label, tuple(editors)))
        if step.kind == "editor":
            editors.append(text)
    return found


def enumerate_looking(steps: Sequence[Step], specs: Sequence[StepSpec]) -> list[tuple[int, Looking]]:
    """The steps that look at texts, with their numbers in the recipe."""
    found = enumerate(zip(steps, looking_of(steps, specs), strict=True))
    return [(number, looking) for number, (step, looking) in found if not is_decidable(step)]


def _all_known(stored: pa.Table, step: Step, count: int) -> np.ndarray:
    """Mask of the documents that have a value in every column that a step reads."""
    known = np.ones(count, np.bool_)
    for name in reads_of(step):
        if name in ALWAYS or name == "id":
            continue
        if name not in stored.column_names:
            return np.zeros(count, np.bool_)
        known &= pc.is_valid(stored[name]).to_numpy()
    return known
