"""Ask the lineage in SQL, read-only: ``sql --output OUT "SELECT ..."``. Without a query, opens psql there.

``:'run'`` in a query stands for the id of the run. docs/lineage.md has the tables and twenty queries.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import shutil
import subprocess
import sys

import psycopg
from rich.table import Table

from beam_pipeline import embedded_postgres
from beam_pipeline.commands.lineage_arguments import add_lineage_arguments, as_json, locate, opened
from beam_pipeline.commands.terminal import stdout
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.sql import Answer, answer
from schemas.errors import WRONG_USAGE

MOST_SHOWN = 1000
"""Rows of a table on the terminal; ``--csv`` and ``--json`` print all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("query", nargs="?", default="", help="one SELECT; without it psql is opened")
    add_lineage_arguments(parser)
    parser.add_argument("--csv", action="store_true", help="CSV with a header instead of a table")


def run(args: argparse.Namespace) -> int:
    """Prints the rows; returns the exit status, psql's own if psql was opened."""
    dsn, run_id = locate(args.output, args.run, args.lineage_dsn)
    with opened(dsn) as lineage:
        run_id = run_id or runs.latest(lineage) or ""
    if not args.query:
        return _psql(dsn, run_id)
    with answer(dsn, args.query, run_id) as found:
        (_print_csv if args.csv else _print_json if args.json else _print_table)(found)
    return 0


def _psql(dsn: str, run_id: str) -> int:
    """Opens psql on the database, read-only, with the run as its variable."""
    own = embedded_postgres.programs() / "psql"
    program = shutil.which("psql") or (str(own) if own.exists() else "")
    if not program:
        sys.stderr.write(
            'beam_pipeline: sql: there is no psql on the PATH; give a query: sql --output OUT "SELECT 1"\n'
        )
        return WRONG_USAGE
    options = psycopg.conninfo.conninfo_to_dict(dsn).get("options") or ""
    read_only = psycopg.conninfo.make_conninfo(dsn, options=f"{options} -c default_transaction_read_only=on")
    return subprocess.run([program, read_only, "--set", f"run={run_id}"], check=False).returncode


def _print_csv(found: Answer) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(found.names)
    writer.writerows(found.rows)


def _print_json(found: Answer) -> None:
    """An array with one object a row."""
    sys.stdout.write("[")
    for number, row in enumerate(found.rows):
        values = json.dumps(dict(zip(found.names, row, strict=True)), default=as_json, ensure_ascii=False)
        sys.stdout.write(f"{',' * bool(number)}\n  {values}")
    sys.stdout.write("\n]\n")


def _print_table(found: Answer) -> None:
    rows = list(itertools.islice(found.rows, MOST_SHOWN + 1))
    table = Table()
    for place, name in enumerate(found.names):
        numbers = bool(rows) and isinstance(rows[0][place], int | float)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows[:MOST_SHOWN]:
        table.add_row(*("" if value is None else str(value) for value in row))
    console = stdout(markup=False, highlight=False)
    console.print(table)
    if len(rows) > MOST_SHOWN:
        console.print(f"Only the first {MOST_SHOWN:,} rows are shown; --csv and --json print all.")
