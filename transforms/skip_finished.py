"""SkipFinished: work that an earlier attempt has committed isn't done again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam

from schemas.shards import Shard
from transforms.accounting import accounted, count
from transforms.stage_objects import StageObjects


class Progress(NamedTuple):
    """The outputs of ``SkipFinished``."""

    todo: beam.PCollection[Shard]
    done: beam.PCollection[Shard]


def sort_out(shard: Shard, objects: StageObjects) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
    """The shard, on the output ``done`` if its object is there and matches.

    What was found out when the shard was read (its rows, or that it can't be read) is taken from the object.
    """
    committed = objects.find(shard)
    if committed is None:
        yield shard
    else:
        count(shards_skipped=1)
        yield beam.pvalue.TaggedOutput("done", dataclasses.replace(shard, rows=committed.rows, error=committed.error))


@dataclasses.dataclass
class SkipFinished(beam.PTransform):
    """From ``Shard``: ``todo``, and ``done`` with those whose object of this stage is there already."""

    objects: StageObjects

    def expand(self, shards: beam.PCollection[Shard]) -> Progress:
        """One look at the store a shard."""
        outputs = shards | beam.FlatMap(accounted, sort_out, (self.objects,)).with_outputs("done", main="todo")
        return Progress(outputs.todo, outputs.done)
