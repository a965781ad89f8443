"""WriteTokens: one object a shard with the training data, and the end of pass 3."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import tokens
from schemas.outcomes import NOT_DROPPED
from schemas.segments import Segment
from schemas.shards import document_id
from transforms.batches import Batch
from transforms.costs import Costs, add_costs, add_notes, costs_as_json, spending
from transforms.counters import count
from transforms.io.stage_objects import ObjectWriter, StageObjects
from transforms.shard_outcomes import ShardOutcomes, segment_of
from transforms.shard_writer import ShardWriter


def object_options(schema: pa.Schema) -> dict[str, Any]:
    """How the objects of pass 3 with this schema are written, beside what every object has."""
    added = [name for name in schema.names if name not in tokens(pa.uint32(), True).names]
    lists = "input_ids" if "input_ids" in schema.names else None
    return {"lists": lists, "use_dictionary": ["language", "source", "cluster_size", *added]}


@dataclasses.dataclass
class _Open:
    """A shard that is being written."""

    output: ObjectWriter
    shard_outcomes: ShardOutcomes
    groups: list[int]
    held: pa.Table
    n_tokens: list[np.ndarray] = dataclasses.field(default_factory=list)
    costs: Costs = dataclasses.field(default_factory=dict)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)


def token_rows(batch: Batch, shard_outcomes: ShardOutcomes, schema: pa.Schema) -> pa.RecordBatch:
    """The rows of the shard's token object for one batch of encoded documents (``schemas.columns.tokens``)."""
    rows = batch.data["row"].to_numpy()
    index = rows.astype(np.int64) - shard_outcomes.shard.first_row
    sources, which, source_rows = batch.sources(rows)
    numbers = np.array([source.number for source in sources], np.uint64)[which]
    values = {
        "user_id": batch.data["id"],
        "id": pa.array(document_id(numbers, source_rows.astype(np.uint64))),
        "language": pa.DictionaryArray.from_arrays(
            pa.array(shard_outcomes.languages[index].astype(np.int32)),
            pa.array(shard_outcomes.language_names, pa.string()),
        ),
        "language_score": pa.array(shard_outcomes.language_scores[index]),
        "cluster_size": pa.array(shard_outcomes.cluster_sizes[index]),
        "source": pa.DictionaryArray.from_arrays(
            pa.array(which.astype(np.int32)), pa.array([source.uri for source in sources])
        ),
        "source_row": pa.array(source_rows, pa.uint32()),
    }
    if "input_ids" in schema.names:
        values["n_tokens"] = pc.list_value_length(batch.data["input_ids"]).cast(pa.uint32())
    values |= {name: batch.data[name] for name in schema.names if name not in values}
    return pa.RecordBatch.from_arrays([values[name] for name in schema.names], schema=schema)


def _row_group(rows: pa.Table) -> pa.RecordBatch:
    """The rows in one piece; dictionaries hold what is in them, in the order in which it comes."""

    def whole(column: pa.ChunkedArray) -> pa.Array:
        if pa.types.is_dictionary(column.type):
            return column.cast(column.type.value_type).combine_chunks().dictionary_encode()
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    return pa.RecordBatch.from_arrays([whole(column) for column in rows.columns], schema=rows.schema)


class _Write(ShardWriter[_Open]):
    def __init__(self, objects: StageObjects, run: str, schema: pa.Schema) -> None:
        super().__init__(run, "tokens")
        self._objects, self._schema = objects, schema

    def begin(self, batch: Batch) -> _Open:
        """Opens the shard's object, under no name yet."""
        if batch.shard_outcomes is None:
            raise ValueError(f"shard {batch.shard.name} has come to WriteTokens without its outcomes")
        output = self._objects.open(batch.shard, self._schema, **object_options(self._schema))
        groups = batch.shard_outcomes.row_groups.tolist()
        return _Open(output, batch.shard_outcomes, groups, self._schema.empty_table())

    def add(self, work: _Open, batch: Batch) -> None:
        """Writes the row groups that are complete."""
        if batch.error:
            raise SourceBecameUnreadable(f"{batch.shard.source.uri} was read in pass 1 but not now: {batch.error}")
        with batch.at_work("WriteTokens"):
            if len(batch.data):
                rows = token_rows(batch, work.shard_outcomes, self._schema)
                counted = "n_tokens" in rows.schema.names  # else texts are written
                work.n_tokens.append(rows["n_tokens"].to_numpy() if counted else np.zeros(len(rows), np.uint32))
                work.held = pa.concat_tables([work.held, pa.table(rows)])
                while work.groups and work.groups[0] <= len(work.held):
                    count = work.groups.pop(0)
                    work.output.write(_row_group(work.held.slice(0, count)))
                    work.held = work.held.slice(count)
        add_costs(work.costs, batch.costs)
        add_notes(work.notes, batch.notes)

    def abandon(self, work: _Open) -> None:
        """Leaves no object."""
        work.output.abort()

    def finish(self, work: _Open, batch: Batch) -> Iterator[Segment]:
        """Commits the object if the counts of the shard add up."""
        uri = self._objects.uri_of(batch.shard)
        n_tokens = np.concatenate([np.zeros(0, np.uint32), *work.n_tokens])
        segment = segment_of(self.run, work.shard_outcomes, uri, n_tokens, work.costs, work.notes)
        with spending(work.costs, "WriteTokens"):
            work.output.commit()
        shard_outcomes = work.shard_outcomes
        dropped = ~np.isin(shard_outcomes.outcomes, list(NOT_DROPPED))
        count(documents=len(shard_outcomes.outcomes), bytes=shard_outcomes.text_bytes.sum(), tokens=n_tokens.sum())
        count(dropped=int(np.count_nonzero(dropped)), shards_done=1)
        yield dataclasses.replace(segment, costs=costs_as_json(work.costs))  # the commit is in them now


class SourceBecameUnreadable(Exception):
    """A source that pass 1 has read can't be read in pass 3, although it hasn't changed."""


@dataclasses.dataclass
class WriteTokens(beam.PTransform):
    """From ``Batch`` of token ids, or of texts: the ``Segment`` of each shard, after its object is committed.

    Raises:
      BrokenShard, UnbalancedCounts: on a worker; nothing is committed then.
    """

    objects: StageObjects
    run: str
    schema: pa.Schema

    def expand(self, batches: beam.PCollection[Batch]) -> beam.PCollection[Segment]:
        """One object a shard."""
        return batches | beam.ParDo(_Write(self.objects, self.run, self.schema))
