"""``init-db``: makes the lineage's tables, or brings them to this version; does nothing if they are.

Needed where the runs themselves may not make tables (docs/lineage.md, Roles). Forward only.
"""

from __future__ import annotations

import argparse

from rich.console import Console

from beam_pipeline.commands.lineage_arguments import add_dsn_and_json, print_json, run_and_dsn
from beam_pipeline.lineage import runs
from transforms.io.lineage import Lineage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``init-db``."""
    add_dsn_and_json(parser)


def run(args: argparse.Namespace) -> int:
    """Migrates and prints the versions that are applied; returns the exit status."""
    dsn, _ = run_and_dsn("", args.lineage_dsn)
    with Lineage(dsn, retry_seconds=10) as lineage:
        lineage.migrate()
        applied = runs.migrations(lineage)
    if args.json:
        print_json({"database": lineage.public_dsn, "migrations": dict(applied)})
    else:
        for name, moment in applied:
            Console().print(f"{name}  {moment:%Y-%m-%d %H:%M:%S %Z}", highlight=False)
    return 0
