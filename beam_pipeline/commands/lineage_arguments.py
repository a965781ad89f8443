"""What the commands that read the lineage have in common: which database and which run."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from beam_pipeline import embedded_postgres
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.documents import NotFoundInLineage
from schemas.run_layout import RunLayout, StoredPlan
from transforms.io import storage
from transforms.io.lineage import Lineage

_RETRY_SECONDS = 10.0  # someone is waiting


def add_lineage_arguments(parser: argparse.ArgumentParser, corpus: str = "") -> None:
    """``--output``, ``--run``, ``--lineage_dsn`` and ``--json``.

    Args:
      corpus: what ``--corpus`` does, if the command takes it.
    """
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--output", metavar="URI", help="the run's output folder")
    which.add_argument("--run", metavar="ID", help="the run's id; by default the one that was started last")
    if corpus:
        which.add_argument("--corpus", metavar="URI", help=corpus)
    add_dsn_and_json(parser)


def add_dsn_and_json(parser: argparse.ArgumentParser) -> None:
    """``--lineage_dsn`` and ``--json``."""
    parser.add_argument(
        "--lineage_dsn",
        metavar="DSN",
        default="",
        help="PostgreSQL, e.g. 'host=db dbname=lineage'; by default the run's own, or the embedded one",
    )
    parser.add_argument("--json", action="store_true", help="JSON for machines instead of a table")


def print_json(value: Any) -> None:
    """An answer for machines."""
    Console(soft_wrap=True).print_json(json.dumps(value, default=as_json), indent=2)


def as_json(value: object) -> str:
    """What JSON has no form for, as a string."""
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)


@contextlib.contextmanager
def opened(dsn: str) -> Iterator[Lineage]:
    """The lineage, for somebody who waits: its tables are there, and a server that is away is soon given up."""
    with Lineage(dsn, retry_seconds=_RETRY_SECONDS) as lineage:
        lineage.check_schema()
        yield lineage


def with_lineage(args: argparse.Namespace, command: Callable[[Lineage, str], None]) -> int:
    """Calls a command with the lineage and the run's id; returns the exit status."""
    dsn, run = locate(args.output, args.run, args.lineage_dsn)
    with opened(dsn) as lineage:
        chosen = run or runs.latest(lineage)
        if chosen is None:
            raise NotFoundInLineage(f"there is no run in the lineage at {lineage.public_dsn}")
        command(lineage, chosen)
    return 0


def run_and_dsn(named: str, dsn: str) -> tuple[str, str]:
    """DSN and run id, as ``locate``, of a run named by its id or its output folder."""
    try:
        return locate(None, str(uuid.UUID(named)), dsn)
    except ValueError:
        return locate(named, None, dsn)


def locate(output: str | None, run: str | None, dsn: str) -> tuple[str, str]:
    """The DSN, its server started if it is an embedded one, and the run's id if a run or an output was named.

    Raises:
      ValueError: the output has no plan in it, or the run isn't a UUID.
    """
    run = run or ""
    if output:
        plan_uri = RunLayout(output).plan
        try:
            plan = StoredPlan.decode(storage.read_bytes(plan_uri))
        except ValueError as error:
            raise ValueError(f"--output: {plan_uri} isn't the plan of a run: {error!r}") from error
        run, dsn = plan.run, dsn or plan.lineage_dsn
    if run:
        try:
            run = str(uuid.UUID(run))
        except ValueError:
            raise ValueError(f"--run: {run!r} isn't the id of a run, which is a UUID") from None
    return _started(dsn), run


def _started(dsn: str) -> str:
    """The DSN; its server is started if it's an embedded one that sleeps."""
    if not dsn:
        return embedded_postgres.start()
    host = psycopg.conninfo.conninfo_to_dict(dsn).get("host") if _is_dsn(dsn) else None
    socket = Path(str(host or ""))
    folder = embedded_postgres.folder_of(socket) if host else None
    if folder is not None:
        embedded_postgres.start(folder)
    elif socket.is_absolute() and not socket.exists():
        return embedded_postgres.start()  # the data folder was moved since the run
    return dsn


def _is_dsn(dsn: str) -> bool:
    try:
        psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return False  # Lineage refuses it without repeating it
    return True
