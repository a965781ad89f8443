"""Documents as the recipe's first step is shown them: normalized, with their languages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.settings import Settings
from transforms.costs import Costs, spending
from transforms.io.pinned_files import PinnedFile
from transforms.io.readers.batching import string_lengths
from transforms.io.readers.common import BATCH_BYTES
from transforms.kernels.deduplication.blocks import mix
from transforms.kernels.language import identification
from transforms.normalized import normalized_columns


@dataclasses.dataclass(frozen=True)
class Documents:
    """A batch.

    Attributes:
      data: documents as steps take them (``transforms.recipe.steps.apply_step``); ``row`` is the place in the trial.
      source, source_row: where each is from.
      read_bytes: bytes of the texts as read.
    """

    data: pa.RecordBatch
    source: pa.DictionaryArray
    source_row: pa.Array
    read_bytes: int


class Preparing:
    """Does to documents what a run does before its recipe.

    Attributes:
      costs: of ``Normalize`` and ``IdentifyLanguage``.
      bytes: of the texts that it was given.
    """

    def __init__(self, settings: Settings) -> None:
        self.costs: Costs = {}
        self.bytes = 0
        self._settings = settings
        self._normalization = settings.normalization()
        self._model = identification.load(PinnedFile.pin(settings.language_model).local_path())
        self._place = 0

    def __call__(self, tables: Iterator[pa.Table] | Sequence[pa.Table]) -> Iterator[Documents]:
        """Batches of at most 16 MiB of text.

        Args:
          tables: ``schemas.columns.DOCUMENTS``, kept columns and ``source``, as a sample has them.
        """
        for table in tables:
            for batch in table.combine_chunks().to_batches():
                for piece in _cut(batch):
                    yield self._prepared(piece)

    def _prepared(self, batch: pa.RecordBatch) -> Documents:
        places = pa.array(np.arange(self._place, self._place + len(batch), dtype=np.uint32))
        read_bytes = int(string_lengths(batch["text"]).sum())
        source, row = batch["source"], batch["row"]
        data = batch.drop_columns(["source"])
        self._place += len(batch)
        if not self.bytes and len(batch):
            self._columns(data[:8], {})  # loading and compiling is no work
        self.bytes += read_bytes
        return Documents(_with(data, {"row": places} | self._columns(data, self.costs)), source, row, read_bytes)

    def _columns(self, data: pa.RecordBatch, costs: Costs) -> dict[str, pa.Array]:
        with spending(costs, "Normalize"):
            columns = normalized_columns(data, self._normalization)
        with spending(costs, "IdentifyLanguage"):
            language, score = self._model.identify(
                columns["text"], window=self._settings.language_window, min_letters=self._settings.min_letters
            )
        return columns | {"language": language, "language_score": score}


def _cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    ends = np.cumsum(string_lengths(batch["text"]))
    start = 0
    while start < len(batch):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + BATCH_BYTES, side="right")))
        yield batch[start:stop]
        start = stop


def _with(data: pa.RecordBatch, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    arrays = dict(zip(data.schema.names, data.columns, strict=True)) | columns
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def stratified(table: pa.Table, languages: pa.Array, size: int) -> tuple[pa.Table, dict[str, float]]:
    """As many documents of each language, or all of one that has fewer; which ones, hashes of their rows decide.

    Args:
      table: of a sample, with more documents than are wanted.
      languages: of its documents.
      size: how many are wanted.

    Returns:
      The documents, in order, and for each language how many of the table one of them stands for.
    """
    coded = pc.fill_null(languages.cast(pa.string()), "").dictionary_encode()
    groups = coded.indices.to_numpy()
    order = np.argsort(mix(np.arange(len(table), dtype=np.uint64)), kind="stable")
    turn = np.empty(len(table), np.int64)  # the number of each document among those of its language
    for group in range(len(coded.dictionary)):
        members = order[groups[order] == group]
        turn[members] = np.arange(len(members))
    chosen = np.sort(np.lexsort((groups, turn))[:size])
    found = np.bincount(groups[chosen], minlength=len(coded.dictionary))
    there = np.bincount(groups, minlength=len(coded.dictionary))
    weights = {
        name: float(all_of_it / many)
        for name, all_of_it, many in zip(coded.dictionary.to_pylist(), there, found, strict=True)
        if many
    }
    return table.take(pa.array(chosen)), weights
