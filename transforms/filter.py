"""Filter: the run's filters, in order, each drop with its reason."""

from __future__ import annotations

import dataclasses

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.outcomes import Outcomes
from transforms.batches import Batch, spending
from transforms.filters import FilterFunction, FilterSpec


class FilterFailed(Exception):
    """A filter raised an error or returned something that isn't a verdict on every document."""


def apply_filter(data: pa.RecordBatch, name: str, function: FilterFunction, outcomes: Outcomes) -> pa.RecordBatch:
    """The documents with ``outcome`` set and ``text`` null where this filter drops them.

    Raises:
      FilterFailed: it returned the wrong type or number of values, or a reason that it hasn't declared.
    """
    alive = np.flatnonzero(pc.is_valid(data["text"]).to_numpy(zero_copy_only=False))
    if not len(alive):
        return data
    verdict = function(data if len(alive) == len(data) else data.take(pa.array(alive)))
    if isinstance(verdict, np.ndarray):
        verdict = pa.array(verdict)
    if not isinstance(verdict, pa.Array) or len(verdict) != len(alive):
        raise FilterFailed(f"{name} must return an array of {len(alive)} values, one a document")
    if pa.types.is_boolean(verdict.type):
        verdict = pc.if_else(pc.fill_null(verdict, True), pa.scalar(None, pa.string()), function.reasons[0])
    if not (pa.types.is_string(verdict.type) or pa.types.is_null(verdict.type)):
        raise FilterFailed(f"{name} must return Booleans (true: keep) or strings (null: keep), not {verdict.type}")
    if verdict.null_count == len(verdict):
        return data
    coded = verdict.dictionary_encode()
    try:
        codes = np.array([outcomes.code(reason) for reason in coded.dictionary.to_pylist()], np.uint8)
    except KeyError as error:
        raise FilterFailed(f"{name} gave the reason {error}, which its `reasons` don't declare") from error
    dropped = pc.is_valid(coded.indices).to_numpy(zero_copy_only=False)
    outcome = pc.fill_null(data["outcome"], 0).to_numpy(zero_copy_only=False).copy()
    outcome[alive[dropped]] = codes[coded.indices.drop_null().to_numpy()]
    out = pa.array(outcome != 0)
    columns = dict(zip(data.schema.names, data.columns, strict=True))
    columns["outcome"] = pa.array(outcome, pa.uint8(), mask=outcome == 0)
    columns["text"] = pc.if_else(out, pa.scalar(None, data["text"].type), data["text"])
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


class _Apply(beam.DoFn):
    def __init__(self, filters: tuple[FilterSpec, ...], outcomes: Outcomes) -> None:
        self._specs, self._outcomes = filters, outcomes

    def setup(self) -> None:
        """Imports the filters once a worker."""
        self._filters = [(spec.use, spec.load()) for spec in self._specs]

    def process(self, batch: Batch) -> list[Batch]:
        with spending(batch.costs, "Filter"):
            data = batch.data
            for name, function in self._filters:
                try:
                    data = apply_filter(data, name, function, self._outcomes)
                except Exception as error:
                    rows = batch.data["row"]
                    place = f"shard {batch.shard.name} ({batch.shard.source.uri}, rows {rows[0]} to {rows[-1]})"
                    raise FilterFailed(f"filter {name} failed at {place}: {error!r}") from error
        return [batch.with_data(data)]


@dataclasses.dataclass
class Filter(beam.PTransform):
    """From ``Batch``: the same; documents that a filter drops are out of play with its reason as ``outcome``."""

    filters: tuple[FilterSpec, ...]
    outcomes: Outcomes

    def expand(self, batches: beam.PCollection[Batch]) -> beam.PCollection[Batch]:
        """The filters in order; a document dropped by one isn't shown to the next."""
        return batches | beam.ParDo(_Apply(self.filters, self.outcomes)).with_output_types(Batch)
