"""What became of the documents of a run, in numbers."""

from __future__ import annotations

import collections
import dataclasses
import uuid
from collections.abc import Callable, Hashable
from typing import TypeVar

from transforms.io.postgres import Connection

Key = TypeVar("Key", bound=Hashable)


@dataclasses.dataclass(frozen=True, slots=True)
class Amount:
    """Documents, their bytes of normalized text, and the tokens made of them."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.documents + other.documents, self.bytes + other.bytes, self.tokens + other.tokens)


@dataclasses.dataclass(frozen=True, slots=True)
class FunnelRow:
    """What ended with one outcome in one language; None for a language that wasn't identified.

    ``outcome`` and ``reason`` are None for a code the run never declared.
    """

    outcome: str | None
    reason: str | None
    language: str | None
    amount: Amount


@dataclasses.dataclass(frozen=True, slots=True)
class SourceGap:
    """A readable source whose finished shards aren't exactly its documents, each once."""

    number: int
    uri: str
    rows: int | None  # None while unknown
    finished_rows: int
    shards: int | None  # None until it was split
    finished_shards: int


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """What became of the documents of a run, in numbers.

    Attributes:
      documents: rows of the finished shards.
      funnel: what became of them, from the counts of each shard.
      unfinished: shards that are fingerprinted only.
      unreadable: URI and reason of every source that can't be read; then of those of which no row can be used, whose
        rows are counted all the same.
      gaps: sources that aren't covered by finished shards.
      uncounted: finished shards whose counts don't add up to their rows.
    """

    documents: int
    funnel: tuple[FunnelRow, ...]
    unfinished: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    gaps: tuple[SourceGap, ...]
    uncounted: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        """Whether every document of every readable source has exactly one declared outcome."""
        declared = all(row.outcome is not None for row in self.funnel)
        return declared and not (self.unfinished or self.gaps or self.uncounted)

    def by_reason(self) -> dict[tuple[str | None, str | None], Amount]:
        """Amounts by (outcome, reason)."""
        return self._sum(lambda row: (row.outcome, row.reason))

    def by_language(self, outcome: str = "kept") -> dict[str | None, Amount]:
        """Amounts of one outcome by language."""
        rows = tuple(row for row in self.funnel if row.outcome == outcome)
        return dataclasses.replace(self, funnel=rows)._sum(lambda row: row.language)

    def _sum(self, key: Callable[[FunnelRow], Key]) -> dict[Key, Amount]:
        sums: dict[Key, Amount] = collections.defaultdict(Amount)
        for row in self.funnel:
            sums[key(row)] += row.amount
        return dict(sums)


def totals_of(connection: Connection, run: uuid.UUID) -> Totals:
    """Adds up a run in the current transaction."""
    funnel = connection.execute(
        "SELECT outcome, reason, language, documents, bytes, tokens FROM funnel(%s)", (run,)
    ).fetchall()
    documents = connection.execute(
        "SELECT coalesce(sum(rows), 0)::bigint FROM segments WHERE run = %s AND state = 'done'", (run,)
    ).fetchall()
    unfinished = connection.execute(
        "SELECT shard FROM segments WHERE run = %s AND state = 'fingerprinted' ORDER BY shard", (run,)
    ).fetchall()
    unreadable = connection.execute(
        "SELECT uri, coalesce(nullif(state, 'ok'), 'unreadable: ' || error) FROM ("
        " SELECT source.number, uri, source.state, min(segment.error) AS error FROM sources AS source"
        " LEFT JOIN segments AS segment ON segment.run = source.run AND segment.source = source.number"
        "  AND segment.state = 'unreadable'"
        " WHERE source.run = %s AND (source.state <> 'ok' OR segment.state = 'unreadable')"
        " GROUP BY 1, 2, 3) AS found ORDER BY number",
        (run,),
    ).fetchall()
    unusable = connection.execute(
        'WITH cells AS (SELECT source, (cell ->> 0)::"char" AS code,'
        "  coalesce((cell ->> 5)::integer, 0) AS page, sum((cell ->> 2)::bigint) AS documents"
        "  FROM segments, jsonb_array_elements(counts -> 'funnel') AS cell"
        "  WHERE run = %(run)s AND state = 'done' GROUP BY 1, 2, 3)"
        " SELECT uri, sum(documents)::bigint, (array_agg(reason ORDER BY documents DESC, reason))[1]"
        " FROM cells JOIN sources ON sources.run = %(run)s AND sources.number = cells.source AND sources.state = 'ok'"
        " LEFT JOIN outcomes ON outcomes.run = %(run)s AND outcomes.code = cells.code AND outcomes.page = cells.page"
        " WHERE NOT EXISTS (SELECT FROM segments WHERE run = %(run)s AND source = cells.source AND state <> 'done')"
        " GROUP BY number, uri HAVING bool_and(outcome = 'invalid') ORDER BY sources.number",
        {"run": run},
    ).fetchall()
    gaps = connection.execute(
        # `expected` is where the shard before ended: a shard that starts elsewhere leaves a gap or overlaps. A packed
        # shard counts as its first source's, and has each of its sources whole.
        "SELECT source.number, source.uri, source.rows, coalesce(finished.rows, 0)::bigint, source.shards,"
        " coalesce(finished.shards, 0) FROM sources AS source LEFT JOIN ("
        "  SELECT source, sum(rows) AS rows, count(*) AS shards, bool_and(first_row = expected) AS contiguous FROM ("
        "   SELECT source, rows, first_row, coalesce(lag(first_row + rows)"
        "     OVER (PARTITION BY source ORDER BY first_row, rows), 0) AS expected"
        "   FROM segments WHERE run = %(run)s AND state = 'done' AND first_places IS NULL) AS ordered GROUP BY source"
        "  UNION ALL SELECT source + position::integer - 1,"
        "   (lead(start, 1, rows::integer + 1) OVER (PARTITION BY source ORDER BY position) - start)::bigint,"
        "   (position = 1)::integer, true FROM segments"
        "   CROSS JOIN LATERAL unnest(first_places) WITH ORDINALITY AS part (start, position)"
        "   WHERE run = %(run)s AND state = 'done' AND first_places IS NOT NULL"
        " ) AS finished ON finished.source = source.number"
        " WHERE source.run = %(run)s AND source.state = 'ok' AND NOT EXISTS (SELECT FROM segments AS broken"
        "  WHERE broken.run = source.run AND broken.source = source.number AND broken.state = 'unreadable')"
        " AND (source.shards IS DISTINCT FROM coalesce(finished.shards, 0) OR finished.source IS NULL"
        "  OR coalesce(source.rows, finished.rows, 0) <> coalesce(finished.rows, 0) OR NOT coalesce(contiguous, true))"
        " ORDER BY source.number",
        {"run": run},
    ).fetchall()
    uncounted = connection.execute(
        "SELECT shard FROM segments WHERE run = %s AND state = 'done' AND rows <> coalesce((SELECT"
        " sum((cell ->> 2)::bigint) FROM jsonb_array_elements(counts -> 'funnel') AS cell), 0) ORDER BY shard",
        (run,),
    ).fetchall()
    return Totals(
        documents=documents[0][0],
        funnel=tuple(FunnelRow(row[0], row[1], row[2], Amount(*row[3:])) for row in funnel),
        unfinished=tuple(shard for (shard,) in unfinished),
        unreadable=(
            *((uri, reason.removeprefix("unreadable: ")) for uri, reason in unreadable),
            *((uri, f"none of its {rows:,} rows can be used: most are {reason}") for uri, rows, reason in unusable),
        ),
        gaps=tuple(SourceGap(*row) for row in gaps),
        uncounted=tuple(shard for (shard,) in uncounted),
    )
