"""ListSources: the pinned sources of a run, from its plan."""

from __future__ import annotations

import dataclasses

import apache_beam as beam

from schemas.shards import Shard, Source
from transforms.counters import metered
from transforms.io.source_list import read_planned


@dataclasses.dataclass
class ListSources(beam.PTransform):
    """From the root: the run's sources (``Source``), and packed shards (``Shard``), spread over all workers.

    The pipeline's description names the file and holds no source itself: it stays small for a million of them.
    """

    sources_uri: str

    def expand(self, root: beam.Pipeline) -> beam.PCollection[Source | Shard]:
        """Reads the plan, then breaks fusion so that splitting runs in parallel."""
        return (
            root
            | "Plan" >> beam.Create([self.sources_uri], reshuffle=False)
            | "ReadPlan" >> beam.FlatMap(metered, read_planned)
            | "Spread" >> beam.Reshuffle()
        )
