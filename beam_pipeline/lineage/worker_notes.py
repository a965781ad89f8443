"""What the workers noted beside the outcomes: cost by step, tokenizer engines, faults of sources, objects written."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from transforms.io.lineage import Lineage
from transforms.io.postgres import Connection

SHOWN_WARNINGS = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerNotes:
    """Sums over the segments of a run, all attempts together.

    Attributes:
      steps: by step ``wall`` and ``cpu`` seconds, and what it asked of the store (``storage.Requests``, by name).
      tokenizer: shards by the engine that encoded them, and how much both engines were compared on.
      reading: ``uri`` and ``warning`` of sources that were read although something is wrong with them, the first
        ``SHOWN_WARNINGS``.
      spelling: what the tokenizer couldn't spell of the documents kept. ``documents`` are those that were counted: a
        shard whose worker was killed between its tokens and its note isn't counted.
      edits: by editor, ``documents`` that it has changed, and characters ``removed``, ``replaced`` and ``added``.
    """

    steps: dict[str, dict[str, float]]
    tokenizer: dict[str, Any]
    reading: list[dict[str, str]] = dataclasses.field(default_factory=list)
    spelling: dict[str, int] = dataclasses.field(default_factory=dict)
    edits: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)


def notes_of(lineage: Lineage, run: str) -> WorkerNotes:
    """Adds up what the finished shards of a run cost."""
    return lineage.read(lambda connection: _notes_of(connection, uuid.UUID(run)))


def _notes_of(connection: Connection, key: uuid.UUID) -> WorkerNotes:
    spent = connection.execute(
        "SELECT step, kind, sum(amount::float8) FROM segments, jsonb_each(costs) AS each (step, cost),"
        " jsonb_each_text(cost) AS part (kind, amount) WHERE run = %s GROUP BY step, kind ORDER BY step, kind",
        (key,),
    ).fetchall()
    steps: dict[str, dict[str, float]] = {}
    for step, kind, amount in spent:
        steps.setdefault(step, {})[kind] = amount
    engines = connection.execute(
        "SELECT note ->> 'engine', count(*), sum((note ->> 'documents')::bigint), sum((note ->> 'bytes')::bigint),"
        " sum((note ->> 'differing')::bigint) FROM segments, LATERAL (SELECT counts -> 'tokenizer' AS note) AS noted"
        " WHERE run = %s AND note IS NOT NULL GROUP BY 1 ORDER BY 1",
        (key,),
    ).fetchall()
    warned = connection.execute(
        "SELECT DISTINCT number, uri, warning FROM sources JOIN ("
        " SELECT source AS number, warning FROM segments,"
        "  LATERAL jsonb_array_elements_text(counts -> 'warnings') AS each (warning)"
        "  WHERE run = %(run)s AND counts ? 'warnings'"
        " UNION ALL SELECT (entry ->> 0)::integer, entry ->> 1 FROM segments,"
        "  LATERAL jsonb_array_elements(counts -> 'packed_warnings') AS each (entry)"
        "  WHERE run = %(run)s AND counts ? 'packed_warnings'"
        ") AS warned USING (number) WHERE sources.run = %(run)s ORDER BY number, warning LIMIT %(most)s",
        {"run": key, "most": SHOWN_WARNINGS},
    ).fetchall()
    spelling = connection.execute(
        "SELECT kind, sum(number::bigint)::bigint FROM segments, jsonb_each_text(counts -> 'spelling') AS note (kind,"
        " number) WHERE run = %s AND state = 'done' GROUP BY kind ORDER BY kind",
        (key,),
    ).fetchall()
    return WorkerNotes(
        reading=[{"uri": uri, "warning": warning} for _, uri, warning in warned],
        steps=steps,
        tokenizer={
            "shards_by_engine": {engine: shards for engine, shards, *_ in engines},
            "compared": {
                "documents": sum(int(row[2]) for row in engines),
                "bytes": sum(int(row[3]) for row in engines),
                "differing": sum(int(row[4]) for row in engines),
            },
        },
        spelling={kind: int(number) for kind, number in spelling},
        edits=edits_of(connection, key),
    )


def edits_of(connection: Connection, run: uuid.UUID) -> dict[str, dict[str, int]]:
    """What each editor of a run has changed, in its finished shards (``WorkerNotes.edits``)."""
    found = connection.execute(
        "SELECT step, kind, sum(number::bigint)::bigint FROM segments,"
        " jsonb_each(segments.counts -> 'edits') AS note (step, sums),"
        " jsonb_each_text(sums) AS part (kind, number) WHERE run = %s AND state = 'done'"
        " GROUP BY step, kind ORDER BY step, kind",
        (run,),
    ).fetchall()
    edits: dict[str, dict[str, int]] = {}
    for step, kind, number in found:
        edits.setdefault(step, {})[kind] = int(number)
    return edits


def token_objects_of(lineage: Lineage, run: str) -> list[str]:
    """The URIs of the token objects that the finished shards of a run have written."""
    found = lineage.read(
        lambda connection: connection.execute(
            "SELECT token_object FROM segments WHERE run = %s AND state = 'done' ORDER BY shard", (uuid.UUID(run),)
        ).fetchall()
    )
    return [uri for (uri,) in found]
