"""Two runs over the same sources, side by side."""

from __future__ import annotations

import uuid
from typing import Any

from psycopg.rows import dict_row

from transforms.io.lineage import Lineage
from transforms.io.postgres import Connection


def compare(lineage: Lineage, first: str, second: str) -> dict[str, Any]:
    """Two runs side by side: settings that differ, sources that only one has, documents by both outcomes.

    Reads the outcomes of both runs: 100 million documents take half a minute.

    Raises:
      ValueError: the database doesn't have one of the runs.
    """

    def query(connection: Connection) -> dict[str, Any]:
        with connection.cursor(row_factory=dict_row) as cursor:
            pair = (uuid.UUID(first), uuid.UUID(second))
            settings: dict[str, dict[str, Any]] = dict(
                connection.execute("SELECT run::text, settings FROM runs WHERE run = ANY(%s)", (list(pair),)).fetchall()
            )
            for wanted in (first, second):
                if wanted not in settings:
                    raise ValueError(f"run {wanted} isn't in database {connection.info.dbname!r}")
            names = sorted(settings[first].keys() | settings[second].keys())
            sources = connection.execute(
                "SELECT count(*) FILTER (WHERE b.uri IS NULL), count(*) FILTER (WHERE a.uri IS NULL),"
                " count(*) FILTER (WHERE a.etag <> b.etag), count(*) FILTER (WHERE a.etag = b.etag)"
                " FROM (SELECT * FROM sources WHERE run = %s) AS a"
                " FULL JOIN (SELECT * FROM sources WHERE run = %s) AS b USING (uri)",
                pair,
            ).fetchall()[0]
            return {
                "runs": [first, second],
                "settings": {
                    name: [settings[first].get(name), settings[second].get(name)]
                    for name in names
                    if settings[first].get(name) != settings[second].get(name)
                },
                "sources": dict(zip(("only_first", "only_second", "changed", "compared"), sources, strict=True)),
                "documents": cursor.execute("SELECT * FROM compare_runs(%s, %s)", pair).fetchall(),
            }

    return lineage.read(query)
