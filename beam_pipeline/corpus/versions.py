"""Versions of a corpus: all its documents judged anew, in the order in which they came, as if they were one run.

A version is decisions only. Of each run it has what ``dedup`` writes, so whatever takes the output of ``dedup`` takes
it: ``export`` writes the tokens that a version keeps. It has a name, and it never changes: ``version.json`` is written
last, and once.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.corpus.opened import CorpusError, OpenedCorpus
from beam_pipeline.finished_runs import FinishedRun, finished_run, refuse_without_sketches
from beam_pipeline.lineage.shard_codes import codes_of
from beam_pipeline.plan import same_names
from beam_pipeline.rededuplicate import Undecided, decide
from beam_pipeline.scratch import block_files
from beam_pipeline.settings import Settings
from beam_pipeline.version import __version__
from schemas.outcomes import Outcomes
from schemas.run_layout import RunLayout
from transforms.deduplication.deduplicate import partitions_for
from transforms.deduplication.stored_fingerprints import StoredFingerprints, StoredRun
from transforms.deduplication.write_decisions import FOR_AN_EARLIER_RUN, WITHOUT_TOKENS, DecidedRun, WriteDecisions
from transforms.io import storage
from transforms.io.corpus_lock import alone
from transforms.io.ledger_runs import LedgerRun

AS_GROWN = "as-grown"
"""The name for what the runs themselves have kept, which is no version."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def decide_anew(
    corpus: OpenedCorpus, name: str, changed: Mapping[str, Any], options: PipelineOptions
) -> dict[str, Any]:
    """Decides on every document of a corpus's finished runs again; returns the version's manifest.

    Args:
      name: of the version.
      changed: settings of the deduplication that aren't those of the latest run.
      options: Beam's.

    Raises:
      CorpusError: the version is there, or can't be made.
      Undecided: not every document has a decision.
    """
    if not _NAME.fullmatch(name) or name == AS_GROWN:
        raise CorpusError(
            f"version: {name!r} can't be a name; letters, digits, '.', '_' and '-' can, other than {AS_GROWN}"
        )
    with alone(corpus.dsn, f"{corpus.id} version {name}"):
        return _decide_anew(corpus, name, changed, options)


def _decide_anew(
    corpus: OpenedCorpus, name: str, changed: Mapping[str, Any], options: PipelineOptions
) -> dict[str, Any]:
    if storage.stat(corpus.layout.version(name)) is not None:
        raise CorpusError(f"version: there is a version {name}, and versions don't change; give another name")
    recorded = [run for run in corpus.ledger.runs() if run.state == "done"]
    if not recorded:
        raise CorpusError(f"corpus: no run of {corpus.layout.uri} is done")
    runs = [finished_run(run.output) for run in recorded]
    refuse_without_sketches(runs[-1], dict(changed))
    settings = Settings(**{**runs[-1].plan.settings, **changed})
    _refuse_others(runs, settings)
    fingerprints = StoredFingerprints(
        tuple(
            StoredRun(run.layout.fingerprints, known.first_source, run.layout.sources, run.run)
            for known, run in zip(recorded, runs, strict=True)
        )
    )
    documents = sum(run.documents for run in runs)
    of_pass = dataclasses.replace(
        settings.deduplication(), partitions=settings.partitions or partitions_for(documents), always_kept=0
    )
    outputs = [RunLayout(corpus.layout.version_of(name, known.number)) for known in recorded]
    decided = {
        known.first_source: DecidedRun(
            output.decisions, Outcomes.from_json(run.plan.outcomes), run.layout.kept(run.plan.deciding)
        )
        for known, run, output in zip(recorded, runs, outputs, strict=True)
    }
    counts_uri = RunLayout(corpus.layout.version_folder(name)).dedup_counts
    with block_files(options) as files, beam.Pipeline(options=options) as root:
        decide(root, WriteDecisions(counts_uri, fingerprints, decided), of_pass, files)
    counts = json.loads(storage.read_bytes(counts_uri))
    shared = {field: getattr(of_pass, field) for field in ("near_duplicates", "min_similarity", "duplicates_within")}
    shared |= {"keep_duplicate": of_pass.keep_duplicate, "code_version": __version__, "version": name}
    finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    contents = []
    for known, run, output in zip(recorded, runs, outputs, strict=True):
        contents.append(
            _of_run(known, run, counts.get(str(known.first_source), {}), output.output)
            | shared
            | {"finished": finished}
        )
        storage.write(output.dedup_manifest, json.dumps(contents[-1], indent=2).encode())
    total: collections.Counter[str] = collections.Counter()
    for each in contents:
        total.update(each["counts"])
    version = shared | {
        "corpus": corpus.id,
        "finished": finished,
        "documents": documents,
        "counts": dict(sorted(total.items())),
        "kept_without_tokens": sum(each["kept_without_tokens"] for each in contents),
        "runs": [{name: each[name] for name in ("number", "run", "output")} for each in contents],
    }
    if not storage.create(corpus.layout.version(name), json.dumps(version, indent=2).encode()):
        raise CorpusError(f"version: another command has made version {name} meanwhile; give another name")
    storage.delete(counts_uri)
    return version


def _of_run(known: LedgerRun, run: FinishedRun, counts: Mapping[str, int], output: str) -> dict[str, Any]:
    """``dedup.json`` of a run of a version."""
    named = dict(counts)
    earlier, without_tokens = named.pop(FOR_AN_EARLIER_RUN, 0), named.pop(WITHOUT_TOKENS, 0)
    if sum(named.values()) != run.documents:
        raise Undecided(
            f"{run.output} has {run.documents} documents, but its fingerprints {sum(named.values())}: carry the run "
            "out again"
        )
    return {
        "number": known.number,
        "run": run.run,
        "run_output": run.output,
        "output": output,
        "documents": run.documents,
        "counts": named,
        "dropped_for_an_earlier_run": earlier,
        "kept_without_tokens": without_tokens,
    }


def _refuse_others(runs: Sequence[FinishedRun], settings: Settings) -> None:
    """Of all runs the fingerprints must be of one kind."""
    first = runs[0].plan.deciding.fingerprints
    for run in runs[1:]:
        for name in same_names(settings.duplicates_within):
            if (there := run.plan.deciding.fingerprints.get(name)) != first.get(name):
                raise CorpusError(
                    f"{name}: {run.output} has {there!r}, but {runs[0].output} {first.get(name)!r}: they can't be "
                    "compared"
                )


def names(corpus: OpenedCorpus) -> list[str]:
    """The versions of a corpus, sorted."""
    try:
        found = [info.uri for info in storage.list_objects(corpus.layout.versions)]
    except storage.NotFound:
        return []
    return sorted(uri.rsplit("/", 2)[1] for uri in found if uri.endswith("/version.json"))


def read_version(corpus: OpenedCorpus, name: str) -> dict[str, Any]:
    """The manifest of a version.

    Raises:
      CorpusError: there is none of this name.
    """
    found = found_version(corpus, name)
    if found is None:
        there = ", ".join(names(corpus)) or "none"
        raise CorpusError(f"version: {corpus.layout.uri} has no version {name!r}; there are: {there}")
    return found


def found_version(corpus: OpenedCorpus, name: str) -> dict[str, Any] | None:
    """The manifest of a version; None if there is none of this name."""
    try:
        return dict(json.loads(storage.read_bytes(corpus.layout.version(name))))
    except storage.NotFound:
        return None


def outputs(corpus: OpenedCorpus, name: str = "") -> list[str]:
    """What ``export`` takes: the outputs of a corpus's finished runs, or of a version's decisions on them."""
    if name:
        return [corpus.layout.version_of(name, run["number"]) for run in read_version(corpus, name)["runs"]]
    return [run.output for run in corpus.ledger.runs() if run.state == "done"]


def compare(corpus: OpenedCorpus, first: str, second: str) -> list[dict[str, Any]]:
    """How many documents have which outcomes in two versions, of the runs that both have; sorted.

    Args:
      first, second: names of versions; ``AS_GROWN`` for what the runs themselves have decided.

    Reads two columns of every object of decisions, or a row of the lineage, a shard at a time.
    """
    done = {run.number: run for run in corpus.ledger.runs() if run.state == "done"}
    numbers = set(done)
    for name in {first, second} - {AS_GROWN}:
        numbers &= {run["number"] for run in read_version(corpus, name)["runs"]}
    total: collections.Counter[tuple[tuple[str, str], ...]] = collections.Counter()
    for number in sorted(numbers):
        run = finished_run(done[number].output)
        for info in storage.list_objects(run.kept_uri):
            shard = info.uri.rsplit("/", 1)[1].removesuffix(".parquet")
            total.update(zip(*(_decided(corpus, name, number, run, shard) for name in (first, second)), strict=True))
    fields = ("outcome_a", "reason_a", "outcome_b", "reason_b")
    return [
        dict(zip(fields, (*before, *after), strict=True)) | {"documents": total[before, after]}
        for before, after in sorted(total)
    ]


def _decided(
    corpus: OpenedCorpus, version: str, number: int, run: FinishedRun, shard: str
) -> Iterable[tuple[str, str]]:
    """Outcome and reason of every document of a shard."""
    if version == AS_GROWN:
        table = Outcomes.from_json(run.plan.outcomes).table
        return [table[code] for code in codes_of(corpus.lineage, run.run, shard).tolist()]
    place = RunLayout(corpus.layout.version_of(version, number)).decisions
    with storage.open_input(storage.join(place, f"{shard}.parquet")) as file:
        decided = pq.read_table(file, columns=["outcome", "reason"])
    return zip(decided["outcome"].to_pylist(), decided["reason"].to_pylist(), strict=True)
