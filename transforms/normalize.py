"""Normalize: texts by the rules of the run (``transforms.kernels.text.normalization``, docs/normalization.md)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.outcomes import EMPTY_TEXT
from transforms.batches import Batch, ShardFailed
from transforms.box import Box
from transforms.kernels.text.normalization import DEFAULT, Normalization, has_content, normalize


def normalize_batch(batch: Batch, options: Normalization) -> Batch:
    """The batch with its texts normalized; a text in which nothing is to be seen is out as empty.

    The column ``already_normalized`` says which texts were normalized as they came. ``text_bytes`` says how long each
    was, whatever becomes of it.
    """
    with batch.at_work("Normalize"):
        text = normalize(batch.data["text"], options)
        already_normalized = pc.equal(text, batch.data["text"])
        text_bytes = pc.cast(pc.binary_length(text), pa.uint32())
        empty = pa.array(text.is_valid().to_numpy(zero_copy_only=False) & ~has_content(text))
        if not pc.any(empty).as_py():
            return batch.with_columns(text=text, already_normalized=already_normalized, text_bytes=text_bytes)
        code = pa.scalar(EMPTY_TEXT, batch.data["outcome"].type)
        return batch.with_columns(
            already_normalized=already_normalized,
            text_bytes=text_bytes,
            text=pc.if_else(empty, pa.scalar(None, text.type), text),
            outcome=pc.if_else(empty, code, batch.data["outcome"]),
        )


def normalize_kept(batch: Batch, options: Normalization) -> Batch:
    """The batch of kept documents with their texts normalized.

    Those that pass 1 has found normalized aren't looked at again: the source is pinned, so they are the same.

    Raises:
      ShardFailed: the batch has no outcomes of pass 1.
    """
    if batch.shard_outcomes is None:
        raise ShardFailed(f"shard {batch.shard.name} has come to NormalizeKept without its outcomes")
    with batch.at_work("NormalizeKept"):
        row = batch.data["row"].to_numpy().astype(np.int64) - batch.shard.first_row
        known = batch.shard_outcomes.already_normalized[row]
        return batch.with_columns(text=normalize(batch.data["text"], options, known))


@dataclasses.dataclass
class Normalize(Box):
    """From ``Batch``: the same with normalized ``text``, and ``already_normalized`` and ``text_bytes``.

    Attributes:
      options: the rules.
    """

    options: Normalization = DEFAULT

    def apply(self, batch: Batch) -> Batch:
        """A pure function of each batch (``normalize_batch``)."""
        return normalize_batch(batch, self.options)


@dataclasses.dataclass
class NormalizeKept(Box):
    """From ``Batch`` of kept documents: the same with the ``text`` that pass 1 had.

    Attributes:
      options: the rules of pass 1.
    """

    options: Normalization = DEFAULT

    def apply(self, batch: Batch) -> Batch:
        """A pure function of each batch (``normalize_kept``)."""
        return normalize_kept(batch, self.options)
