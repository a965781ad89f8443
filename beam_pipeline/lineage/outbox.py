"""What waits in the outbox, and whether somebody should look after it."""

from __future__ import annotations

import dataclasses
import datetime

from transforms.io.outbox import ROOM, waiting
from transforms.io.postgres import Connection

LATE_SECONDS = 300.0
"""How old an event may be that waits, before ``status`` says so."""


@dataclasses.dataclass(frozen=True, slots=True)
class Outbox:
    """Events that aren't sent yet, of all runs of a database.

    Attributes:
      waiting: how many, at most.
      room: from how many on events of shards and sources are left out.
      oldest: when the first of them was written; None if none waits.
      lost: events that were left out until now.
      alarm: what is wrong and what to do about it; None if nothing is.
    """

    waiting: int
    room: int
    oldest: datetime.datetime | None
    lost: int
    alarm: str | None


def outbox_of(connection: Connection, room: int = ROOM) -> Outbox:
    """Reads what waits, in the current transaction."""
    count = waiting(connection)
    oldest = connection.execute(
        "SELECT time, extract(epoch FROM now() - time)::double precision FROM outbox ORDER BY number LIMIT 1"
    ).fetchone()
    [(lost,)] = connection.execute("SELECT coalesce(sum(lost), 0)::bigint FROM event_streams").fetchall()
    moment, age = oldest or (None, 0.0)
    return Outbox(count, room, moment, lost, _alarm(count, room, age, lost))


def _alarm(count: int, room: int, age: float, lost: int) -> str | None:
    send = "Start RabbitMQ, then `events --send`"
    if count >= room:
        return f"the outbox is full: events of shards and sources are left out. {send}"
    if count and age > LATE_SECONDS:
        return f"events have waited for {datetime.timedelta(seconds=round(age))}: no command sends them. {send}"
    if count > room / 2:
        return f"the outbox is filling: {count:,} of {room:,} events. {send}"
    if lost:
        return f"{lost:,} events of shards and sources were left out while the outbox was full (docs/events.md)"
    return None
