"""AddColumns: what pass 1 has stored about the documents of pass 3, so that sources are read for their texts only."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.batches import Batch
from transforms.io.own_objects import opened
from transforms.io.stage_objects import StageObjects


class StoredColumns:
    """Some columns of a shard's fingerprint object, read forwards in the memory of one row group (65,536 rows).

    Args:
      uri: of the object.
      names: the columns.
    """

    def __init__(self, uri: str, names: tuple[str, ...]) -> None:
        self._names = list(names)
        self._stack = contextlib.ExitStack()
        self._file = pq.ParquetFile(self._stack.enter_context(opened(uri)))
        footer = self._file.metadata
        counts = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
        self._ends = np.cumsum(counts)
        self._group, self._held = -1, pa.table({})

    def of(self, rows: np.ndarray) -> pa.RecordBatch:
        """The columns of some rows of the object, ascending, none before those that were asked for last."""
        groups = np.searchsorted(self._ends, rows, side="right")
        parts = []
        for group in np.unique(groups):
            table = self._read(int(group))
            begin = int(self._ends[group]) - len(table)
            parts.append(table.take(pa.array(rows[groups == group] - begin)))
        found = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
        return found.to_batches()[0]

    def _read(self, group: int) -> pa.Table:
        if group != self._group:
            self._group, self._held = group, self._file.read_row_group(group, columns=self._names)
        return self._held.select(self._names)

    def close(self) -> None:
        """Lets go of the object."""
        self._stack.close()


class _Add(beam.DoFn):
    _stored: StoredColumns | None = None
    _shard = ""

    def __init__(self, fingerprints: StageObjects, names: tuple[str, ...]) -> None:
        self._fingerprints, self._names = fingerprints, names

    def process(self, batch: Batch) -> Iterator[Batch]:
        if batch.index == 0 or batch.shard.name != self._shard:
            self.teardown()
        if len(batch.data) and not batch.error:
            with batch.at_work("AddColumns"):
                if self._stored is None:
                    self._stored = StoredColumns(self._fingerprints.uri_of(batch.shard), self._names)
                    self._shard = batch.shard.name
                rows = batch.data["row"].to_numpy().astype(np.int64) - batch.shard.first_row
                found = self._stored.of(rows)
            batch = batch.with_columns(**dict(zip(self._names, found.columns, strict=True)))
        if batch.last:
            self.teardown()
        yield batch

    def teardown(self) -> None:
        """Closes the object."""
        if self._stored is not None:
            self._stored.close()
            self._stored = None


@dataclasses.dataclass
class AddColumns(beam.PTransform):
    """From ``Batch`` of kept documents: the same with columns that pass 1 has stored.

    Attributes:
      fingerprints: the objects of pass 1.
      names: the columns.
    """

    fingerprints: StageObjects
    names: tuple[str, ...]

    def expand(self, batches: beam.PCollection[Batch]) -> beam.PCollection[Batch]:
        """One object at a time, in the order of its rows."""
        return batches | beam.ParDo(_Add(self.fingerprints, self.names)).with_output_types(Batch)
