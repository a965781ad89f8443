"""``events``: how many events wait to be sent to RabbitMQ; with ``--send``, sends them.

Runs and ``watch`` with --events_exchange send what waits, of all runs in the database. This is for what was left when
RabbitMQ was away. ``AMQP_URL`` and its companions in the environment say where it is (docs/events.md).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses

from rich.console import Console

from beam_pipeline.commands.lineage_arguments import add_lineage_arguments, locate, opened, print_json
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.outbox import Outbox

_SECONDS = 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``events``."""
    add_lineage_arguments(parser)
    parser.add_argument("--send", action="store_true", help="send what waits, oldest first, for an hour at most")


def run(args: argparse.Namespace) -> int:
    """Sends if wanted, then prints what waits; returns the exit status."""
    dsn, _ = locate(args.output, args.run, args.lineage_dsn)
    sent = 0
    with opened(dsn) as lineage:
        if args.send:
            from beam_pipeline import broker
            from beam_pipeline.event_publisher import Publisher

            with contextlib.closing(Publisher(broker.parameters())) as publisher:
                sent = publisher.send_all(lineage, _SECONDS)
        outbox = runs.outbox(lineage)
    if args.json:
        print_json({"sent": sent, **dataclasses.asdict(outbox)})
        return 0
    console = Console(soft_wrap=True, highlight=False)
    if args.send:
        console.print(f"sent: {sent:,}")
    console.print(f"waiting: {told(outbox)}")
    return 0


def told(outbox: Outbox) -> str:
    """What waits, in a line, with the alarm if there is one."""
    since = f", since {outbox.oldest:%Y-%m-%d %H:%M:%S %Z}" if outbox.oldest else ""
    return f"{outbox.waiting:,} of at most {outbox.room:,}{since}" + (
        f". ALARM: {outbox.alarm}" if outbox.alarm else ""
    )
