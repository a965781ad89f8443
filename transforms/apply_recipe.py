"""RecipeStep: one step of a recipe; each is a box of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.outcomes import EDITS, Outcomes
from transforms.batches import Batch
from transforms.box import Box
from transforms.costs import spending
from transforms.recipe.given import specs_of
from transforms.recipe.spec import PlannedRecipe, StepSpec
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


def edits_of(data: pa.RecordBatch | pa.Table, step: Step) -> dict[str, int]:
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


@dataclasses.dataclass
class RecipeStep(Box):
    """From ``Batch``: the same after one step of a recipe, with its attributes as columns.

    A document that the step drops has its reason as ``outcome``; the steps behind it don't see it.

    Attributes:
      spec: the step by name.
      outcomes: of the run.
      annotate_all: show what was dropped to annotators, and leave its text for those behind.
    """

    spec: StepSpec
    outcomes: Outcomes
    annotate_all: bool = False

    def default_label(self) -> str:
        """As the recipe names it."""
        return f"Recipe/{self.spec.label}"

    def setup(self) -> None:
        """Imports and prepares the step, once a worker."""
        self._step = self.spec.load()
        self._step.setup()

    def apply(self, batch: Batch) -> Batch:
        """The step's answer put to use (``step_batch``)."""
        return step_batch(batch, self._step, self.outcomes, self.annotate_all)


@dataclasses.dataclass
class RemoveDroppedTexts(Box):
    """From ``Batch``: the same without the texts of what was dropped, which were left for annotators to see."""

    def apply(self, batch: Batch) -> Batch:
        """A pure function of each batch (``without_dropped_texts``)."""
        return batch.with_data(without_dropped_texts(batch.data))


def recipe_boxes(steps: Sequence[StepSpec], outcomes: Outcomes, annotate_all: bool = False) -> list[Box]:
    """The boxes of a recipe, in order; none for a recipe without steps.

    Args:
      annotate_all: give what was dropped the attributes of the steps behind, too.
    """
    boxes: list[Box] = [RecipeStep(spec, outcomes, annotate_all) for spec in steps]
    return [*boxes, RemoveDroppedTexts()] if boxes and annotate_all else boxes


class Recipe(beam.PTransform):
    """From ``Batch``: the same after the steps, with their attributes as columns; a box a step.

    Args:
      steps: in order, each a name, a mapping as in YAML, a ``StepSpec``, or a callable.
      annotate_all: give what was dropped the attributes of the steps behind, too.

    Attributes:
      outcomes: what the codes in the column ``outcome`` mean.

    Raises:
      ValueError: a step can't be loaded, or the steps don't go together.

    Example:
      >>> batches | Recipe("text_statistics", {"rule": {"reason": "few_words", "keep": "words >= 50"}}, my_function)
    """

    def __init__(self, *steps: Any, annotate_all: bool = False) -> None:
        super().__init__()
        recipe = PlannedRecipe.of(specs_of(steps))
        self.outcomes = recipe.outcomes
        self.boxes = recipe_boxes(recipe.steps, recipe.outcomes, annotate_all)

    def expand(self, batches: beam.PCollection[Batch]) -> beam.PCollection[Batch]:
        """The boxes in order."""
        for box in self.boxes:
            batches |= box.label.removeprefix("Recipe/") >> box
        return batches
