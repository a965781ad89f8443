"""Runs: their settings, how far they are, and what their documents add up to."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

from beam_pipeline.lineage.outbox import Outbox, outbox_of
from beam_pipeline.lineage.progress import Progress, progress_of
from beam_pipeline.lineage.totals import Totals, totals_of
from beam_pipeline.lineage.worker_notes import edits_of
from transforms.io import storage
from transforms.io.lineage import Lineage


def latest(lineage: Lineage) -> str | None:
    """The run that was started or resumed last; None if there is none."""
    found = lineage.read(
        lambda connection: connection.execute("SELECT run FROM runs ORDER BY resumed DESC, run LIMIT 1").fetchone()
    )
    return str(found[0]) if found else None


def settings(lineage: Lineage, run: str) -> dict[str, Any]:
    """The settings of a run; none if there is no such run."""
    found = lineage.read(
        lambda connection: connection.execute("SELECT settings FROM runs WHERE run = %s", (uuid.UUID(run),)).fetchone()
    )
    return dict(found[0]) if found else {}


def totals(lineage: Lineage, run: str) -> Totals:
    """What became of the documents of a run, in numbers."""
    return lineage.read(lambda connection: totals_of(connection, uuid.UUID(run)))


def edits(lineage: Lineage, run: str) -> dict[str, dict[str, int]]:
    """What each editor of a run has changed (``beam_pipeline.lineage.worker_notes.WorkerNotes``)."""
    return lineage.read(lambda connection: edits_of(connection, uuid.UUID(run)))


def progress(lineage: Lineage, run: str) -> Progress:
    """How far a run is.

    Raises:
      ValueError: there is no such run.
    """
    return lineage.read(lambda connection: progress_of(connection, uuid.UUID(run)))


def outbox(lineage: Lineage) -> Outbox:
    """The events that wait to be sent."""
    return lineage.read(outbox_of)


def migrations(lineage: Lineage) -> list[tuple[str, datetime.datetime]]:
    """The migrations that were applied to the database, and when."""
    return lineage.read(
        lambda connection: connection.execute(
            "SELECT name, applied FROM lineage_migrations ORDER BY version"
        ).fetchall()
    )


def moved(uri: str | None, before: str, now: str) -> str | None:
    """The URI of an object below one place as one below another; others stay as they are."""
    below = storage.join(before, "") if before else ""
    if uri is None or not below or before == now or not uri.startswith(below):
        return uri
    return storage.join(now, uri[len(below) :])
