"""Normalize: texts by the rules of the run (``transforms.kernels.text.normalization``, docs/normalization.md)."""

from __future__ import annotations

import dataclasses

import numpy as np

from transforms.batches import Batch, ShardFailed
from transforms.box import Box
from transforms.kernels.text.normalization import DEFAULT, Normalization, normalize
from transforms.normalized import normalized_columns


def normalize_batch(batch: Batch, options: Normalization) -> Batch:
    """The batch with its texts normalized (``normalized_columns``)."""
    with batch.at_work("Normalize"):
        return batch.with_columns(**normalized_columns(batch.data, options))


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
