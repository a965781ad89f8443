"""The progress bar while the command waits: from what is committed, and on Flink from its REST API too."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from beam_pipeline.execution import root_cause
from beam_pipeline.lineage.progress import Progress as RunProgress
from beam_pipeline.poller import Poller
from runners.flink_jobs import FlinkJob, JobStatus

LOGGER = logging.getLogger(__name__)

BAR_SECONDS, LINE_SECONDS = 1, 30


@contextlib.contextmanager
def shown(poller: Poller, job: FlinkJob | None, console: Console) -> Iterator[None]:
    """A progress bar on a terminal, a line every half minute elsewhere, until the block ends.

    Args:
      poller: of the run.
      job: the run's on Flink, whose state, checkpoints and restarts are shown, and every restart's cause; or None.
    """
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    line = Text()
    live = Live(Group(bar, line), console=console, transient=True) if console.is_terminal else None
    display = _Display(job, bar, line, quiet=live is not None)
    with live or contextlib.nullcontext(), poller.every(BAR_SECONDS if live else LINE_SECONDS, display.update):
        yield


class _Display:
    """The bar and the line below it; on no terminal (not ``quiet``), a line of the log each time."""

    def __init__(self, job: FlinkJob | None, bar: Progress, line: Text, *, quiet: bool):
        self._job, self._bar, self._line, self._quiet = job, bar, line, quiet
        self._passes = [bar.add_task(title, total=None) for title in ("shards fingerprinted", "shards tokenized")]
        self._restarts = 0

    def update(self, progress: RunProgress) -> None:
        shards = progress.shards
        done = shards.get("done", 0) + shards.get("unreadable", 0)
        fingerprinted = done + shards.get("fingerprinted", 0)
        total = fingerprinted + shards["waiting"]
        status = _status(self._job)
        self._bar.update(self._passes[0], completed=fingerprinted, total=total)
        self._bar.update(self._passes[1], completed=done, total=total)
        self._line.plain = str(status or "")
        if status and status.restarts > self._restarts:
            LOGGER.warning("Flink restarts the job: %s", root_cause(Exception(status.failure)))
            self._restarts = status.restarts
        if not self._quiet:
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
