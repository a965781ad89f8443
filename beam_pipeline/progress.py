"""How far a run is while the command waits: from what is committed, and on Flink from its REST API too."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from beam_pipeline.execution import root_cause
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.progress import BEAT_SECONDS
from beam_pipeline.plan import Plan
from runners.flink_jobs import FlinkJob, JobStatus
from transforms.io.lineage import Lineage, LineageUnavailable

LOGGER = logging.getLogger(__name__)

BAR_SECONDS, LINE_SECONDS = 1, 30


@contextlib.contextmanager
def shown(plan: Plan, job: FlinkJob | None, console: Console) -> Iterator[None]:
    """A progress bar on a terminal, a line every half minute elsewhere, until the block ends.

    Args:
      job: the run's on Flink, whose state, checkpoints and restarts are shown, and every restart's cause; or None.
    """
    stop = threading.Event()
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    line = Text()
    live = Live(Group(bar, line), console=console, transient=True) if console.is_terminal else None
    thread = threading.Thread(target=_watch, args=(plan, job, bar, line, stop, live), name="progress", daemon=True)
    with live or contextlib.nullcontext():
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextlib.contextmanager
def attended(plan: Plan) -> Iterator[None]:
    """Says in the lineage, in the block, that the command lives."""
    stop = threading.Event()

    def beat() -> None:
        with Lineage(plan.lineage_dsn, retry_seconds=0) as lineage:
            while not stop.wait(BEAT_SECONDS):
                with contextlib.suppress(LineageUnavailable):
                    lineage.beat(plan.run)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(
    plan: Plan, job: FlinkJob | None, bar: Progress, line: Text, stop: threading.Event, live: Live | None
) -> None:
    passes = [bar.add_task(title, total=None) for title in ("shards fingerprinted", "shards tokenized")]
    restarts = 0
    with Lineage(plan.lineage_dsn, retry_seconds=0) as lineage:
        while not stop.wait(BAR_SECONDS if live else LINE_SECONDS):
            try:
                shards = runs.progress(lineage, plan.run).shards
            except LineageUnavailable:
                continue  # the workers say so if it lasts
            done = shards.get("done", 0) + shards.get("unreadable", 0)
            fingerprinted = done + shards.get("fingerprinted", 0)
            total = fingerprinted + shards["waiting"]
            status = _status(job)
            bar.update(passes[0], completed=fingerprinted, total=total)
            bar.update(passes[1], completed=done, total=total)
            line.plain = str(status or "")
            if status and status.restarts > restarts:
                LOGGER.warning("Flink restarts the job: %s", root_cause(Exception(status.failure)))
                restarts = status.restarts
            if live is None:
                flink = f"; {status}" if status else ""
                LOGGER.info("shards: %d fingerprinted, %d done, %d in all%s", fingerprinted, done, total, flink)


def _status(job: FlinkJob | None) -> JobStatus | None:
    """How the job does, if there is one and the JobManager says."""
    if job is None:
        return None
    try:
        found = job.at_work()
        return job.status(found) if found else None
    except OSError:
        return None
