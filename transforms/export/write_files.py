"""ListFiles and WriteFiles: from an export's plan to its files."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator

import apache_beam as beam
import numpy as np

from schemas.exports import SPLITS, ExportFile, Written
from transforms.counters import count, metered
from transforms.export import provenance
from transforms.export.assemble import assemble
from transforms.export.formats import FORMATS
from transforms.export.formats.base import Target
from transforms.export.options import ExportOptions
from transforms.export.plan_tables import StoredPlan, read_files
from transforms.io import storage
from transforms.spread import Spread

LOGGER = logging.getLogger(__name__)


def write_file(file: ExportFile, options: ExportOptions) -> Written:
    """Writes the objects of a file, unless they are there already; its index of provenance comes last.

    Raises:
      TooLarge: the format can't hold so much in a file.
      NotAsTheRunSays, SourceChanged, DamagedObject: see ``assemble``.
    """
    found = provenance.find(options.output, file)
    if found is not None:
        count(shards_skipped=1)
        return found
    LOGGER.info("export file %s begins: %d pieces", file.name, len(file.pieces))
    assembled = assemble(file, options)
    target = Target(storage.join(options.output, SPLITS[file.split]))
    FORMATS[options.format].write(assembled.sequences, target, file.number, file.files, options)
    sequences, spans = assembled.sequences, assembled.spans
    pieces = np.bincount(spans.document, minlength=len(assembled.documents.id))
    written = Written(
        split=file.split,
        number=file.number,
        objects=target.objects,
        sequences=sequences.count,
        documents=len(assembled.documents.id),
        tokens=sequences.filled,
        padding=len(sequences.tokens) - sequences.filled,
        cut=int(np.count_nonzero(pieces > 1)),
        empty=assembled.empty,
    )
    provenance.commit(file, options.output, provenance.rows(assembled), written)
    count(documents=written.documents, tokens=written.tokens, shards_done=1)
    return written


def _write(file: ExportFile, options: ExportOptions) -> Iterator[Written]:
    yield write_file(file, options)


@dataclasses.dataclass
class ListFiles(beam.PTransform):
    """From the root: the files of a planned export (``ExportFile``), spread over all workers, the largest first."""

    plan: StoredPlan

    def expand(self, root: beam.Pipeline) -> beam.PCollection[ExportFile]:
        """Reads the plan's tables on one worker; what is spread is 200 bytes a piece."""
        return (
            root
            | "Plan" >> beam.Create([self.plan], reshuffle=False)
            | "ReadPlan" >> beam.FlatMap(metered, read_files).with_output_types(ExportFile)
            | "Spread" >> Spread()
        )


@dataclasses.dataclass
class WriteFiles(beam.PTransform):
    """From ``ExportFile``: what each has (``Written``), after it is committed."""

    options: ExportOptions

    def expand(self, files: beam.PCollection[ExportFile]) -> beam.PCollection[Written]:
        """A file is held in memory while it is written: its tokens, and 60 bytes a document."""
        return files | "Write" >> beam.FlatMap(metered, _write, (self.options,)).with_output_types(Written)
