"""Spread: breaks fusion, so that what follows is shared out among all workers, the largest first."""

from __future__ import annotations

from typing import Protocol

import apache_beam as beam
from apache_beam.transforms.util import ReshufflePerKey


class Work(Protocol):
    """What is spread: a shard, or what is decided about one."""

    @property
    def name(self) -> str:
        """Tells it from all others."""

    @property
    def size(self) -> int:
        """What the work on it is in proportion to."""


class Spread(beam.Reshuffle):
    """A Reshuffle whose elements come in order of size where a runner minds the order (``runners.local_runner``).

    The last shards of a pass are small ones then, and no worker waits long for another. To Flink it is any Reshuffle.
    """

    def expand(self, elements: beam.PCollection[Work]) -> beam.PCollection[Work]:
        """As Beam's own, by a key that sorts before those of smaller elements instead of a random one."""
        kind = elements.element_type
        return (
            elements
            | "AddKeys" >> beam.Map(with_key).with_output_types(tuple[bytes, kind])  # type: ignore[valid-type]
            | ReshufflePerKey()
            | "RemoveKeys" >> beam.Map(_without_key).with_output_types(kind)
        )


def with_key(element: Work) -> tuple[bytes, Work]:
    """The element under its key."""
    return b"%016x" % (2**63 - min(max(0, element.size), 2**63)) + element.name.encode(), element


def _without_key(keyed: tuple[bytes, Work]) -> Work:
    return keyed[1]
