"""What the steps cost that write no segment: counted by Beam, step by step.

The text passes note their costs in the segments of their shards, where they survive a killed run. Splitting, skipping
and pass 2 have no such place; a handful of counters in one namespace is what they take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from apache_beam.metrics import Metrics, MetricsFilter

from transforms.batches import Costs, spending

NAMESPACE = "cost"
_END = object()
_MICROSECONDS = ("wall", "cpu")


def accounted(element: Any, function: Callable[..., Iterable[Any]], arguments: tuple[Any, ...] = ()) -> Iterator[Any]:
    """``function(element, *arguments)``, its costs counted: ``beam.FlatMap(accounted, function, arguments)``."""
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


def accounts_of(metrics: Any) -> dict[str, dict[str, float]]:
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
