"""Box: what the steps of a text pass have in common."""

from __future__ import annotations

import dataclasses
from typing import Any

import apache_beam as beam

from transforms.batches import Batch


class Box(beam.PTransform):
    """A step of a text pass: a PTransform on ``Batch``, and itself the function that it applies to each.

    A subclass is a dataclass whose fields are its options. Its ``apply`` is a function of one batch; what ``setup``
    prepares for it, once a worker, stays out of pickles.

    Example:
      >>> box = Normalize()
      >>> batches | box                    # in a pipeline
      >>> box.setup(); box(batch)          # by hand
    """

    def setup(self) -> None:
        """Loads what the box needs; before the first call, once a worker."""

    def apply(self, batch: Batch) -> Batch:
        """The batch after this step."""
        raise NotImplementedError

    def __call__(self, batch: Batch) -> Batch:
        """The batch after this step, what that took among its costs; the batch that is given stays as it is."""
        return self.apply(batch.with_own_notes())

    def expand(self, batches: beam.PCollection[Batch]) -> beam.PCollection[Batch]:
        """Applies the box to each batch."""
        return batches | "Each" >> beam.ParDo(_Each(self)).with_output_types(Batch)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


class _Each(beam.DoFn):
    def __init__(self, box: Box) -> None:
        self._box = box

    def setup(self) -> None:
        """Once a worker."""
        self._box.setup()

    def process(self, batch: Batch) -> list[Batch]:
        return [self._box(batch)]
