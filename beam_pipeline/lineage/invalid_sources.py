"""Sources of which most documents can't be used for one reason."""

from __future__ import annotations

import dataclasses
import uuid

from transforms.io.lineage import Lineage
from transforms.io.postgres import Connection

MOST = 0.5
"""A source of which a larger share is invalid for one reason is named."""
SHOWN = 10


@dataclasses.dataclass(frozen=True)
class MostlyInvalid:
    """Sources of which most documents can't be used for one reason.

    Attributes:
      sources: how many there are.
      examples: URI, reason, documents with it, all documents; the largest ones.
    """

    sources: int
    examples: tuple[tuple[str, str, int, int], ...]


def mostly_invalid(lineage: Lineage, run: str) -> MostlyInvalid:
    """Reads the counts of the finished shards; of packed ones with invalid documents, the documents' outcomes."""
    return lineage.read(lambda connection: _mostly_invalid(connection, run))


def _mostly_invalid(connection: Connection, run: str) -> MostlyInvalid:
    found = connection.execute(
        # Reasons of filters on other pages have the same characters: what is invalid is on page 0 (schemas.outcomes).
        "WITH cells AS (SELECT source, cell ->> 0 AS code, coalesce((cell ->> 5)::integer, 0) AS page,"
        "   sum((cell ->> 2)::bigint)::bigint AS documents"
        "  FROM segments, jsonb_array_elements(counts -> 'funnel') AS cell"
        "  WHERE run = %(run)s AND state = 'done' AND first_places IS NULL GROUP BY 1, 2, 3"
        "  UNION ALL"
        "  SELECT segment.source + width_bucket(place::integer, arrays.first_places) - 1, code::text,"
        "   coalesce(page::integer, 0), count(*)"
        "  FROM segments AS segment"
        "  CROSS JOIN LATERAL (SELECT ARRAY(SELECT unnest(segment.first_places)) AS first_places OFFSET 0) AS arrays"
        "  CROSS JOIN LATERAL unnest(segment.outcomes, segment.pages) WITH ORDINALITY AS document (code, page, place)"
        "  WHERE segment.run = %(run)s AND segment.state = 'done' AND segment.first_places IS NOT NULL"
        "  AND EXISTS (SELECT FROM jsonb_array_elements(segment.counts -> 'funnel') AS cell"
        '   JOIN outcomes AS meaning ON meaning.code = (cell ->> 0)::"char"'
        "   WHERE meaning.run = %(run)s AND meaning.outcome = 'invalid') GROUP BY 1, 2, 3),"
        " shares AS (SELECT source, code, page, documents, sum(documents) OVER (PARTITION BY source)::bigint AS total"
        "  FROM cells)"
        " SELECT sources.uri, meaning.reason, shares.documents, shares.total, count(*) OVER () FROM shares"
        ' JOIN outcomes AS meaning ON meaning.run = %(run)s AND meaning.code = shares.code::"char"'
        "  AND meaning.page = shares.page"
        " JOIN sources ON sources.run = %(run)s AND sources.number = shares.source"
        " WHERE meaning.outcome = 'invalid' AND shares.documents > %(most)s * shares.total"
        " ORDER BY shares.documents DESC, sources.number LIMIT %(shown)s",
        {"run": uuid.UUID(run), "most": MOST, "shown": SHOWN},
    ).fetchall()
    return MostlyInvalid(found[0][4] if found else 0, tuple(tuple(row[:4]) for row in found))
