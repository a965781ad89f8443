"""Fingerprints of finished runs: what pass 2 reads, of one run or of several together.

When several runs take part, their sources are numbered one run after another, the earliest first, so that documents of
earlier runs have the smaller ids. Of an earlier run only the documents take part that it kept.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import PurePosixPath

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import EARLIER
from schemas.run_layout import ERROR, ETAG, FIRST_ROW
from schemas.shards import Census, Shard, Source, document_id, places_in, split_document_id
from transforms.io import storage
from transforms.io.own_objects import opened
from transforms.io.source_list import read_planned
from transforms.io.stage_objects import census_in


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """Where a run's fingerprints are.

    Attributes:
      fingerprints_uri: one object a shard (``schemas.columns.fingerprints``).
      first_source: what its own source numbers are counted from.
      sources_uri: its sources (``schemas.columns.SOURCES``).
      run: its id.
      kept_uri: of an earlier run, one object a shard whose rows, or those of them with ``outcome`` "kept", are the
        documents it kept: its tokens or decisions. Empty: every document takes part.
      earlier_uri: of a run of a corpus, one object a shard with the documents that earlier runs have dropped
        (``schemas.columns.EARLIER``), which take no part. Empty: there are none.
    """

    fingerprints_uri: str
    first_source: int = 0
    sources_uri: str = ""
    run: str = ""
    kept_uri: str = ""
    earlier_uri: str = ""


@dataclasses.dataclass(frozen=True)
class StoredFingerprints:
    """The fingerprints of one or more runs, in the order of their ``first_source``; the last run is the one in work."""

    runs: tuple[StoredRun, ...]

    @classmethod
    def of(cls, fingerprints_uri: str, sources_uri: str = "") -> StoredFingerprints:
        """Those of a single run."""
        return cls((StoredRun(fingerprints_uri, sources_uri=sources_uri),))

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

    def is_earlier(self, shard: Shard) -> bool:
        """Whether a shard is of an earlier run, which has kept the documents of it that take part."""
        return bool(self.run_of(shard.source.number).kept_uri)

    def taking_part(self, shard: Shard) -> np.ndarray | None:
        """Mask of the documents of a shard that take part; None: all.

        Of an earlier run those that it has kept; of one that was held against a corpus, those that aren't dropped.
        """
        run = self.run_of(shard.source.number)
        own = _own(run, shard)
        if run.kept_uri:
            return rows_of(storage.join(run.kept_uri, f"{own.name}.parquet"), own, self.census(shard))
        if run.earlier_uri:
            there = np.ones(shard.rows, np.bool_)
            there[earlier_duplicates(run.earlier_uri, own)["row"]] = False
            return there
        return None

    def census(self, shard: Shard) -> Census | None:
        """What each source of a packed shard has; None for any other shard."""
        return _census(self.uri_of(shard)) if shard.packed else None

    def documents(self, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Source number, as pass 2 has it, and row of documents as pass 2 names them: of any shards."""
        numbers, rows = split_document_id(names.astype(np.int64))
        for number in np.unique(numbers).tolist():
            run = self.run_of(number)
            if run.sources_uri and _is_packed(run.sources_uri, number - run.first_source):
                here = numbers == number
                shard = Shard(Source(number - run.first_source, "", "", 0))
                census = _census(storage.join(run.fingerprints_uri, f"{shard.name}.parquet"))
                if census is None:
                    raise ValueError(f"{run.fingerprints_uri}: shard {shard.name} isn't as run {run.run} has packed it")
                position, rows[here] = census.of_places(rows[here])
                numbers[here] = number + position
        return numbers, rows


def earlier_duplicates(earlier_uri: str, shard: Shard) -> np.ndarray:
    """The documents of a shard that were dropped for documents of earlier runs, by row: records of ``EARLIER``.

    Args:
      shard: as its run numbers it.
    """
    with opened(storage.join(earlier_uri, f"{shard.name}.parquet")) as file:
        table = pq.read_table(file)
    records = np.empty(len(table), [(name, table.schema.field(name).type.to_pandas_dtype()) for name in EARLIER.names])
    for name in EARLIER.names:
        records[name] = table[name].to_numpy()
    return records


def rows_of(uri: str, shard: Shard, census: Census | None) -> np.ndarray:
    """Mask of the documents of a shard that a token object has, or of which an object of decisions says "kept".

    Args:
      shard: as its run numbers it.
      census: of a packed shard.
    """
    with opened(uri) as file:
        object_ = pq.ParquetFile(file)
        columns = ["outcome"] if "outcome" in object_.schema_arrow.names else ["id"]
        table = object_.read(columns=columns)
    if "outcome" in columns:  # one row a document, in order
        kept: np.ndarray = table["outcome"].cast(pa.string()).to_numpy() == "kept"
        return kept
    there = np.zeros(shard.rows, np.bool_)
    there[places_in(table["id"].to_numpy(), shard, census)] = True
    return there


@functools.lru_cache(maxsize=256)
def _census(fingerprints_uri: str) -> Census | None:
    """Of the shard that a fingerprint object is of: kept, as many shards have witnesses in the same ones."""
    with opened(fingerprints_uri) as file:
        return census_in(pq.read_metadata(file).metadata)


@functools.lru_cache(maxsize=8)
def _packed_sources(sources_uri: str) -> frozenset[int]:
    """The numbers of the sources with which a packed shard begins: a few for each thousand sources."""
    return frozenset(
        shard.source.number for shard in read_planned(sources_uri) if isinstance(shard, Shard) and shard.packed
    )


def _is_packed(sources_uri: str, number: int) -> bool:
    return number in _packed_sources(sources_uri)


def _own(run: StoredRun, shard: Shard) -> Shard:
    """The shard as its run numbers it."""
    number = shard.source.number - run.first_source
    return dataclasses.replace(shard, source=dataclasses.replace(shard.source, number=number))


Planned = tuple[StoredRun, Source | Shard, str]


def stored_objects(run: StoredRun) -> Iterator[Planned]:
    """Every fingerprint object of a run, with its source, or its packed shard, as the run numbers it."""
    planned = {
        (item.source if isinstance(item, Shard) else item).number: item for item in read_planned(run.sources_uri)
    }
    for info in storage.list_objects(run.fingerprints_uri):
        yield run, planned[int(PurePosixPath(info.uri).name.split("-")[0])], info.uri


def stored_shard(item: Planned) -> Shard:
    """The shard that a fingerprint object is of, from the object's footer.

    Raises:
      ValueError: the object is of another state of the source than the run.
    """
    run, planned, uri = item
    packed = planned if isinstance(planned, Shard) else Shard(planned)
    source = packed.source
    with opened(uri) as file:
        footer = pq.read_metadata(file)
    stored = footer.metadata or {}
    if stored.get(ETAG, b"").decode() != packed.etag:
        raise ValueError(f"{uri} was made from another state of {source.uri} than run {run.run}: run that run again")
    return dataclasses.replace(
        packed,
        source=dataclasses.replace(source, number=run.first_source + source.number),
        part=int(PurePosixPath(uri).stem.split("-")[1]),
        first_row=int(stored[FIRST_ROW]),
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
