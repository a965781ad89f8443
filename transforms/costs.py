"""What the steps of a shard cost: seconds and requests, and what else a box notes for the shard's segment."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import Any

from transforms.io.storage import Requests, counted


@dataclasses.dataclass(slots=True)
class Cost:
    """Wall and CPU seconds of one step, and what it asked of the store."""

    wall: float = 0.0
    cpu: float = 0.0
    requests: Requests = dataclasses.field(default_factory=Requests)

    def as_json(self) -> dict[str, float]:
        """As a segment records it: ``wall``, ``cpu``, and by name what isn't 0 of the requests."""
        return {"wall": self.wall, "cpu": self.cpu} | self.requests.nonzero()


Costs = dict[str, Cost]
"""Costs by step."""


@contextlib.contextmanager
def spending(costs: Costs, step: str) -> Iterator[None]:
    """Adds what this thread spends in the block to ``costs[step]``, also if the block fails."""
    cost = costs.setdefault(step, Cost())
    wall, cpu = time.perf_counter(), time.thread_time()
    try:
        with counted(cost.requests):
            yield
    finally:
        cost.wall += time.perf_counter() - wall
        cost.cpu += time.thread_time() - cpu


def costs_as_json(costs: Costs) -> dict[str, dict[str, float]]:
    """As segments record them: ``{step: {"wall": ..., "cpu": ..., ...}}``."""
    return {step: cost.as_json() for step, cost in costs.items()}


def copy_costs(costs: Costs) -> Costs:
    """Costs that can be added to without changing these."""
    return {step: Cost(cost.wall, cost.cpu, dataclasses.replace(cost.requests)) for step, cost in costs.items()}


def add_costs(total: Costs, more: Costs) -> None:
    """Adds ``more`` to ``total``, step by step."""
    for step, cost in more.items():
        sum_of_step = total.setdefault(step, Cost())
        sum_of_step.wall += cost.wall
        sum_of_step.cpu += cost.cpu
        sum_of_step.requests.add(cost.requests)


def add_notes(total: dict[str, Any], more: dict[str, Any]) -> None:
    """Adds what a box said of another batch of the shard: numbers are sums, of anything else the last word counts."""
    for name, note in more.items():
        if isinstance(note, dict):
            add_notes(total.setdefault(name, {}), note)
        elif isinstance(note, int):
            total[name] = total.get(name, 0) + note
        else:
            total[name] = note
