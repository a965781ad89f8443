"""Normalize: one spelling of the same text (``transforms.kernels.normalization`` has the rules)."""

from __future__ import annotations

import dataclasses

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from schemas.outcomes import EMPTY_TEXT
from transforms.batches import Batch
from transforms.kernels.normalization import normalize


def normalize_batch(batch: Batch) -> Batch:
    """The batch with its texts normalized; a text of which nothing is left is out as empty."""
    with batch.at_work("NormalizeKept" if batch.verdict else "Normalize"):
        text = normalize(batch.data.column("text"))
        empty = pc.equal(pc.binary_length(text), 0)
        if not pc.any(empty).as_py():
            return batch.with_columns(text=text)
        return batch.with_columns(
            text=pc.if_else(empty, pa.scalar(None, text.type), text),
            outcome=pc.if_else(pc.fill_null(empty, False), pa.scalar(EMPTY_TEXT, pa.uint8()), batch.data["outcome"]),
        )


@dataclasses.dataclass
class Normalize(beam.PTransform):
    """From ``Batch``: the same with normalized ``text``."""

    def expand(self, batches: beam.PCollection[Batch]) -> beam.PCollection[Batch]:
        """A pure function of each batch."""
        return batches | beam.Map(normalize_batch)
