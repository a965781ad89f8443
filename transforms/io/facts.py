"""What the lineage's writers tell of what they commit (``transforms.io.outbox``, docs/events.md)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from schemas import events
from schemas.events import Fact
from transforms.io.postgres import Connection

UNREADABLE = "unreadable: "
"""How the state of a source begins that can't be read."""
_REASON_CHARACTERS = 2000
"""Of an error in an event; the database has the whole."""


def exchange_of(connection: Connection, run: str) -> str | None:
    """Where the facts of a run are told; None: nowhere."""
    found = connection.execute("SELECT events_exchange FROM runs WHERE run = %s", (uuid.UUID(run),)).fetchone()
    return found[0] if found else None


def unreadable(run: str, uri: str, etag: str, reason: str, shard: str | None = None) -> Fact:
    """That a source can't be read, or a shard of it."""
    about = {"run": run, "uri": uri, "etag": etag, "reason": reason[:_REASON_CHARACTERS], "shard": shard}
    return Fact(events.SOURCE_UNREADABLE, uri, about)


def newly_unreadable(connection: Connection, run: str, reasons: Mapping[int, str]) -> list[Fact]:
    """Of sources that can't be read, those of which it isn't known yet; before it is written.

    Args:
      reasons: ``unreadable: reason`` by the source's number.
    """
    if not reasons:
        return []
    found = connection.execute(
        "SELECT number, uri, etag, state FROM sources WHERE run = %s AND number = ANY(%s) ORDER BY number FOR UPDATE",
        (uuid.UUID(run), list(reasons)),
    ).fetchall()
    return [
        unreadable(run, uri, etag, reasons[number].removeprefix(UNREADABLE))
        for number, uri, etag, state in found
        if state != reasons[number]
    ]


def of_segments(connection: Connection, run: str, written: Sequence[tuple[Any, ...]]) -> list[Fact]:
    """What the segments say that are new or differ."""
    facts = []
    for of_run, shard, state, attempt, source, rows, token_object, error in written:
        if str(of_run) != run:
            continue
        about = {"run": run, "shard": shard, "rows": rows, "attempt": attempt}
        if state == "fingerprinted":
            facts.append(Fact(events.SHARD_FINGERPRINTED, shard, about))
        elif state == "done":
            facts.append(Fact(events.SHARD_DONE, shard, about | {"token_object": token_object}))
        else:
            [(uri, etag, known)] = connection.execute(
                "SELECT uri, etag, state FROM sources WHERE run = %s AND number = %s", (of_run, source)
            ).fetchall()
            if not known.startswith(UNREADABLE):  # of the whole source it was told when it was split
                facts.append(unreadable(run, uri, etag, error, shard))
    return facts


def of_end(run: str, state: str, settings: Mapping[str, Any], summary: Mapping[str, Any]) -> list[Fact]:
    """What is told of a run that has ended; of one that decides another again, that too."""
    about = {"run": run, "output": settings.get("output", "")}
    if state != "done":
        missing = [str(sentence) for sentence in summary.get("missing", [])]
        error = str(summary.get("error", "; ".join(missing)))[:_REASON_CHARACTERS]
        return [Fact(events.RUN_FAILED, run, about | {"state": state, "error": error})]
    counts = {"counts": summary.get("counts", {}), "tokens": summary.get("tokens", 0)}
    others = {"unreadable": len(summary.get("unreadable", [])), "warnings": list(summary.get("warnings", []))}
    facts = [Fact(events.RUN_DONE, run, about | counts | others)]
    if parent := settings.get("parent"):
        facts.insert(0, Fact(events.DECISION_DONE, run, {"output": about["output"], "runs": [parent], **counts}))
    return facts
