"""Carrying out a run: prepare it, run the pipeline, check the books, write the manifest.

That the runner says DONE is never believed. A run is done when its books balance and every shard's objects are there;
anything less is an error that says what is missing, and the same command mends it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Iterator

from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from beam_pipeline import embedded_postgres, manifest, openlineage_events, pipeline, storage
from beam_pipeline.execution import execute, root_cause
from beam_pipeline.lineage import Lineage, LineageUnavailable, public_dsn
from beam_pipeline.plan import Plan, make_plan
from beam_pipeline.settings import Settings
from beam_pipeline.version import __version__
from beam_pipeline.work import token_objects_of, work_of
from transforms.accounting import accounts_of
from transforms.list_sources import read_sources

LOGGER = logging.getLogger(__name__)

SUMMARY = ("books", "tokens", "languages", "unreadable")
"""What of the manifest stands in the table `runs`, too."""

START_SECONDS = 5
"""How long a run that isn't started yet waits for PostgreSQL; once at work it waits longer."""

DONE, DONE_WITH_UNREADABLE_SOURCES = 0, 3


class RunFailed(Exception):
    """The run stopped; what it has committed stays, and the same command goes on from there."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A planned run, its lineage database, and what planning has asked of the store."""

    plan: Plan
    lineage: Lineage
    requests: storage.Requests


def prepare(settings: Settings) -> Prepared:
    """Everything that can fail before any work: settings, sources, output, PostgreSQL.

    Raises:
      PlanError, StorageError, LineageUnavailable: with one sentence that says what to do.
    """
    dsn = settings.lineage_dsn or embedded_postgres.start()
    with Lineage(dsn, retry_seconds=START_SECONDS) as first:
        first.migrate()
    requests = storage.Requests()
    with storage.counted(requests):
        plan = make_plan(settings, public_dsn(dsn))
    lineage = Lineage(dsn)
    lineage.start_run(plan.run, settings.model_dump(mode="json"), plan.settings_hash, __version__, plan.outcomes)
    lineage.record_sources(plan.run, read_sources(plan.sources_uri))
    return Prepared(plan, lineage, requests)


def carry_out(prepared: Prepared, options: PipelineOptions, console: Console) -> int:
    """Runs the pipeline to its end; returns the exit status.

    Raises:
      RunFailed: the pipeline failed, or something is missing after it.
    """
    with openlineage_events.reported(prepared.plan) as events:
        return _carry_out(prepared, options, console, events)


def _carry_out(
    prepared: Prepared, options: PipelineOptions, console: Console, events: openlineage_events.Events
) -> int:
    plan, lineage = prepared.plan, prepared.lineage
    settings = plan.settings
    if plan.resumed:
        LOGGER.info("going on with run %s in %s", plan.run, settings.output)
    else:
        LOGGER.info("run %s: %d sources, %s", plan.run, plan.sources, settings.output)
    started = time.perf_counter()
    try:
        with _progress_shown(plan, console):
            metrics = execute(options, functools.partial(pipeline.build, plan=plan), plan.run)
    except KeyboardInterrupt:
        lineage.finish_run(plan.run, "stopped", {})
        raise RunFailed(f"run {plan.run} was stopped. What is done is kept; run the same command to go on.") from None
    except Exception as error:
        lineage.finish_run(plan.run, "failed", {"error": root_cause(error)})
        LOGGER.debug("the pipeline failed", exc_info=True)
        raise RunFailed(
            f"run {plan.run} failed: {root_cause(error)}\nWhat is done is kept; run the same command to go on."
        ) from error
    totals = lineage.totals(plan.run)
    missing = manifest.missing_from(
        plan, totals, lineage.read(lambda connection: token_objects_of(connection, plan.run))
    )
    if missing:
        lineage.finish_run(plan.run, "failed", {"missing": missing})
        raise RunFailed(
            f"run {plan.run} isn't complete although the runner says so:\n  "
            + "\n  ".join(missing[:20])
            + "\nRun the same command to mend it."
        )
    work = lineage.read(lambda connection: work_of(connection, plan.run))
    others = {"Plan": prepared.requests.nonzero(), **accounts_of(metrics)}
    contents = manifest.build(plan, totals, work, others, time.perf_counter() - started)
    storage.write(plan.manifest_uri, manifest.encode(contents))
    lineage.finish_run(plan.run, "done", {name: contents[name] for name in SUMMARY})
    manifest.show(contents, plan, console)
    events.done(contents)
    return DONE_WITH_UNREADABLE_SOURCES if contents["unreadable"] else DONE


@contextlib.contextmanager
def _progress_shown(plan: Plan, console: Console) -> Iterator[None]:
    """A progress bar on a terminal, a line every half minute elsewhere, both from what is committed."""
    stop = threading.Event()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    )  # fmt: skip
    passes = [bar.add_task(title, total=None) for title in ("shards fingerprinted", "shards tokenized")]

    def watch() -> None:
        with Lineage(plan.lineage_dsn, retry_seconds=0) as lineage:
            while not stop.wait(1 if console.is_terminal else 30):
                try:
                    shards = lineage.progress(plan.run).shards
                except LineageUnavailable:
                    continue  # the workers say so if it lasts
                done = shards.get("done", 0) + shards.get("unreadable", 0)
                fingerprinted = done + shards.get("fingerprinted", 0)
                total = fingerprinted + shards["waiting"]
                bar.update(passes[0], completed=fingerprinted, total=total)
                bar.update(passes[1], completed=done, total=total)
                if not console.is_terminal:
                    LOGGER.info("of %d shards %d are fingerprinted, %d tokenized", total, fingerprinted, done)

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    with bar:
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
