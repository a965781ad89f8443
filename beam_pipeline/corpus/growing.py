"""Carrying out the runs of a corpus: each over its own sources, held against the index, and then added to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console

from beam_pipeline import failures, openlineage_events, running
from beam_pipeline.corpus import indexing
from beam_pipeline.corpus.opened import Claim, OpenedCorpus
from beam_pipeline.corpus.vanished import forget_vanished, renewed
from beam_pipeline.finished_runs import FinishedRun, NotUsable, finished_run
from beam_pipeline.options import resolve_part
from beam_pipeline.plan import Member, make_plan, read_plan
from beam_pipeline.planned_sources import PlanError
from beam_pipeline.preflight import UnusableSettings
from beam_pipeline.settings import Settings
from schemas.fingerprint_index import FingerprintIndex
from transforms.io.corpus_lock import alone

LOGGER = logging.getLogger(__name__)

_OF_COLUMNS = ("text_column", "id_column", "keep_columns", "input_columns")


def work(
    corpus: OpenedCorpus,
    values: Mapping[str, Any],
    options: PipelineOptions,
    console: Console,
) -> int:
    """Carries out every run of a corpus that has sources and isn't done, in order; waits for another process that does.

    Sources that were deleted or replaced are left out (``vanished``): of a run that isn't planned yet they are taken
    out, and one that has failed for them is given up for a new one.

    Args:
      values: settings of the runs by name, without ``input`` and ``output``.
      options: Beam's.

    Returns:
      the exit status: 0, or 3 if sources were unreadable.

    Raises:
      ToldError: a run can't be started, or failed; those before are done. Calling it again goes on.
    """
    status = running.DONE
    with alone(corpus.dsn, corpus.id):
        waiting = corpus.pending()
        while waiting:
            claim = waiting.pop(0)
            try:
                claim = forget_vanished(corpus, claim)
                if not claim.sources:
                    continue  # released
                status = max(status, _carry_out(corpus, claim, values, options, console))
            except BaseException as error:
                sentence = failures.of(error).sentence
                corpus.ledger.set_state(claim.number, "failed", sentence)
                if isinstance(error, running.RunStopped) or not renewed(corpus, claim, sentence):
                    raise
                waiting = corpus.pending()
    return status


def index_before(corpus: OpenedCorpus, number: int) -> FingerprintIndex:
    """What the runs before a run have kept."""
    before = [run.number for run in corpus.ledger.runs() if run.state == "done" and run.number < number]
    if not before:
        return FingerprintIndex(corpus.layout.index, {})
    return indexing.read_index(corpus.layout.index, max(before))


def _carry_out(
    corpus: OpenedCorpus, claim: Claim, values: Mapping[str, Any], options: PipelineOptions, console: Console
) -> int:
    index = index_before(corpus, claim.number)
    finished = _finished(claim)
    if finished is None:
        LOGGER.info("run %d of the corpus: %d new sources", claim.number, len(claim.sources))
        inputs = list(claim.recorded.inputs) or [source.uri for source in claim.sources]
        own = {"input": inputs, "output": claim.output, "lineage_dsn": corpus.given_dsn}
        settings = resolve_part(Settings, {**values, **own})
        member = Member(corpus.id, claim.number, claim.sources, index, _proven(corpus, index, settings))
        try:
            prepared = running.prepare(settings, member=member)
        except (PlanError, UnusableSettings) as error:
            raise PlanError(
                f"run {claim.number} of the corpus can't be started: {error}\nTo give it up and have its sources in "
                f"another run: corpus --corpus {corpus.layout.uri} --release {claim.number}"
            ) from error
        with prepared.lineage:
            corpus.ledger.set_state(claim.number, "running", run=prepared.plan.run)
            running.carry_out(prepared, options, console)
        finished = finished_run(claim.output)
    else:  # a command that was killed may have written run.json and no more
        _tell_completion(corpus, claim, index, finished)
        corpus.lineage.finish_run(finished.run, "done", {name: finished.manifest[name] for name in running.SUMMARY})
    indexing.add_run(index, claim.recorded, finished, options)
    corpus.ledger.set_state(claim.number, "done", run=finished.run)
    return running.DONE_WITH_UNREADABLE_SOURCES if finished.manifest["unreadable"] else running.DONE


def _proven(corpus: OpenedCorpus, index: FingerprintIndex, settings: Settings) -> bool:
    """Whether the latest run that has kept documents has read its sources by the same columns."""
    kept = [run.number for run in index.runs if run.documents]
    stored = read_plan(corpus.layout.run(kept[-1])) if kept else None
    now = settings.model_dump(mode="json")
    return stored is not None and all(stored.settings.get(name) == now[name] for name in _OF_COLUMNS)


def _tell_completion(corpus: OpenedCorpus, claim: Claim, index: FingerprintIndex, run: FinishedRun) -> None:
    """Sends the OpenLineage event that the killed command may have owed; twice is as good as once."""
    settings = Settings(**{**run.plan.settings, "check_steps": False})
    member = Member(corpus.id, claim.number, claim.sources, index)
    openlineage_events.complete(lambda: make_plan(settings, run.plan.lineage_dsn, None, member), run.manifest)


def _finished(claim: Claim) -> FinishedRun | None:
    """The run, if it was done when the command was killed; only its index is missing then."""
    try:
        return finished_run(claim.output)
    except NotUsable:
        return None
