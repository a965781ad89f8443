"""The embedded PostgreSQL for other programs: ``up`` keeps it running, ``down`` stops it, ``dsn`` prints its DSN.

Without ``up`` it runs only while a command of this project does.
"""

from __future__ import annotations

import argparse
import sys

from beam_pipeline import embedded_postgres


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument(
        "what", choices=["up", "down", "dsn"], help="dsn: for psql, DuckDB, or any client of PostgreSQL"
    )


def run(args: argparse.Namespace) -> int:
    """Carries out one action and prints the DSN, but for ``down``; returns the exit status."""
    if args.what == "down":
        embedded_postgres.let_go()
        return 0
    dsn = embedded_postgres.keep() if args.what == "up" else embedded_postgres.start()
    sys.stdout.write(f"{dsn}\n")
    if args.what == "dsn" and not embedded_postgres.is_kept():
        sys.stderr.write("It stops with this command; `postgres up` keeps it running.\n")
    return 0
