"""What flows between the boxes of a text pass: a shard's documents, batch by batch."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam import coders

from schemas.shards import Census, Part, Shard, Source
from transforms.costs import Costs, copy_costs, spending
from transforms.rules_decided import RulesDecided
from transforms.shard_outcomes import ShardOutcomes


class ShardFailed(Exception):
    """A box of a text pass can't do its work on a shard; the message says which and why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive documents of one shard.

    Attributes:
      shard: whose documents these are.
      index: number of the batch in its shard, from 0 without a gap.
      last: whether the shard ends with this batch. Every shard has a last batch, if need be an empty one.
      data: the documents; ``schemas.columns.DOCUMENTS`` and the columns that the boxes add.
      costs: what the boxes spent on this batch so far.
      shard_outcomes: in pass 3, what became of the shard's documents.
      error: with ``last``, why the shard can't be read; what came before it is void.
      notes: what a box has to say about the shard, for its segment.
      parts: of a packed shard, the sources that these documents are from.
      census: of a packed shard, with ``last`` in pass 1: what each of its sources has.
      decided: in pass 1 of a run that decides again, what was decided of the shard without its texts.
    """

    shard: Shard
    index: int
    last: bool
    data: pa.RecordBatch
    costs: Costs = dataclasses.field(default_factory=dict)
    shard_outcomes: ShardOutcomes | None = None
    error: str = ""
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    census: Census | None = None
    decided: RulesDecided | None = None

    def sources(self, rows: np.ndarray) -> tuple[list[Source], np.ndarray, np.ndarray]:
        """Where documents of the batch are, by the column ``row``: some sources, which of them, and the row in it."""
        if not self.parts:
            return [self.shard.source], np.zeros(len(rows), np.int64), rows.astype(np.int64)
        first = np.array([part.first for part in self.parts], np.int64)
        which = np.searchsorted(first, rows, side="right") - 1
        return [part.source for part in self.parts], which, rows.astype(np.int64) - first[which]

    @property
    def where(self) -> str:
        """The batch's documents in words, for errors."""
        if not len(self.data) or "row" not in self.data.schema.names:
            return self.shard.source.uri
        ends = self.data["row"].take(pa.array([0, len(self.data) - 1])).to_numpy()
        sources, which, rows = self.sources(ends)
        if which[0] == which[1]:
            return f"{sources[which[0]].uri}, rows {rows[0]} to {rows[1]}"
        return f"{sources[which[0]].uri}, row {rows[0]}, to {sources[which[1]].uri}, row {rows[1]}"

    @contextlib.contextmanager
    def at_work(self, step: str) -> Iterator[None]:
        """Adds to ``costs`` what a box spends on the batch in the block, and names the shard if the block fails.

        Raises:
          ShardFailed: anything was raised in the block.
        """
        try:
            with spending(self.costs, step):
                yield
        except Exception as error:
            raise ShardFailed(f"shard {self.shard.name} ({self.where}), {step}: {error!r}") from error

    def with_own_notes(self) -> Batch:
        """The same documents with costs and notes of their own, which can be added to."""
        return dataclasses.replace(self, costs=copy_costs(self.costs), notes=dict(self.notes))

    def with_columns(self, **columns: pa.Array) -> Batch:
        """The batch with these columns added or replaced."""
        arrays = dict(zip(self.data.schema.names, self.data.columns, strict=True)) | columns
        return self.with_data(pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays)))

    def with_data(self, data: pa.RecordBatch) -> Batch:
        """The batch with other documents."""
        return dataclasses.replace(self, data=data)


class BatchCoder(coders.Coder):
    """Tells Beam how large a batch is without pickling it.

    Beam samples the sizes of what goes from step to step, at every step the first ten elements of a bundle and fewer of
    the rest. With the coder it takes by itself that was a copy of the text at almost every step: 3 % of a run.
    """

    def encode(self, value: Batch) -> bytes:
        """Pickled; the boxes of a text pass are fused, so no runner asks for it."""
        return pickle.dumps(value)

    def decode(self, encoded: bytes) -> Batch:
        """What was encoded."""
        batch: Batch = pickle.loads(encoded)
        return batch

    def estimate_size(self, value: Batch) -> int:
        """Bytes of the documents."""
        return value.data.nbytes


coders.registry.register_coder(Batch, BatchCoder)
