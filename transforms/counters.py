"""What Beam counts, step by step: how far the job is, and what the steps cost that write no segment.

A runner's UI shows ``RUN_COUNTERS`` while a job works. They count what this job has done; those of the run are in
the lineage.

The text passes note their costs in the segments of their shards, where they survive a killed run. Splitting, skipping
and pass 2 have no such place; a handful of counters in one namespace is what they take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from apache_beam.metrics import Metrics, MetricsFilter

from transforms.costs import Costs, spending

NAMESPACE = "cost"
RUN_NAMESPACE = "run"
RUN_COUNTERS = {
    "documents": "documents read, by pass",
    "bytes": "bytes of their normalized text, by pass",
    "tokens": "tokens written",
    "dropped": "documents dropped by a filter or as duplicates",
    "shards_done": "shards whose object was committed, by pass",
    "shards_skipped": "shards whose object was there already",
    "retries": "shards that were written before, with another result",
    "texts_read_again": "documents that a run that decides again can't decide from stored columns",
}
"""Counters of the namespace ``run``, and what each counts."""
_END = object()
_MICROSECONDS = ("wall", "cpu")


def count(**amounts: int) -> None:
    """Adds to some of ``RUN_COUNTERS``."""
    for name, amount in amounts.items():
        if name not in RUN_COUNTERS:
            raise ValueError(f"{name} isn't one of the run's counters")
        Metrics.counter(RUN_NAMESPACE, name).inc(int(amount))


def metered(element: Any, function: Callable[..., Iterable[Any]], arguments: tuple[Any, ...] = ()) -> Iterator[Any]:
    """``function(element, *arguments)``, its costs counted: ``beam.FlatMap(metered, function, arguments)``."""
    costs: Costs = {}
    results = iter(function(element, *arguments))
    while True:
        with spending(costs, ""):
            result = next(results, _END)
        if result is _END:
            break
        yield result
    for name, amount in costs[""].as_json().items():
        Metrics.counter(NAMESPACE, name).inc(round(amount * 1e6) if name in _MICROSECONDS else int(amount))


def metered_costs(metrics: Any) -> dict[str, dict[str, float]]:
    """What was counted in a pipeline that is done, by the box of the diagram: ``{box: {"wall": seconds, ...}}``.

    Args:
      metrics: ``PipelineResult.metrics()``.
    """
    steps: dict[str, dict[str, float]] = {}
    for found in metrics.query(MetricsFilter().with_namespace(NAMESPACE))["counters"]:
        name = found.key.metric.name
        step = steps.setdefault(found.key.step.partition("/")[0], {})
        step[name] = step.get(name, 0) + (found.result / 1e6 if name in _MICROSECONDS else found.result)
    return dict(sorted(steps.items()))
