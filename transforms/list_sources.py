"""ListSources: the pinned sources of a run, from its plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import pyarrow.parquet as pq

from schemas.shards import Source
from transforms.accounting import accounted
from transforms.own_objects import opened


def read_sources(sources_uri: str) -> Iterator[Source]:
    """The sources in a plan's ``sources.parquet`` (``schemas.columns.SOURCES``), a row group at a time."""
    with opened(sources_uri) as file:
        for rows in pq.ParquetFile(file).iter_batches():
            for row in rows.to_pylist():
                yield Source(**row)


@dataclasses.dataclass
class ListSources(beam.PTransform):
    """From the root: the run's sources (``Source``), spread over all workers.

    The pipeline's description names the file and holds no source itself: it stays small for a million of them.
    """

    sources_uri: str

    def expand(self, root: beam.Pipeline) -> beam.PCollection[Source]:
        """Reads the plan, then breaks fusion so that splitting runs in parallel."""
        return (
            root
            | "Plan" >> beam.Create([self.sources_uri], reshuffle=False)
            | "ReadPlan" >> beam.FlatMap(accounted, read_sources)
            | "Spread" >> beam.Reshuffle()
        )
