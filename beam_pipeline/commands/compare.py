"""``compare``: what became of the same documents in two runs, such as of other settings."""

from __future__ import annotations

import argparse
import uuid
from typing import Any

from psycopg.rows import dict_row
from rich.console import Console
from rich.table import Table
from rich.text import Text

from beam_pipeline.commands.lineage_arguments import add_dsn_and_json, print_json, run_and_dsn
from beam_pipeline.lineage import Lineage
from beam_pipeline.postgres import Connection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``compare``."""
    parser.add_argument("first", metavar="RUN", help="a run's id, or its output folder")
    parser.add_argument("second", metavar="RUN", help="another run over the same sources, in the same database")
    add_dsn_and_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints how many documents went from which outcome to which; returns the exit status."""
    dsn, first = run_and_dsn(args.first, args.lineage_dsn)
    _, second = run_and_dsn(args.second, args.lineage_dsn)
    with Lineage(dsn, retry_seconds=10) as lineage:
        lineage.check_schema()
        compared = compare(lineage, first, second)
    if args.json:
        print_json(compared)
    else:
        _show(compared)
    return 0


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


def _show(compared: dict[str, Any]) -> None:
    console = Console()
    settings = Table(title="Settings that differ", title_justify="left")
    for name in ("setting", *compared["runs"]):
        settings.add_column(name, overflow="fold")
    for name, values in compared["settings"].items():
        settings.add_row(name, *(Text(str(value)) for value in values))
    console.print(settings)
    sources = compared["sources"]
    console.print(
        f"{sources['compared']:,} sources are the same in both; {sources['changed']:,} have changed, "
        f"{sources['only_first']:,} and {sources['only_second']:,} are in one run only"
    )
    documents = Table(title="Documents", title_justify="left")
    for name in (*compared["runs"], "documents"):
        documents.add_column(name, justify="right" if name == "documents" else "left")
    for row in compared["documents"]:
        before = _named(row["outcome_a"], row["reason_a"])
        after = _named(row["outcome_b"], row["reason_b"])
        documents.add_row(before, after, f"{row['documents']:,}", style="" if before == after else "bold")
    console.print(documents)


def _named(outcome: str | None, reason: str | None) -> Text:
    return Text(f"{outcome or 'undeclared'}: {reason}" if reason else outcome or "undeclared")
