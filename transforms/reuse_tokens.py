"""ReuseTokens: token rows of the parent of a run that decides again, put between those that were made anew."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.shards import Census, Shard, places_in
from transforms.add_columns import StoredColumns
from transforms.batches import Batch
from transforms.io.own_objects import opened
from transforms.io.stage_objects import StageObjects

COLUMNS = {"user_id": "id", "input_ids": "input_ids", "text": "text"}
"""What is taken from a token row, and its name in a batch; the rest follows from what is stored of the document."""


class StoredTokens:
    """The rows of a shard's token object that are used again, read forwards in the memory of one row group.

    Args:
      uri: of the object.
      shard, census: whose it is.
      wanted: mask of the documents of the shard that are used again.
      names: the columns.
    """

    def __init__(self, uri: str, shard: Shard, census: Census | None, wanted: np.ndarray, names: list[str]) -> None:
        self._shard, self._census, self._wanted, self._names = shard, census, wanted, names
        self._stack = contextlib.ExitStack()
        self._file = pq.ParquetFile(self._stack.enter_context(opened(uri)))
        self._groups = iter(range(self._file.num_row_groups))
        self._held: pa.RecordBatch | None = None

    def before(self, place: int) -> Iterator[pa.RecordBatch]:
        """The rows of documents before a place that haven't been given yet: ``row``, the place, and the columns."""
        while True:
            if self._held is None:
                group = next(self._groups, None)
                if group is None:
                    return
                self._held = self._chosen(group)
            count = int(np.searchsorted(self._held["row"].to_numpy(), place))
            if count:
                yield self._held.slice(0, count)
            if count < len(self._held):
                self._held = self._held.slice(count)
                return
            self._held = None

    def _chosen(self, group: int) -> pa.RecordBatch:
        table = self._file.read_row_group(group, columns=["id", *self._names])
        places = places_in(table["id"].to_numpy(), self._shard, self._census)
        mask = self._wanted[places]
        table = table.filter(pa.array(mask)).combine_chunks()
        rows = pa.array((places[mask] + self._shard.first_row).astype(np.uint32))
        columns = [_one(table[name]) for name in self._names]
        return pa.RecordBatch.from_arrays([rows, *columns], names=["row", *(COLUMNS[name] for name in self._names)])

    def close(self) -> None:
        """Lets go of the object."""
        self._stack.close()


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


class _Reuse(beam.DoFn):
    _stored: StoredTokens | None = None
    _columns: StoredColumns | None = None

    def __init__(
        self, tokens: StageObjects, fingerprints: StageObjects, names: Sequence[str], more: tuple[str, ...]
    ) -> None:
        self._tokens, self._fingerprints, self._more = tokens, fingerprints, more
        self._names = [name for name in COLUMNS if name in names]
        self._index = 0

    def start_bundle(self) -> None:
        """Lets go of what a failed bundle has left."""
        self.teardown()

    def process(self, batch: Batch) -> Iterator[Batch]:
        """The rows of the parent that come before the end of the batch, and those of the batch among them."""
        if batch.index == 0:
            self.teardown()
            self._index = 0
            with batch.at_work("ReuseTokens"):
                self._open(batch)
        pieces = self._pieces(batch)
        while True:
            with batch.at_work("ReuseTokens"):
                piece = next(pieces, None)
            if piece is None:
                break
            yield self._numbered(dataclasses.replace(batch, last=False, costs={}, notes={}), piece)
        yield self._numbered(batch, batch.data.slice(len(batch.data)))  # with it go costs, notes, and the end

    def _numbered(self, batch: Batch, data: pa.RecordBatch) -> Batch:
        index, self._index = self._index, self._index + 1
        return dataclasses.replace(batch, index=index, data=data)

    def _open(self, batch: Batch) -> None:
        outcomes = batch.shard_outcomes
        if outcomes is None or outcomes.reused is None or not outcomes.reused.any():
            return
        uri = self._tokens.uri_of(batch.shard)
        self._stored = StoredTokens(uri, batch.shard, outcomes.census, outcomes.reused, self._names)
        if self._more:
            self._columns = StoredColumns(self._fingerprints.uri_of(batch.shard), self._more)

    def _pieces(self, batch: Batch) -> Iterator[pa.RecordBatch]:
        """Rows in order, at most a row group of the parent and the batch together."""
        made, rows = batch.data, batch.data["row"].to_numpy()
        given = 0
        if self._stored is not None and not batch.error:
            end = 2**32 if batch.last else int(rows[-1]) if len(rows) else 0
            for reused in self._stored.before(end):
                whole = self._whole(batch, reused)
                count = int(np.searchsorted(rows, whole["row"][-1].as_py())) - given
                yield _in_order(whole, made.slice(given, count))
                given += count
        if given < len(made):
            yield made.slice(given)

    def _whole(self, batch: Batch, reused: pa.RecordBatch) -> pa.RecordBatch:
        if self._columns is None:
            return reused
        more = self._columns.of(reused["row"].to_numpy().astype(np.int64) - batch.shard.first_row)
        for name, column in zip(more.schema.names, more.columns, strict=True):
            reused = reused.append_column(name, column)
        return reused

    def teardown(self) -> None:
        """Closes the objects."""
        for each in (self._stored, self._columns):
            if each is not None:
                each.close()
        self._stored = self._columns = None


def _in_order(reused: pa.RecordBatch, made: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of both by ``row``."""
    if not len(made):
        return reused
    both = pa.Table.from_batches([reused, made.select(reused.schema.names).cast(reused.schema)])
    order = np.argsort(both["row"].to_numpy(), kind="stable")
    return both.take(pa.array(order)).combine_chunks().to_batches()[0]


@dataclasses.dataclass
class ReuseTokens(beam.PTransform):
    """From ``Batch`` of what was tokenized anew: the same with the rows that the parent has, in the order of the rows.

    Attributes:
      tokens: the parent's token objects.
      fingerprints: the run's own.
      names: the columns of token rows.
      more: kept columns and attributes of token rows, taken from the fingerprints.
    """

    tokens: StageObjects
    fingerprints: StageObjects
    names: Sequence[str]
    more: tuple[str, ...] = ()

    def expand(self, batches: beam.PCollection[Batch]) -> beam.PCollection[Batch]:
        """One shard at a time."""
        reuse = _Reuse(self.tokens, self.fingerprints, self.names, self.more)
        return batches | beam.ParDo(reuse).with_output_types(Batch)
