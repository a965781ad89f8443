"""What ``export``, ``dedup`` and ``decide --corpus`` have in common: they record what they made, and tell RabbitMQ."""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from beam_pipeline import broker
from beam_pipeline.broker import BrokerUnavailable
from beam_pipeline.commands.lineage_arguments import locate
from beam_pipeline.event_publisher import Publisher
from beam_pipeline.finished_runs import finished_run
from transforms.io.lineage import Lineage

LOGGER = logging.getLogger(__name__)

_SECONDS = 10.0


class Product:
    """Something that is made from runs and told when it is done.

    Args:
      exchange: where it is told; empty: nowhere, and nothing is recorded.
      dsn: PostgreSQL that takes the record; empty: that of ``run``, or the embedded one.
      run: output of a run that it is made from.

    Raises:
      BrokerSettingsError: the environment doesn't say where RabbitMQ is.
      LineageUnavailable, LineageSchemaError: the database can't be used.
    """

    def __init__(self, exchange: str, dsn: str, run: str = ""):
        self._exchange = exchange
        if self._exchange:
            self._settings = broker.parameters()
            self._dsn, _ = locate(finished_run(run).output if run else None, None, dsn)
            with Lineage(self._dsn, retry_seconds=_SECONDS) as lineage:
                lineage.migrate()
                lineage.check_rights()

    def done(self, kind: str, uri: str, made_from: Sequence[str], summary: Mapping[str, Any]) -> None:
        """Records it, and tells it; if RabbitMQ is away, the event waits in the outbox."""
        if not self._exchange:
            return
        with Lineage(self._dsn) as lineage, contextlib.closing(Publisher(self._settings)) as publisher:
            lineage.record_product(kind, uri, made_from, summary, self._exchange)
            try:
                publisher.send_all(lineage, _SECONDS)
            except BrokerUnavailable as error:
                LOGGER.warning("%s. Its event waits in the outbox", error)


def add_events_arguments(parser: argparse.ArgumentParser) -> None:
    """``--events_exchange`` and ``--lineage_dsn``."""
    group = parser.add_argument_group("events", "Who is told when it is done (docs/events.md).")
    group.add_argument(
        "--events_exchange",
        metavar="NAME",
        default="",
        help="topic exchange of RabbitMQ (AMQP_URL in the environment); empty: none",
    )
    group.add_argument(
        "--lineage_dsn", metavar="DSN", default="", help="PostgreSQL that records it (default: the run's)"
    )
