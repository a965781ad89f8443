"""The outbox: facts to be told, written in the transaction that commits them, and taken out when they are sent.

A stream's events are numbered from 1 without gaps, in the order of their commits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from psycopg.types.json import Jsonb

from schemas.events import OF_SHARDS, Event, Fact
from transforms.io.postgres import Connection

ROOM = 1_000_000
"""Events that wait at most (about half a kilobyte each). Beyond it, events of shards and sources are left out: their
numbers are used all the same, so that a consumer sees the gap, and ``event_streams.lost`` counts them."""
_SENDER_LOCK = 0x6265616D_65766E74  # "beamevnt"


def tell(connection: Connection, exchange: str | None, stream: str, facts: Sequence[Fact], room: int = ROOM) -> None:
    """Puts facts into the outbox, in the transaction that commits them; the last statement of it.

    Args:
      exchange: where they will be published; None: they aren't told.
      stream: a run's id, or the URI of what was made.
    """
    if exchange is None or not facts:
        return
    [(last,)] = connection.execute(
        "INSERT INTO event_streams AS old (stream, last) VALUES (%(stream)s, %(count)s)"
        " ON CONFLICT (stream) DO UPDATE SET last = old.last + %(count)s RETURNING last",
        {"stream": stream, "count": len(facts)},
    ).fetchall()
    numbered = list(enumerate(facts, last - len(facts) + 1))
    if waiting(connection) + len(facts) > room:
        numbered = [(sequence, fact) for sequence, fact in numbered if fact.kind not in OF_SHARDS]
        connection.execute(
            "UPDATE event_streams SET lost = lost + %s WHERE stream = %s", (len(facts) - len(numbered), stream)
        )
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO outbox (exchange, stream, sequence, type, subject, data) VALUES (%s, %s, %s, %s, %s, %s)",
            [(exchange, stream, sequence, fact.kind, fact.subject, Jsonb(fact.data)) for sequence, fact in numbered],
        )


def waiting(connection: Connection) -> int:
    """How many events wait at most, by their first and last number: two looks into an index."""
    [(count,)] = connection.execute("SELECT coalesce(max(number) - min(number) + 1, 0) FROM outbox").fetchall()
    return int(count)


def send(connection: Connection, publish: Callable[[Event], bool], most: int) -> int:
    """Takes events that wait, oldest first, out of the outbox once they are published; in the current transaction.

    Of several processes one sends at a time, so that streams stay in order; the others send nothing.

    Args:
      publish: returns when the broker has the event; False: no time is left for another.
      most: events to look at.

    Returns:
      How many were sent.

    Raises:
      Whatever ``publish`` raises: the transaction should be committed for what was sent before, which ``publish`` can
      see to by returning False instead.
    """
    [(alone,)] = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_SENDER_LOCK,)).fetchall()
    if not alone:
        return 0
    rows = connection.execute(
        "SELECT number, exchange, stream, sequence, type, subject, data, time FROM outbox ORDER BY number LIMIT %s",
        (most,),
    ).fetchall()
    sent = []
    for number, exchange, stream, sequence, kind, subject, data, time in rows:
        if not publish(Event(number, exchange, stream, sequence, Fact(kind, subject, data), time)):
            break
        sent.append(number)
    connection.execute("DELETE FROM outbox WHERE number = ANY(%s)", (sent,))
    return len(sent)
