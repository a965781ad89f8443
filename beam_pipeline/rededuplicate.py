"""Pass 2 alone, over the stored fingerprints of a finished run: other thresholds, or against what earlier runs kept.

    ListStoredShards -> ExactDuplicates -> BandRecords -> VerifyPairs -> ResolveDuplicates -> WriteDecisions

No text is read. Under the output stand ``decisions/``, one object a shard of the run (``schemas.columns.DECIDED``), and
``dedup.json``, the manifest, written last. Decisions and manifest are a function of the runs and the options.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.finished_runs import NotUsable, finished_run, refuse_without_sketches
from beam_pipeline.plan import same_names
from beam_pipeline.scratch import block_files
from beam_pipeline.settings import Settings
from beam_pipeline.version import __version__
from schemas.errors import ToldError
from schemas.outcomes import Outcomes
from schemas.run_layout import RunLayout
from transforms.deduplication.check_room import CheckRoom
from transforms.deduplication.deduplicate import Deduplicate, Deduplication, partitions_for
from transforms.deduplication.stored_fingerprints import ListStoredShards, StoredFingerprints, StoredRun
from transforms.deduplication.write_decisions import FOR_AN_EARLIER_RUN, WITHOUT_TOKENS, DecidedRun, WriteDecisions
from transforms.io import storage
from transforms.io.block_files import NOWHERE, BlockFiles
from transforms.io.source_list import read_sources


class Undecided(ToldError):
    """Not every document of the run has a decision."""


@dataclasses.dataclass(frozen=True)
class Rededuplication:
    """Pass 2 over stored fingerprints, ready to be carried out.

    Attributes:
      output: folder or prefix for what is decided.
      settings: those of the run in work, with the options of this pass.
      fingerprints: of the runs that it is held against, then of the run in work.
      documents: of the run in work, by its manifest.
      outcomes: what can become of its documents, as stored with it.
      tokens_uri: its token objects.
    """

    output: str
    settings: Settings
    fingerprints: StoredFingerprints
    options: Deduplication
    documents: int
    outcomes: Outcomes
    tokens_uri: str

    @property
    def layout(self) -> RunLayout:
        """Where everything that is decided goes."""
        return RunLayout(self.output)


def prepare(run: str, output: str, against: Sequence[str], changed: dict[str, Any]) -> Rededuplication:
    """Checks that the runs are there, finished and comparable.

    Args:
      run: the output of the run whose documents are decided on.
      output: where decisions go.
      against: outputs of earlier runs, or of ``dedup`` over them.
      changed: settings of the deduplication that aren't those of the run.

    Raises:
      NotUsable: with one sentence that says why.
      StorageError: the store refuses.
      pydantic.ValidationError: a setting is out of range.
    """
    if storage.join(output, "") in [storage.join(place, "") for place in (run, *against)]:
        raise NotUsable(f"output: {output} is the output of a run that is read")
    in_work = finished_run(run)
    if in_work.output != run:
        raise NotUsable(f"run: {run} has decisions only; give the run they are about, {in_work.output}")
    refuse_without_sketches(in_work, changed)
    settings = Settings(**{**in_work.plan.settings, **changed})
    earlier = [finished_run(place) for place in against]
    names = same_names(settings.duplicates_within)
    mine = in_work.plan.deciding.fingerprints
    stored: list[StoredRun] = []
    first_source = 0
    for finished in (*earlier, in_work):
        theirs = finished.plan.deciding.fingerprints
        for name in names:
            if theirs[name] != mine[name]:
                raise NotUsable(
                    f"against: {finished.output} has {name} {theirs[name]!r}, but {run} has {mine[name]!r}: "
                    "their fingerprints can't be compared"
                )
        kept_uri = "" if finished is in_work else finished.kept_uri
        layout = finished.layout
        stored.append(StoredRun(layout.fingerprints, first_source, layout.sources, finished.plan.run, kept_uri))
        first_source += sum(1 for _ in read_sources(layout.sources))
    documents = sum(finished.documents for finished in (*earlier, in_work))
    fingerprints = StoredFingerprints(tuple(stored))
    options = dataclasses.replace(
        settings.deduplication(),
        partitions=settings.partitions or partitions_for(documents),
        always_kept=fingerprints.always_kept,
    )
    if not in_work.plan.outcomes:
        raise NotUsable(
            f"{in_work.layout.plan} has no table of outcomes: an earlier version has written it. Make the run again "
            "with this one, over another output"
        )
    outcomes = Outcomes.from_json(in_work.plan.outcomes)
    return Rededuplication(
        output, settings, fingerprints, options, in_work.documents, outcomes, in_work.layout.kept(in_work.plan.deciding)
    )


def build(root: beam.Pipeline, planned: Rededuplication, files: BlockFiles = NOWHERE) -> None:
    """Adds the DAG to a Beam pipeline; ``files`` as in ``beam_pipeline.pipeline``."""
    decided = DecidedRun(planned.layout.decisions, planned.outcomes, planned.tokens_uri)
    runs = {planned.fingerprints.in_work.first_source: decided}
    decide(root, WriteDecisions(planned.layout.dedup_counts, planned.fingerprints, runs), planned.options, files)


def decide(root: beam.Pipeline, write: WriteDecisions, options: Deduplication, files: BlockFiles = NOWHERE) -> None:
    """Pass 2 over stored fingerprints, and what it decides written."""
    shards = (
        root
        | "ListStoredShards" >> ListStoredShards(write.fingerprints)
        | "CheckRoom" >> CheckRoom(files, options.near_duplicates)
    )
    decisions = shards | "Deduplicate" >> Deduplicate(write.fingerprints, options, files)
    _ = (shards, decisions) | "WriteDecisions" >> write


def carry_out(planned: Rededuplication, run_output: str, beam_options: PipelineOptions) -> dict[str, Any]:
    """Runs it to its end and writes the manifest, whose contents it returns.

    Raises:
      Undecided: not every document of the run has a decision.
    """
    started = time.perf_counter()
    with block_files(beam_options) as files, beam.Pipeline(options=beam_options) as root:
        build(root, planned, files)
    in_work = planned.fingerprints.in_work
    counts = dict(json.loads(storage.read_bytes(planned.layout.dedup_counts)).get(str(in_work.first_source), {}))
    earlier = counts.pop(FOR_AN_EARLIER_RUN, 0)
    without_tokens = counts.pop(WITHOUT_TOKENS, 0)
    if sum(counts.values()) != planned.documents:
        raise Undecided(
            f"{run_output} has {planned.documents} documents, but its fingerprints {sum(counts.values())}: "
            "run the pipeline over it again"
        )
    contents = {
        "run": in_work.run,
        "run_output": run_output,
        "against": [
            {"run": run.run, "fingerprints": run.fingerprints_uri, "kept": run.kept_uri}
            for run in planned.fingerprints.runs[:-1]
        ],
        "near_duplicates": planned.options.near_duplicates,
        "min_similarity": planned.options.min_similarity,
        "duplicates_within": planned.options.duplicates_within,
        "keep_duplicate": planned.options.keep_duplicate,
        "code_version": __version__,
        "documents": planned.documents,
        "counts": counts,
        "dropped_for_an_earlier_run": earlier,
        "kept_without_tokens": without_tokens,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(time.perf_counter() - started, 3),
    }
    storage.write(planned.layout.dedup_manifest, json.dumps(contents, indent=2).encode())
    storage.delete(planned.layout.dedup_counts)
    return contents
