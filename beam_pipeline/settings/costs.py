"""Settings of prices, predictions and the lineage: none of them changes a result."""

from __future__ import annotations

import functools
from typing import Self

import pydantic

from beam_pipeline.prices import Prices
from beam_pipeline.settings.fields import Part, of, options_of, setting

_cost = functools.partial(setting, "cost", decides="nothing")
_price = functools.partial(of, "cost", Prices)
_lineage = functools.partial(setting, "lineage", "", decides="nothing")


class CostSettings(Part):
    """What things cost (``Prices``), and predictions of it."""

    price_get: float = _price("get")
    price_put: float = _price("put")
    price_gb_month: float = _price("gb_month")
    price_cpu_hour: float = _price("cpu_hour")
    plan_fraction: float = _cost(
        0.05, gt=0, le=1, metavar="F", description="share of the documents that --plan looks at"
    )
    prediction: str = _cost(
        "",
        metavar="FILE",
        description="what --plan has printed for this run; run.json then shows it beside the actual figures",
    )

    def prices(self) -> Prices:
        """What requests, storage and CPUs cost."""
        return options_of(self, Prices, "price_")


class LineageSettings(Part):
    """Where the lineage is, and who is told what happens."""

    lineage_dsn: str = _lineage(
        metavar="DSN",
        description="PostgreSQL, e.g. 'host=db dbname=lineage'; empty: an embedded one in your data directory",
    )
    events_exchange: str = _lineage(
        max_length=255,
        metavar="NAME",
        description="topic exchange of RabbitMQ (AMQP_URL in the environment) that is told what happens; empty: none",
    )

    @pydantic.model_validator(mode="after")
    def _refuse_password(self) -> Self:
        from transforms.io.postgres import has_password

        if has_password(self.lineage_dsn):
            raise ValueError("lineage_dsn: leave the password out and set PGPASSWORD or PGPASSFILE instead")
        return self
