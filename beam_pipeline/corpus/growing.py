"""Carrying out the runs of a corpus: each over its own sources, held against the index, and then added to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console

from beam_pipeline import failures, running
from beam_pipeline.corpus import indexing
from beam_pipeline.corpus.opened import Claim, OpenedCorpus
from beam_pipeline.corpus.vanished import forget_vanished
from beam_pipeline.finished_runs import FinishedRun, NotUsable, finished_run
from beam_pipeline.options import resolve_part
from beam_pipeline.plan import Member
from beam_pipeline.planned_sources import PlanError
from beam_pipeline.settings import Settings
from schemas.fingerprint_index import FingerprintIndex
from transforms.io.corpus_lock import alone

LOGGER = logging.getLogger(__name__)


def work(
    corpus: OpenedCorpus,
    values: Mapping[str, Any],
    options: PipelineOptions,
    console: Console,
    *,
    leave_out_vanished: bool = False,
) -> int:
    """Carries out every run of a corpus that has sources and isn't done, in order; waits for another process that does.

    Args:
      values: settings of the runs by name, without ``input`` and ``output``.
      options: Beam's.
      leave_out_vanished: sources that were deleted or replaced since their claim aren't missed (``vanished``).

    Returns:
      the exit status: 0, or 3 if sources were unreadable.

    Raises:
      ToldError: a run can't be started, or failed; those before are done. Calling it again goes on.
    """
    status = running.DONE
    with alone(corpus.dsn, corpus.id):
        for pending in corpus.pending():
            claim = pending
            try:
                if leave_out_vanished:
                    claim = forget_vanished(corpus, claim)
                if not claim.sources:
                    continue  # released
                status = max(status, _carry_out(corpus, claim, values, options, console))
            except BaseException as error:
                corpus.ledger.set_state(claim.number, "failed", failures.of(error).sentence)
                raise
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
        member = Member(corpus.id, claim.number, claim.sources, index)
        try:
            prepared = running.prepare(settings, member=member)
        except PlanError as error:
            raise PlanError(
                f"run {claim.number} of the corpus can't be started: {error}\nTo give it up and have its sources in "
                f"another run: corpus --corpus {corpus.layout.uri} --release {claim.number}"
            ) from error
        with prepared.lineage:
            corpus.ledger.set_state(claim.number, "running", run=prepared.plan.run)
            running.carry_out(prepared, options, console)
        finished = finished_run(claim.output)
    else:  # a command that was killed may have written run.json and no more
        corpus.lineage.finish_run(finished.run, "done", {name: finished.manifest[name] for name in running.SUMMARY})
    indexing.add_run(index, claim.recorded, finished, options)
    corpus.ledger.set_state(claim.number, "done", run=finished.run)
    return running.DONE_WITH_UNREADABLE_SOURCES if finished.manifest["unreadable"] else running.DONE


def _finished(claim: Claim) -> FinishedRun | None:
    """The run, if it was done when the command was killed; only its index is missing then."""
    try:
        return finished_run(claim.output)
    except NotUsable:
        return None
