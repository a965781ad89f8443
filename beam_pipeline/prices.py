"""What a run asked of the store and of the CPUs, and what that costs at the prices in the settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transforms.io.storage.requests import FIELDS
from transforms.options import check, option


@dataclasses.dataclass(frozen=True)
class Prices:
    """Money, in any one currency; the defaults are AWS S3 Standard's in dollars. A GB has 10**9 bytes.

    Raises:
      ValueError: a price is under 0.
    """

    get: float = option(0.0004, "1,000 GET or HEAD requests", decides="nothing", metavar="P", ge=0)
    put: float = option(0.005, "1,000 PUT, POST or LIST requests", decides="nothing", metavar="P", ge=0)
    gb_month: float = option(0.023, "1 GB for a month", decides="nothing", metavar="P", ge=0)
    cpu_hour: float = option(0.04, "1 CPU for an hour", decides="nothing", metavar="P", ge=0)

    def __post_init__(self) -> None:
        check(self)


def total_requests(steps: Mapping[str, Mapping[str, float]]) -> dict[str, int]:
    """The sums over all steps by the names of ``Requests``, zeros included."""
    return {name: int(sum(step.get(name, 0) for step in steps.values())) for name in FIELDS}


def cost_summary(requests: Mapping[str, int], cpu_seconds: float, stored_bytes: int, prices: Prices) -> dict[str, Any]:
    """The part of the manifest about the store and money; a prediction has the same form.

    ``{"requests": {"list": ..., "get": ..., "put": ...}, "bytes_read": ..., "bytes_written": ..., "bytes_reread": ...,
    "stored_bytes": ..., "cpu_hours": ..., "cost": {"requests": ..., "cpu": ..., "storage_per_month": ...}}``
    """
    asked = (requests["put"] + requests["list"]) * prices.put + requests["get"] * prices.get
    return {
        "requests": {name: requests[name] for name in ("list", "get", "put")},
        **{name: requests[name] for name in ("bytes_read", "bytes_written", "bytes_reread")},
        "stored_bytes": stored_bytes,
        "cpu_hours": round(cpu_seconds / 3600, 6),
        "cost": {
            "requests": round(asked / 1000, 6),
            "cpu": round(cpu_seconds / 3600 * prices.cpu_hour, 6),
            "storage_per_month": round(stored_bytes / 1e9 * prices.gb_month, 6),
        },
    }


def compare(predicted: Mapping[str, Any], actual: Mapping[str, Any]) -> dict[str, Any]:
    """``{name: {"predicted": ..., "actual": ...}}`` for every number that both have; inner ones are ``outer.inner``."""
    before, after = _flat(predicted), _flat(actual)
    return {name: {"predicted": before[name], "actual": after[name]} for name in before if name in after}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            flat[prefix + name] = value
    return flat
