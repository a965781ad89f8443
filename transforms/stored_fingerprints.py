"""Fingerprints of finished runs: what pass 2 reads, of one run or of several together.

When several runs take part, their sources are numbered one run after another, the earliest first, so that documents of
earlier runs have the smaller ids. Of an earlier run only the documents take part that it kept.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterator
from pathlib import PurePosixPath

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_pipeline import storage
from schemas.shards import Shard, Source, document_id
from transforms.list_sources import read_sources
from transforms.own_objects import opened
from transforms.stage_objects import ERROR


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """Where a run's fingerprints are.

    Attributes:
      fingerprints_uri: one object a shard (``schemas.columns.fingerprints``).
      first_source: what its own source numbers are counted from.
      sources_uri: its sources (``schemas.columns.SOURCES``).
      run: its id.
      kept_uri: of an earlier run, one object a shard whose rows, or those of them with ``outcome`` "kept", are the
        documents it kept, by ``source_row``: its tokens or decisions. Empty: every document takes part.
    """

    fingerprints_uri: str
    first_source: int = 0
    sources_uri: str = ""
    run: str = ""
    kept_uri: str = ""


@dataclasses.dataclass(frozen=True)
class StoredFingerprints:
    """The fingerprints of one or more runs, in the order of their ``first_source``; the last run is the one in work."""

    runs: tuple[StoredRun, ...]

    @classmethod
    def of(cls, fingerprints_uri: str) -> StoredFingerprints:
        """Those of a single run."""
        return cls((StoredRun(fingerprints_uri),))

    @property
    def in_work(self) -> StoredRun:
        """The run whose documents are decided on."""
        return self.runs[-1]

    @property
    def always_kept(self) -> int:
        """Documents with a smaller id are of earlier runs, which have kept them."""
        return document_id(self.in_work.first_source, 0)

    def run_of(self, source_number: int) -> StoredRun:
        """The run that a source belongs to."""
        return self.runs[bisect.bisect_right([run.first_source for run in self.runs], source_number) - 1]

    def uri_of(self, shard: Shard) -> str:
        """The object with a shard's fingerprints."""
        run = self.run_of(shard.source.number)
        return storage.join(run.fingerprints_uri, f"{_own(run, shard).name}.parquet")

    def kept(self, shard: Shard) -> np.ndarray | None:
        """Mask of the documents of a shard that its run has kept; None if the shard is of the run in work."""
        run = self.run_of(shard.source.number)
        if not run.kept_uri:
            return None
        return rows_of(storage.join(run.kept_uri, f"{_own(run, shard).name}.parquet"), shard)


def rows_of(uri: str, shard: Shard) -> np.ndarray:
    """Mask of the documents of a shard that a token object has, or of which an object of decisions says "kept"."""
    with opened(uri) as file:
        object_ = pq.ParquetFile(file)
        columns = [name for name in ("source_row", "outcome") if name in object_.schema_arrow.names]
        table = object_.read(columns=columns)
    rows = table["source_row"].to_numpy()
    if "outcome" in columns:
        rows = rows[table["outcome"].cast(pa.string()).to_numpy() == "kept"]
    there = np.zeros(shard.rows, np.bool_)
    there[rows.astype(np.int64) - shard.first_row] = True
    return there


def _own(run: StoredRun, shard: Shard) -> Shard:
    """The shard as its run numbers it."""
    number = shard.source.number - run.first_source
    return dataclasses.replace(shard, source=dataclasses.replace(shard.source, number=number))


def stored_objects(run: StoredRun) -> Iterator[tuple[StoredRun, Source, str]]:
    """Every fingerprint object of a run, with its source as the run numbers it."""
    sources = {source.number: source for source in read_sources(run.sources_uri)}
    for info in storage.list_objects(run.fingerprints_uri):
        yield run, sources[int(PurePosixPath(info.uri).name.split("-")[0])], info.uri


def stored_shard(item: tuple[StoredRun, Source, str]) -> Shard:
    """The shard that a fingerprint object is of, from the object's footer.

    Raises:
      ValueError: the object is of another state of the source than the run.
    """
    run, source, uri = item
    with opened(uri) as file:
        footer = pq.read_metadata(file)
    stored = footer.metadata or {}
    if stored.get(b"beam_pipeline.etag", b"").decode() != source.etag:
        raise ValueError(f"{uri} was made from another state of {source.uri} than run {run.run}: run that run again")
    return Shard(
        dataclasses.replace(source, number=run.first_source + source.number),
        first_row_group=int(PurePosixPath(uri).stem.split("-")[1]),
        first_row=int(stored[b"beam_pipeline.first_row"]),
        rows=footer.num_rows,
        error=stored[ERROR].decode(),
    )


@dataclasses.dataclass
class ListStoredShards(beam.PTransform):
    """From the root: every shard of the stored runs (``Shard``), its source numbered over all of them."""

    fingerprints: StoredFingerprints

    def expand(self, root: beam.Pipeline) -> beam.PCollection[Shard]:
        """One listing a run, one footer a shard."""
        return (
            root
            | "Runs" >> beam.Create(self.fingerprints.runs, reshuffle=False)
            | "List" >> beam.FlatMap(stored_objects)
            | "Spread" >> beam.Reshuffle()
            | "ReadFooter" >> beam.Map(stored_shard)
        )
