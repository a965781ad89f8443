"""Recipe: the run's steps in order; each is a box of its own."""

from __future__ import annotations

import dataclasses

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.outcomes import EDITS, Outcomes
from transforms.batches import Batch
from transforms.costs import spending
from transforms.recipe.spec import StepSpec
from transforms.recipe.steps import Step, StepFailed, apply_step
from transforms.recipe.user_code import place_of


def step_batch(batch: Batch, step: Step, outcomes: Outcomes, annotate_all: bool = False) -> Batch:
    """The batch after one step (``transforms.recipe.steps``).

    Raises:
      StepFailed: the step raised an error, or its answer can't be used; the message names the shard and the rows.
    """
    with spending(batch.costs, step.label):
        try:
            data = apply_step(batch.data, step, outcomes, annotate_all)
        except Exception as error:
            place = f"shard {batch.shard.name} ({batch.where})"
            reason = str(error) if isinstance(error, StepFailed) else repr(error)
            line = place_of(error, step.function)
            raise StepFailed(f"step {step.label} failed at {place}: {reason}{f' ({line})' if line else ''}") from error
    batch = batch.with_data(data)
    if step.kind == "editor":  # what is stored is the length of the text as it is now
        length = pc.cast(pc.binary_length(data["text"]), pa.uint32())
        edited = batch.with_columns(text_bytes=pc.coalesce(length, data["text_bytes"]))
        edits = batch.notes.get("edits", {}) | {step.label: edits_of(data, step)}
        return dataclasses.replace(edited, notes=batch.notes | {"edits": edits})
    return batch


def edits_of(data: pa.RecordBatch, step: Step) -> dict[str, int]:
    """How many documents an editor has changed, and the sums of what it counts."""
    counts = {
        name.removeprefix(f"{step.label}."): data[name].fill_null(0).to_numpy()
        for name, kind in step.columns.items()
        if pa.types.is_integer(kind)
    }
    changed = np.count_nonzero(np.logical_or.reduce([counts[what] for what in EDITS]))
    return {"documents": int(changed)} | {what: int(count.sum(dtype=np.int64)) for what, count in counts.items()}


def without_dropped_texts(data: pa.RecordBatch) -> pa.RecordBatch:
    """The documents without the texts of those that are out, which were left for annotators to see."""
    text = pc.if_else(pc.is_valid(data["outcome"]), pa.scalar(None, data["text"].type), data["text"])
    return data.set_column(data.schema.get_field_index("text"), "text", text)


def _unchanged(batch: Batch) -> Batch:
    return batch


class _Apply(beam.DoFn):
    def __init__(self, spec: StepSpec, outcomes: Outcomes, annotate_all: bool, is_last: bool) -> None:
        self._spec, self._outcomes, self._all, self._is_last = spec, outcomes, annotate_all, is_last

    def setup(self) -> None:
        """Imports and prepares the step, once a worker."""
        self._step = self._spec.load()
        self._step.setup()

    def process(self, batch: Batch) -> list[Batch]:
        batch = step_batch(batch, self._step, self._outcomes, self._all)
        return [batch.with_data(without_dropped_texts(batch.data)) if self._all and self._is_last else batch]


@dataclasses.dataclass
class Recipe(beam.PTransform):
    """From ``Batch``: the same after the steps, with their attributes as columns.

    A document that a step drops is dropped with its reason as ``outcome``; the steps behind it don't see it.

    Attributes:
      steps: by name.
      outcomes: of the run.
      annotate_all: show what was dropped to the annotators behind it.
    """

    steps: tuple[StepSpec, ...]
    outcomes: Outcomes
    annotate_all: bool = False

    def expand(self, batches: beam.PCollection[Batch]) -> beam.PCollection[Batch]:
        """A box a step, named as the recipe names it; one that does nothing if there are no steps."""
        if not self.steps:
            return batches | "NoSteps" >> beam.Map(_unchanged).with_output_types(Batch)
        for spec in self.steps:
            apply = _Apply(spec, self.outcomes, self.annotate_all, spec is self.steps[-1])
            batches = batches | spec.label >> beam.ParDo(apply).with_output_types(Batch)
        return batches
