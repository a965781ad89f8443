"""WriteFingerprints: one object a shard with what pass 2 needs, and the end of pass 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from schemas import columns
from schemas.segments import Segment
from schemas.shards import Shard
from transforms.batches import Batch
from transforms.costs import Costs, add_costs, add_notes, spending
from transforms.counters import count
from transforms.fingerprint import as_stored
from transforms.io.stage_objects import ObjectWriter, StageObjects, census_entry, notes_entry
from transforms.kernels.deduplication.options import MinHash
from transforms.shard_outcomes import segment_after_fingerprinting, segment_unreadable
from transforms.shard_writer import ShardWriter

RANDOM = ["content_hash", "signature", "shingles", "bands"]
"""Columns that look random: no encoding shortens them, so none is tried."""


def schema_of_objects(options: MinHash | None, more: tuple[pa.Field, ...] = (), wide: bool = False) -> pa.Schema:
    """The columns of fingerprint objects (``schemas.columns.fingerprints``); without options, no sketches."""
    bands, signature_size = (options.bands, options.signature_size) if options else (0, 0)
    return columns.fingerprints(bands, signature_size, more, wide)


def object_options(schema: pa.Schema) -> dict[str, Any]:
    """How fingerprint objects of this schema are written, beside what every object has."""
    return {"use_dictionary": [name for name in schema.names if name not in RANDOM]}


@dataclasses.dataclass
class Open:
    """A shard that is being written."""

    output: ObjectWriter
    rows: int = 0
    text_bytes: int = 0
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    costs: Costs = dataclasses.field(default_factory=dict)


class WriteShards(ShardWriter[Open]):
    """Writes the fingerprints of one shard after the other."""

    def __init__(
        self, objects: StageObjects, run: str, options: MinHash | None, more: tuple[pa.Field, ...], wide: bool
    ) -> None:
        super().__init__(run, "fingerprints")
        self._objects = objects
        self._schema = schema_of_objects(options, more, wide)

    def _output(self, batch: Batch) -> ObjectWriter:
        return self._objects.open(batch.shard, self._schema, batch.error, **object_options(self._schema))

    def begin(self, batch: Batch) -> Open:
        """Opens the shard's object, under no name yet."""
        return Open(self._output(batch))

    def add(self, work: Open, batch: Batch) -> None:
        """Writes a row group."""
        if batch.error:
            return
        data = batch.data
        with batch.at_work("WriteFingerprints"):
            if len(data):
                work.output.write(as_stored(data, self._schema))
            work.rows += len(data)
            work.text_bytes += pc.sum(data["text_bytes"]).as_py() or 0
        self.spent(work, batch)

    def spent(self, work: Open, batch: Batch) -> None:
        """Adds what the boxes spent on a batch."""
        add_costs(work.costs, batch.costs)
        add_notes(work.notes, batch.notes)

    def footer(self, work: Open, batch: Batch) -> dict[bytes, bytes]:
        """Entries of the object's footer that are known with the last batch."""
        return {**census_entry(batch.census), **notes_entry(work.notes)}

    def abandon(self, work: Open) -> None:
        """Leaves no object."""
        work.output.abort()

    def finish(self, work: Open, batch: Batch) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
        """Commits the object; of a shard that can't be read, an empty one that says why."""
        if batch.error:
            work.output.abort()
            work = Open(self._output(batch))
        shard = dataclasses.replace(batch.shard, rows=work.rows, error=batch.error)
        with spending(work.costs, "WriteFingerprints"):
            work.output.commit(self.footer(work, batch))
        yield shard
        if shard.error:
            segment = segment_unreadable(self.run, shard)
        else:
            count(documents=shard.rows, bytes=work.text_bytes, shards_done=1)
            segment = segment_after_fingerprinting(self.run, shard, work.costs, batch.census)
        yield beam.pvalue.TaggedOutput("lineage", segment)


class Fingerprinted(NamedTuple):
    """The outputs of ``WriteFingerprints``."""

    shards: beam.PCollection[Shard]
    lineage: beam.PCollection[Segment]


@dataclasses.dataclass
class WriteFingerprints(beam.PTransform):
    """From ``Batch`` of fingerprints: ``shards`` that are done, rows known, and their ``lineage`` segments.

    Attributes:
      options: how texts are made comparable; None: no sketches are stored.
      more: the kept columns and attributes.
      wide_outcomes: whether the run has more reasons than one byte has codes for.

    Raises:
      BrokenShard: on a worker, if batches don't arrive whole and in order.
    """

    objects: StageObjects
    run: str
    options: MinHash | None
    more: tuple[pa.Field, ...] = ()
    wide_outcomes: bool = False

    def expand(self, batches: beam.PCollection[Batch]) -> Fingerprinted:
        """One object a shard."""
        write = beam.ParDo(WriteShards(self.objects, self.run, self.options, self.more, self.wide_outcomes))
        outputs = batches | write.with_outputs("lineage", main="shards")
        return Fingerprinted(outputs.shards, outputs.lineage)
