"""What the writers of both text passes share: a shard's batches are put together whole and in order, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import apache_beam as beam

from transforms.batches import Batch

LOGGER = logging.getLogger(__name__)

Work = TypeVar("Work")


class BrokenShard(Exception):
    """A shard's batches didn't arrive whole and in order: a runner has broken the fusion of a text pass."""


class ShardWriter(beam.DoFn, Generic[Work]):
    """Collects the batches of one shard after the other.

    Args:
      run: UUID of the run, for the logs.
      makes: what is written, for the logs.

    Subclasses say how to ``begin`` a shard, ``add`` a batch, ``finish`` it (yielding what the transform emits) and
    ``abandon`` what was begun.

    Raises:
      BrokenShard: batches are missing, out of order, or of several shards at once. Nothing is committed then.
    """

    _work: Work | None = None
    _shard_name = ""
    _next_index = 0

    def __init__(self, run: str, makes: str) -> None:
        self.run, self._makes = run, makes

    def begin(self, batch: Batch) -> Work:
        """Starts a shard; ``batch`` is its first."""
        raise NotImplementedError

    def add(self, work: Work, batch: Batch) -> None:
        """Takes the next batch."""
        raise NotImplementedError

    def finish(self, work: Work, batch: Batch) -> Iterator[Any]:
        """Commits; ``batch`` is the shard's last, already added."""
        raise NotImplementedError

    def abandon(self, work: Work) -> None:
        """Leaves nothing behind."""
        raise NotImplementedError

    def process(self, batch: Batch) -> Iterator[Any]:
        """Takes one batch; emits at the last of a shard."""
        if self._work is None:
            self._shard_name, self._next_index = batch.shard.name, 0
            LOGGER.info("run %s: %s of shard %s begin", self.run, self._makes, batch.shard.name)
            self._work = self.begin(batch)
        if batch.shard.name != self._shard_name or batch.index != self._next_index:
            raise BrokenShard(
                f"expected batch {self._next_index} of shard {self._shard_name}, got batch {batch.index} of "
                f"{batch.shard.name}: the runner doesn't keep the steps of a text pass together"
            )
        self._next_index += 1
        self.add(self._work, batch)
        if batch.last:
            work, self._work = self._work, None
            yield from self.finish(work, batch)

    def start_bundle(self) -> None:
        """Abandons what a failed bundle has left."""
        if self._work is not None:
            work, self._work = self._work, None
            self.abandon(work)

    def finish_bundle(self) -> None:
        """A bundle ends with whole shards."""
        if self._work is not None:
            name = self._shard_name
            self.start_bundle()
            raise BrokenShard(f"the bundle ended before the last batch of shard {name}")

    def teardown(self) -> None:
        """Abandons what was begun."""
        self.start_bundle()
