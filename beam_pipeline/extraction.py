"""``extract``: web archives to Parquet with text, a Beam DAG of its own with the rules of a run.

    ListArchives -> SplitArchives -> Reshuffle -> ExtractPages

Archives are pinned; a part of an archive is a shard; its two objects are written whole or not at all, under names that
depend on the part only; the same command goes on where a killed one was; the manifest is written last, when every part
is there, the parts of each archive meet, and every record is counted once.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.execution import StillAtWork, execute, name_job, root_cause
from beam_pipeline.planned_sources import PlanError, differing_sources, hash_of, is_listed, list_sources, write_sources
from beam_pipeline.version import __version__
from runners.flink_jobs import FlinkJob
from schemas import pages
from schemas.errors import ToldError
from schemas.run_layout import ERROR, stable_hash
from schemas.shards import Source
from transforms.extract_pages import Extraction, ExtractPages, PageObjects
from transforms.extraction.engines import engine_named, versions
from transforms.io import storage
from transforms.io.own_objects import opened
from transforms.io.stage_objects import StageObjects, made_by, stranger_in

LOGGER = logging.getLogger(__name__)

FORMAT = 1
"""Goes up when the same settings would give other bytes than before."""
DONE, DONE_WITH_UNREADABLE, NOTHING = 0, 3, 4
_FOOTERS_AT_ONCE = 16


class ExtractionFailed(ToldError):
    """The extraction isn't done; what it has committed stays, and the same command goes on from there."""


@dataclasses.dataclass(frozen=True)
class Places:
    """Where archives are and where pages go."""

    input: list[str]
    output: str


@dataclasses.dataclass(frozen=True)
class Planned:
    """An extraction that is ready to be carried out.

    Attributes:
      stored: its plan as it stands under the output.
      sources: the pinned archives.
    """

    stored: pages.ExtractionPlan
    output: str
    sources: list[Source]
    extraction: Extraction
    resumed: bool

    @property
    def run(self) -> str:
        """Its id."""
        return self.stored.run

    @property
    def layout(self) -> pages.ExtractionLayout:
        """Where everything is."""
        return pages.ExtractionLayout(self.output)

    @property
    def objects(self) -> PageObjects:
        """The objects of all parts."""
        settings = stable_hash(self.stored.extract)
        return PageObjects(StageObjects(self.layout.text, settings), StageObjects(self.layout.rest, settings))


def plan(inputs: Sequence[str], output: str, extraction: Extraction) -> Planned:
    """Pins the archives and stores the plan, or takes up the one that is there.

    Raises:
      PlanError: there is nothing to read, no such engine, or another extraction under the output.
      StorageError: the store refuses.
    """
    try:
        engine_named(extraction.engine)
    except ValueError as error:
        raise PlanError(str(error)) from error
    places = Places([storage.absolute(uri) for uri in inputs], storage.absolute(output))
    sources = list_sources(places)
    wanted = pages.ExtractionPlan(
        run=str(uuid.uuid4()),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        code_version=__version__,
        input=places.input,
        extract={
            "format": FORMAT,
            "engine": extraction.engine,
            "versions": versions(),
            "page_seconds": extraction.page_seconds,
            "page_bytes": extraction.page_bytes,
            "shard_bytes": extraction.shard_bytes,
        },
        sources_sha256=hash_of(sources),
    )
    layout = pages.ExtractionLayout(places.output)
    stored = _stored(layout)
    if stored is None:
        _refuse_strangers(layout, stable_hash(wanted.extract))
        if not storage.create(layout.plan, wanted.encode()):
            stored = _stored(layout)
    if stored is not None:
        _refuse_differences(stored, wanted, layout, sources)
    planned = Planned(stored or wanted, places.output, sources, extraction, stored is not None)
    if stored is None or not is_listed(layout.sources, planned.stored.sources_sha256):
        write_sources(layout.sources, sources, extraction.shard_bytes)
    return planned


def _stored(layout: pages.ExtractionLayout) -> pages.ExtractionPlan | None:
    """The plan that is there already."""
    if storage.stat(layout.plan) is None:
        return None
    try:
        return pages.ExtractionPlan.decode(storage.read_bytes(layout.plan))
    except ValueError as error:
        raise PlanError(f"output: {layout.plan} {error}; choose another output, or remove it") from error


def _refuse_strangers(layout: pages.ExtractionLayout, settings_hash: str) -> None:
    for folder in (layout.text, layout.rest):
        if strange := stranger_in(folder, settings_hash):
            raise PlanError(f"output: {strange} is of another extraction. Remove {folder}, or choose another output")


def _refuse_differences(
    stored: pages.ExtractionPlan, wanted: pages.ExtractionPlan, layout: pages.ExtractionLayout, sources: list[Source]
) -> None:
    differences = [
        f"  {name}: {stored.extract.get(name)!r} there, {value!r} now"
        for name, value in wanted.extract.items()
        if stored.extract.get(name) != value
    ]
    if stored.sources_sha256 != wanted.sources_sha256:
        differences += differing_sources(layout.sources, sources)
    if differences:
        raise PlanError(
            f"output: {layout.output} holds extraction {stored.run}, which differs from what is asked for now:\n"
            + "\n".join(differences[:20])
            + "\nGo on with the settings and archives of that one, or choose another output."
        )


def carry_out(planned: Planned, options: PipelineOptions) -> dict[str, Any]:
    """Runs the pipeline to its end; writes the manifest, whose contents it returns.

    Raises:
      ExtractionFailed: the pipeline failed, or something is missing after it.
    """
    started = time.perf_counter()
    LOGGER.info(
        "%s %s: %d archives, %s",
        "going on with extraction" if planned.resumed else "extraction",
        planned.run,
        len(planned.sources),
        planned.output,
    )
    pipeline = ExtractPages(planned.layout.sources, planned.objects, planned.extraction)
    job = FlinkJob.of(options, name_job(options, planned.run))
    again = "What is done is kept; run the same command to go on."
    try:
        execute(options, lambda root: _add(root, pipeline), job)
    except StillAtWork as left:
        raise ExtractionFailed(f"extraction {planned.run} isn't waited for any more; {left}") from None
    except KeyboardInterrupt:
        raise ExtractionFailed(f"extraction {planned.run} was stopped. {again}") from None
    except Exception as error:
        LOGGER.debug("the pipeline failed", exc_info=True)
        raise ExtractionFailed(f"extraction {planned.run} failed: {root_cause(error)}\n{again}") from error
    contents = _manifest(planned, time.perf_counter() - started)
    storage.write(planned.layout.manifest, json.dumps(contents, indent=2).encode())
    return contents


def _add(root: Any, pipeline: ExtractPages) -> None:
    _ = root | "ExtractPages" >> pipeline


@dataclasses.dataclass(frozen=True)
class _Part:
    """What the footer of a text object says."""

    part: dict[str, int]
    counts: dict[str, dict[str, int]]
    error: str
    rows: int


def _manifest(planned: Planned, seconds: float) -> dict[str, Any]:
    parts = _parts(planned)
    missing = _missing(planned, parts)
    if missing:
        raise ExtractionFailed(
            f"extraction {planned.run} isn't complete although the runner says so:\n  "
            + "\n  ".join(missing[:20])
            + "\nRun the same command to mend it."
        )
    records: Counter[str] = Counter()
    extractors: Counter[str] = Counter()
    unreadable = []
    for source in planned.sources:
        for part in parts[source.number]:
            records.update(part.counts.get("records", {}))
            extractors.update(part.counts.get("extractors", {}))
            if part.error:
                unreadable.append({"uri": source.uri, "reason": part.error})
    return {
        "run": planned.run,
        "created": planned.stored.created,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "code_version": __version__,
        "settings": planned.stored.extract,
        "sources": {
            "count": len(planned.sources),
            "bytes": sum(source.size for source in planned.sources),
            "listed_in": planned.layout.sources,
        },
        "records": sum(records.values()),
        "extracted": records[pages.EXTRACTED],
        "without_text": {reason: n for reason, n in sorted(records.items()) if reason != pages.EXTRACTED},
        "extractors": dict(sorted(extractors.items())),
        "unreadable": unreadable,
        "text": planned.objects.text.uri,
        "wall_seconds": round(seconds, 3),
    }


def _parts(planned: Planned) -> dict[int, list[_Part]]:
    """The parts of each archive that are there, in order."""

    def read(info: storage.ObjectInfo) -> _Part:
        with opened(info.uri) as file:
            footer = pq.read_metadata(file)
        stored = footer.metadata
        return _Part(
            json.loads(stored[pages.PART]), json.loads(stored[pages.COUNTS]), stored[ERROR].decode(), footer.num_rows
        )

    settings_hash = planned.objects.text.settings_hash
    found: dict[int, list[_Part]] = {source.number: [] for source in planned.sources}
    try:
        objects = [i for i in storage.list_objects(planned.objects.text.uri) if made_by(i.uri, settings_hash)]
    except storage.NotFound:
        objects = []
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        for part in pool.map(read, objects):
            found.setdefault(part.part["source"], []).append(part)
    return {number: sorted(parts, key=lambda part: part.part["part"]) for number, parts in found.items()}


def _missing(planned: Planned, parts: dict[int, list[_Part]]) -> list[str]:
    """What lacks, one sentence each."""
    missing = []
    for source in planned.sources:
        of_source = parts[source.number]
        expected = of_source[0].part["parts"] if of_source else 1
        if len(of_source) != expected:
            missing.append(f"{source.uri}: {len(of_source)} of {expected} parts are there")
            continue
        for before, after in itertools.pairwise(of_source):
            if before.part["end"] != after.part["begin"]:
                missing.append(
                    f"{source.uri}: no record begins at byte {after.part['begin']}, where it was cut; "
                    "extract it into another output with a larger --shard_bytes"
                )
        for part in of_source:
            if part.counts.get("records", {}).get(pages.EXTRACTED, 0) != part.rows:
                missing.append(f"{source.uri}, part {part.part['part']}: its counts don't add up to its rows")
    return missing
