"""Carrying out a run: prepare it, run the pipeline, check that nothing is missing, write the manifest.

What the runner says of itself is not enough. A run is done when every document has one outcome and every
object is there; anything less is an error that says what is missing, and the same command mends it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import signal
import time
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console

from beam_pipeline import (
    broker,
    dataset_card,
    embedded_postgres,
    final_check,
    manifest,
    notices,
    openlineage_events,
    pipeline,
    progress,
    supervision,
    workers,
)
from beam_pipeline.decide import decided_by
from beam_pipeline.decided_run import DecidesAgain
from beam_pipeline.event_publisher import Publisher
from beam_pipeline.execution import StillAtWork, execute, name_job, new_deaths, root_cause
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.invalid_sources import mostly_invalid
from beam_pipeline.lineage.worker_notes import notes_of, token_objects_of
from beam_pipeline.options import beam_options
from beam_pipeline.plan import Member, Plan, make_plan
from beam_pipeline.poller import Poller, polling
from beam_pipeline.scratch import block_files
from beam_pipeline.settings import Settings
from beam_pipeline.version import __version__
from beam_pipeline.waiting import while_it_makes_sense
from runners import local_flink
from runners.direct import WorkerDied
from runners.flink_jobs import FlinkJob
from schemas.errors import ToldError
from transforms.counters import metered_costs
from transforms.io import storage
from transforms.io.lineage import Lineage, public_dsn
from transforms.io.source_list import read_sources

LOGGER = logging.getLogger(__name__)

SUMMARY = ("counts", "tokens", "languages", "unreadable", "warnings")
"""What of the manifest stands in the table `runs`, too."""

SHOWN = 20
"""How many of many things are told."""

START_SECONDS = 5
"""How long a run that isn't started yet waits for PostgreSQL; once at work it waits longer."""

DONE, DONE_WITH_UNREADABLE_SOURCES, KEPT_NOTHING = 0, 3, 4


class RunFailed(ToldError):
    """The run isn't done; what it has committed stays, and the same command goes on from there."""


class RunStopped(RunFailed):
    """It isn't waited for any more, by somebody's wish."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A planned run, its lineage database, what planning has asked of the store, and who sends its events, if any."""

    plan: Plan
    lineage: Lineage
    requests: storage.Requests
    publisher: Publisher | None = None


def run(settings: Settings, *beam_flags: str) -> dict[str, Any]:
    """Runs the pipeline to its end, as the command does, and returns the manifest (``run.json``).

    Args:
      beam_flags: Beam's own, such as ``--direct_num_workers=4``.

    Raises:
      ToldError: it can't be started, or failed; calling it again goes on.
      UsageError: a flag is nobody's.

    Example:
      >>> run(Settings(input=["texts/"], output="out/", tokenizer="tokenizer.json"))["counts"]
    """
    options = beam_options(beam_flags)
    prepared = prepare(settings)
    with local_flink.brought_up(options) as brought_up:
        carry_out(prepared, brought_up, Console(stderr=True))
    return dict(json.loads(storage.read_bytes(prepared.plan.layout.manifest)))


def prepare(settings: Settings, decides: DecidesAgain | None = None, member: Member | None = None) -> Prepared:
    """Everything that can fail before any work: settings, sources, output, PostgreSQL.

    Args:
      decides: a run that is decided again; otherwise what is stored under the output says whether one is.
      member: of a run of a corpus.

    Raises:
      PlanError, StorageError, LineageUnavailable, BrokerSettingsError: with one sentence that says what to do.
    """
    publisher = Publisher(broker.parameters()) if settings.events_exchange else None
    dsn = settings.lineage_dsn or embedded_postgres.start()
    with Lineage(dsn, retry_seconds=START_SECONDS) as first:
        first.migrate()
        first.check_rights()
    requests = storage.Requests()
    with storage.counted(requests):
        plan = make_plan(settings, public_dsn(dsn), decides or decided_by(settings.output), member)
    lineage = Lineage(dsn)
    recorded = settings.model_dump(mode="json") | ({"parent": plan.parent.run} if plan.parent else {})
    planned = {"sources": plan.sources, "source_bytes": plan.source_bytes, "parent": recorded.get("parent")}
    exchange = settings.events_exchange or None
    lineage.start_run(plan.run, recorded, plan.settings_hash, __version__, plan.outcomes, exchange, planned)
    lineage.record_sources(plan.run, read_sources(plan.layout.sources))
    return Prepared(plan, lineage, requests, publisher)


def carry_out(prepared: Prepared, options: PipelineOptions, console: Console) -> int:
    """Runs the pipeline to its end; returns the exit status.

    Raises:
      RunFailed: the pipeline failed, or something is missing after it.
    """
    plan = prepared.plan
    with polling(plan, prepared.publisher) as poller, openlineage_events.reported(plan, poller) as events:
        return _carry_out(prepared, options, console, poller, events)


def _after_own_death(plan: Plan) -> None:
    """If this command was killed at work, says by which shard.

    Raises:
      RunFailed: by none, so that the same would happen again.
    """
    killed = supervision.killed_before()
    if killed is None:
        return
    number, before = killed
    died = WorkerDied(f"the command was killed by signal {number} ({signal.Signals(number).name})", by_itself=True)
    new = new_deaths(plan.deaths, before, died)
    if not new:
        raise RunFailed(f"run {plan.run} failed: {died}, at work on no shard. What is done is kept.")
    LOGGER.warning("%s; going on", "; ".join(new))


def _attempt(
    prepared: Prepared, options: PipelineOptions, job: FlinkJob | None, console: Console, poller: Poller
) -> Any:
    """Runs the pipeline to its end, again after every shard that killed its worker; returns Beam's metrics.

    It ends: each time a shard has one death more, and is set aside when it has ``max_deaths`` of them.
    """
    plan, lineage = prepared.plan, prepared.lineage
    workers.load_early(options, plan)
    _after_own_death(plan)
    while True:
        known = plan.deaths.count()
        supervision.at_work(known)
        try:
            with (
                progress.shown(poller, job, console),
                while_it_makes_sense(plan, job),
                block_files(options) as files,
            ):
                return execute(options, functools.partial(pipeline.build, plan=plan, files=files), job)
        except StillAtWork as left:
            raise RunStopped(f"run {plan.run} isn't waited for any more; {left}") from None
        except KeyboardInterrupt:
            lineage.finish_run(plan.run, "stopped", {})
            raise RunStopped(
                f"run {plan.run} was stopped. What is done is kept; run the same command to go on."
            ) from None
        except Exception as error:
            LOGGER.debug("the pipeline failed", exc_info=True)
            if deaths := new_deaths(plan.deaths, known, error):
                LOGGER.warning("%s; going on", "; ".join(deaths))
                continue
            lineage.finish_run(plan.run, "failed", {"error": root_cause(error)})
            raise RunFailed(
                f"run {plan.run} failed: {root_cause(error)}\nWhat is done is kept; run the same command to go on."
            ) from error


def _carry_out(
    prepared: Prepared,
    options: PipelineOptions,
    console: Console,
    poller: Poller,
    events: openlineage_events.Events,
) -> int:
    plan, lineage = prepared.plan, prepared.lineage
    settings = plan.settings
    if plan.resumed:
        LOGGER.info("going on with run %s in %s", plan.run, settings.output)
    else:
        LOGGER.info("run %s: %d sources, %s", plan.run, plan.sources, settings.output)
    started = time.perf_counter()
    job = FlinkJob.of(options, name_job(options, plan.run))
    while True:
        metrics = _attempt(prepared, options, job, console, poller)
        totals = runs.totals(lineage, plan.run)
        token_objects = token_objects_of(lineage, plan.run)
        missing = manifest.missing_from(plan, totals, token_objects)
        if not any(plan.deaths.reason(shard) for shard in totals.unfinished):
            break
        LOGGER.warning("a shard was set aside in the last pass; duplicates are found again without it")
    if missing:
        lineage.finish_run(plan.run, "failed", {"missing": missing})
        raise RunFailed(
            f"run {plan.run} isn't complete although the runner says so:\n  "
            + "\n  ".join(missing[:SHOWN])
            + "\nRun the same command to mend it."
        )
    for uri in final_check.beside(plan, token_objects)[:SHOWN]:
        LOGGER.warning("%s: isn't of this run, but is read with its tokens; clean --delete removes it", uri)
    worker_notes = notes_of(lineage, plan.run)
    others = {"Plan": prepared.requests.nonzero(), **(metered_costs(metrics) if metrics else {})}
    contents = manifest.build(plan, totals, worker_notes, others, time.perf_counter() - started)
    invalid = mostly_invalid(lineage, plan.run)
    contents["warnings"] = notices.warnings_of(contents, invalid)
    dataset_card.write(plan, contents)
    storage.write(plan.layout.manifest, manifest.encode(contents))
    lineage.finish_run(plan.run, "done", {name: contents[name] for name in SUMMARY})
    manifest.show(contents, plan, console)
    events.done(contents)
    if not contents["counts"]["kept"]:
        return KEPT_NOTHING
    return DONE_WITH_UNREADABLE_SOURCES if contents["unreadable"] else DONE
