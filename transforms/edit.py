"""Edit: the recipe's editors again, in pass 3, and the proof that both passes over the text made the same of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import DOCUMENTS
from schemas.outcomes import Outcomes
from schemas.shards import Shard
from transforms.add_columns import StoredColumns
from transforms.batches import Batch, ShardFailed
from transforms.box import Box
from transforms.io.stage_objects import StageObjects
from transforms.recipe.spec import StepSpec
from transforms.recipe.steps import Step, apply_step
from transforms.shard_outcomes import ShardOutcomes

CHECKED = 16
"""Documents of each batch whose text is held against the hash that pass 1 has stored."""


class TextChanged(Exception):
    """A text of pass 3 isn't the one that pass 1 has fingerprinted."""


@dataclasses.dataclass(frozen=True)
class Editing:
    """The recipe's editors, and where it stands what they see of a document beside its text.

    Attributes:
      editors: in order.
      outcomes: of the run.
      kept: the names of the kept columns.
      fingerprints: the objects of pass 1.
    """

    editors: tuple[StepSpec, ...]
    outcomes: Outcomes
    kept: tuple[str, ...]
    fingerprints: StageObjects

    def edited(self, shard: Shard, documents: pa.RecordBatch, normalized: pa.StringArray) -> pa.StringArray:
        """The texts that pass 1 has fingerprinted.

        Args:
          documents: of the shard, as read (``schemas.columns.DOCUMENTS``), rows ascending.
          normalized: their normalized texts.
        """
        if not self.editors or not len(documents):
            return normalized
        stored = StoredColumns(self.fingerprints.uri_of(shard), ("language", "language_score", *self.kept))
        try:
            seen = stored.of(documents["row"].to_numpy().astype(np.int64) - shard.first_row)
        finally:
            stored.close()
        columns = dict(zip(documents.schema.names, documents.columns, strict=True)) | {"text": normalized}
        columns |= dict(zip(seen.schema.names, seen.columns, strict=True))
        data = pa.RecordBatch.from_pydict(columns)
        for step in self._steps:
            data = apply_step(data, step, self.outcomes)
        return data["text"]

    @functools.cached_property
    def _steps(self) -> list[Step]:
        return _prepared(self.editors)


def _prepared(editors: Iterable[StepSpec]) -> list[Step]:
    """The editors, imported and set up."""
    steps = [spec.load() for spec in editors]
    for step in steps:
        step.setup()
    return steps


def edit_batch(batch: Batch, editors: list[Step], outcomes: Outcomes, kept: tuple[str, ...] = ()) -> Batch:
    """The batch with its texts edited as in pass 1.

    Args:
      kept: the source columns that editors see.

    Raises:
      ShardFailed: an editor raised an error, or a text isn't what it was in pass 1.
    """
    shard_outcomes = batch.shard_outcomes
    if shard_outcomes is None:
        raise ShardFailed(f"shard {batch.shard.name} has come to Edit without its outcomes")
    index = batch.data["row"].to_numpy().astype(np.int64) - batch.shard.first_row
    if editors:
        data = _with_language(batch.data.select([*DOCUMENTS.names, *kept]), shard_outcomes, index)
        for step in editors:
            with batch.at_work(f"{step.label} (kept)"):
                data = apply_step(data, step, outcomes)
        batch = batch.with_columns(text=data["text"])
    with batch.at_work("Edit"):
        _check(batch.data["text"], shard_outcomes, index)
    return batch


def _with_language(data: pa.RecordBatch, shard_outcomes: ShardOutcomes, index: np.ndarray) -> pa.RecordBatch:
    """The documents with the columns that an editor has seen in pass 1."""
    languages = pa.DictionaryArray.from_arrays(
        pa.array(shard_outcomes.languages[index].astype(np.int32)), pa.array(shard_outcomes.language_names, pa.string())
    )
    data = data.append_column("language", languages)
    return data.append_column("language_score", pa.array(shard_outcomes.language_scores[index]))


def _check(text: pa.StringArray, shard_outcomes: ShardOutcomes, index: np.ndarray) -> None:
    """Holds some texts, spread over the batch, against the hashes of pass 1.

    Raises:
      TextChanged: one differs, or is gone.
    """
    if not len(text):
        return
    places = np.unique(np.linspace(0, len(text) - 1, CHECKED).astype(np.int64))
    stored = shard_outcomes.content_hashes.take(pa.array(index[places])).to_pylist()
    texts = pc.cast(text.take(pa.array(places)), pa.binary()).to_pylist()
    for place, encoded, expected in zip(places.tolist(), texts, stored, strict=True):
        if encoded is None or mmh3.mmh3_x64_128_digest(encoded) != expected:
            raise TextChanged(
                f"document {index[place]} of the shard has another text than in pass 1: an editor of the recipe "
                "doesn't give the same text twice, or its code was changed since. Start again with another output"
            )


@dataclasses.dataclass
class Edit(Box):
    """From ``Batch`` of kept documents: the same with the texts that pass 1 has fingerprinted.

    Attributes:
      editors: the recipe's, in order; they see ``id``, ``text``, ``language``, ``language_score`` and kept columns.
      outcomes: of the run.
      kept: the names of the kept columns.
    """

    editors: tuple[StepSpec, ...]
    outcomes: Outcomes
    kept: tuple[str, ...] = ()

    def setup(self) -> None:
        """Imports and prepares the editors, once a worker."""
        self._editors = _prepared(self.editors)

    def apply(self, batch: Batch) -> Batch:
        """The editors in order, then the comparison (``edit_batch``)."""
        if batch.error or not len(batch.data):
            return batch
        return edit_batch(batch, self._editors, self.outcomes, self.kept)
