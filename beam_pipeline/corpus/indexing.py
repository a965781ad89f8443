"""The index of a corpus: reading it, adding a run to it, and merging its segments.

Every run adds a segment. Segments of one level, by powers of 8 of their documents, are merged when there are eight. So
a corpus has few, and a document is written anew once for each eightfold growth. Nothing that stands is changed: what
the index is after a run is a new object, and what it doesn't name any more is removed after that is there.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import defaultdict
from collections.abc import Mapping

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.finished_runs import FinishedRun
from beam_pipeline.options import beam_options
from beam_pipeline.plan import comparable
from beam_pipeline.scratch import block_files
from beam_pipeline.settings import Settings
from schemas.errors import ToldError
from schemas.fingerprint_index import FingerprintIndex, IndexedRun, Segment, bits_for
from transforms.deduplication.index_kept import IndexKept, merge_parts
from transforms.deduplication.stored_fingerprints import StoredFingerprints, StoredRun, stored_objects
from transforms.io import storage
from transforms.io.ledger_runs import LedgerRun

LOGGER = logging.getLogger(__name__)

MERGED_FROM = 8
"""Segments of one level that are merged into one."""
LITTLE_DOCUMENTS = 200_000
"""So many kept documents are indexed in the command itself, in a second or two: workers take longer to start."""


class IndexMissing(ToldError):
    """The index of a corpus isn't as the ledger says."""


def read_index(uri: str, number: int) -> FingerprintIndex:
    """The index after a run.

    Raises:
      IndexMissing: it isn't there, or is damaged.
    """
    place = _list_of(uri, number)
    try:
        return FingerprintIndex.decode(storage.read_bytes(place), uri)
    except (storage.NotFound, ValueError) as error:
        raise IndexMissing(
            f"{place}: what later runs are held against is missing or damaged ({error}); restore it"
        ) from error


def add_run(index: FingerprintIndex, recorded: LedgerRun, run: FinishedRun, options: PipelineOptions) -> None:
    """Adds what a run has kept to the index; nothing is done if that was done before.

    Args:
      index: as it is before the run.
      recorded: the run in the ledger.
      options: Beam's.
    """
    place = _list_of(index.uri, recorded.number)
    if storage.stat(place) is not None:
        return
    kept = int(run.manifest["counts"]["kept"])
    settings = Settings(**run.plan.settings)
    stored = StoredRun(
        run.layout.fingerprints, recorded.first_source, run.layout.sources, run.run, run.layout.kept(run.plan.deciding)
    )
    objects = sorted(stored_objects(stored), key=lambda planned: planned[2])
    segment = Segment(f"{recorded.number:06}", kept, bits_for(kept, settings.bands))
    chosen = options if kept > LITTLE_DOCUMENTS else beam_options(["--direct_num_workers=1"])
    box = IndexKept(StoredFingerprints((stored,)), settings.deduplication(), index, segment, recorded.number)
    if kept:
        with block_files(chosen) as files, beam.Pipeline(options=chosen) as root:
            numbered = root | "Objects" >> beam.Create(list(enumerate(objects)), reshuffle=False)
            _ = numbered | "IndexKept" >> dataclasses.replace(box, files=files)
    added = IndexedRun(
        recorded.number, run.run, recorded.first_source, recorded.sources, index.objects, len(objects), kept
    )
    grown = dataclasses.replace(
        index,
        comparable=dict(comparable(run.plan.deciding)),
        runs=(*index.runs, added),
        segments=(*index.segments, *([segment] if kept else [])),
    )
    merged = merge(grown, recorded.number, settings.bands, options)
    storage.create(place, merged.encode())
    _remove(index.uri, {*grown.segments} - {*merged.segments})
    if len(index.runs) > 1:  # each list names all runs; the one before is read if this run is recorded again
        storage.delete(_list_of(index.uri, index.runs[-2].number))


def merge(index: FingerprintIndex, number: int, bands: int, options: PipelineOptions) -> FingerprintIndex:
    """The index with segments of one level merged, where there are ``MERGED_FROM`` of them.

    Args:
      number: of the run after which it is done: merged segments are named by it.
      bands: of a signature.
    """
    while True:
        levels: Mapping[int, list[Segment]] = defaultdict(list)
        for segment in index.segments:
            levels[segment.level].append(segment)
        level = next((level for level in sorted(levels) if len(levels[level]) >= MERGED_FROM), None)
        if level is None:
            return index
        parts = levels[level]
        documents = sum(segment.documents for segment in parts)
        merged = Segment(f"{number:06}-level-{level}", documents, bits_for(documents, bands))
        LOGGER.info("merging %d segments of the index, %d documents", len(parts), documents)
        chosen = options if documents > LITTLE_DOCUMENTS else beam_options(["--direct_num_workers=1"])
        with beam.Pipeline(options=chosen) as root:
            _ = (
                root
                | "Parts" >> beam.Create(range(1 << merged.bits))
                | "Merge" >> beam.Map(merge_parts, index.uri, merged, parts)
            )
        index = dataclasses.replace(index, segments=(*(each for each in index.segments if each not in parts), merged))


def _list_of(uri: str, number: int) -> str:
    """Where it says what the index is after a run."""
    return storage.join(uri, f"{number:06}.json")


def _remove(uri: str, segments: set[Segment]) -> None:
    """Removes segments that the index doesn't name any more."""
    for segment in segments:
        for part in range(1 << segment.bits):
            for kind in ("texts", "bands"):
                storage.delete(storage.join(uri, segment.part(part, kind)))
