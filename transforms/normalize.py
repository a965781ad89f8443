"""Normalize: texts by the rules of the run (``transforms.kernels.text.normalization``, docs/normalization.md)."""

from __future__ import annotations

import dataclasses

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.outcomes import EMPTY_TEXT
from transforms.batches import Batch
from transforms.kernels.text.normalization import Normalization, has_content, normalize


def normalize_batch(batch: Batch, options: Normalization) -> Batch:
    """The batch with its texts normalized; a text in which nothing is to be seen is out as empty.

    In pass 1 the column ``already_normalized`` says which texts were normalized as they came; in pass 3 these aren't
    looked at again: the source is pinned, so they are the same. ``text_bytes`` says how long each was, whatever becomes
    of it.
    """
    if batch.shard_outcomes:
        with batch.at_work("NormalizeKept"):
            row = batch.data["row"].to_numpy().astype(np.int64) - batch.shard.first_row
            return batch.with_columns(
                text=normalize(batch.data["text"], options, batch.shard_outcomes.already_normalized[row])
            )
    with batch.at_work("Normalize"):
        text = normalize(batch.data["text"], options)
        already_normalized = pc.equal(text, batch.data["text"])
        text_bytes = pc.cast(pc.binary_length(text), pa.uint32())
        empty = pa.array(text.is_valid().to_numpy(zero_copy_only=False) & ~has_content(text))
        if not pc.any(empty).as_py():
            return batch.with_columns(text=text, already_normalized=already_normalized, text_bytes=text_bytes)
        return batch.with_columns(
            already_normalized=already_normalized,
            text_bytes=text_bytes,
            text=pc.if_else(empty, pa.scalar(None, text.type), text),
            outcome=pc.if_else(empty, pa.scalar(EMPTY_TEXT, pa.uint8()), batch.data["outcome"]),
        )


@dataclasses.dataclass
class Normalize(beam.PTransform):
    """From ``Batch``: the same with normalized ``text``, and in pass 1 ``already_normalized`` and ``text_bytes``.

    Attributes:
      options: the rules.
    """

    options: Normalization

    def expand(self, batches: beam.PCollection[Batch]) -> beam.PCollection[Batch]:
        """A pure function of each batch."""
        return batches | beam.Map(normalize_batch, self.options).with_output_types(Batch)
