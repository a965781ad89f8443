"""A packed shard's small sources, read one after another as if they were one: each whole, or not at all.

A source that can't be read costs itself only: it has no rows, and the census says why.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from schemas.shards import Census, Part, Shard, Source
from transforms.io import storage
from transforms.io.deaths import Deaths, at_work
from transforms.io.readers import ReadOptions, UnreadableSource, read, split
from transforms.io.readers.batching import cut_batches
from transforms.io.readers.common import BATCH_BYTES, Warn
from transforms.io.source_list import source_name, sources_between

AHEAD = 8
"""Objects that are fetched at the same time, where each is a request: what is held of them are 16 MiB at most."""
MOST_WARNINGS = 100
MOST_ROWS = 2**31 - 1
"""Of a packed shard: PostgreSQL counts a shard's places in 32 bits with a sign."""


@dataclasses.dataclass
class PackedReader:
    """Reads a packed shard once.

    Args:
      shard: the shard.
      sources: all its sources, in order.
      options: how they are read.
      keep: bool, one a row of the shard: only these; sources of which nothing is wanted aren't fetched. It needs the
        census.
      known: the census, if it has been taken.
      deaths: sources that have killed workers that read them are set aside, each alone.

    After the last batch ``census`` says what was found, and ``warnings`` what is wrong with sources that are read all
    the same: source number and words, of some sources at most.
    """

    shard: Shard
    sources: Sequence[Source]
    options: ReadOptions
    keep: np.ndarray | None = None
    known: Census | None = None
    deaths: Deaths | None = None

    def __post_init__(self) -> None:
        self.warnings: list[tuple[int, str]] = []
        self._rows = np.zeros(len(self.sources), np.int64)
        self._errors: dict[int, str] = {}
        self._parts: list[Part] = []

    @property
    def census(self) -> Census:
        """What was found in each source."""
        return self.known or Census(self._rows, self._errors)

    def batches(self) -> Iterator[tuple[pa.RecordBatch, tuple[Part, ...]]]:
        """Batches as ``transforms.io.readers.read`` makes them, ``row`` being the place, and the sources each is from.

        Raises:
          UnreadableSource: a source can't be read that could when the census was taken.
          StorageError: a fault of the storage, or a source that isn't the pinned one.
        """
        pieces = self._wanted() if self.known is not None else self._everything()
        for batch in cut_batches(pieces):
            first, last = batch["row"][0].as_py(), batch["row"][-1].as_py()
            while len(self._parts) > 1 and self._parts[1].first <= first:
                del self._parts[0]
            yield batch, tuple(part for part in self._parts if part.first <= last)

    def _warn(self, number: int, reason: str) -> None:
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append((number, reason))

    def _everything(self) -> Iterator[pa.RecordBatch]:
        place = 0
        for position, (source, file) in enumerate(_opened(self.sources)):
            try:
                name = source_name(source)
                if self.deaths and (reason := self.deaths.reason(name)):
                    raise UnreadableSource(source.uri, reason)
                with at_work(self.deaths, name, source.uri):
                    whole = _Whole(source, file, self.options, functools.partial(self._warn, source.number))
                if place + whole.rows > MOST_ROWS:
                    raise UnreadableSource(source.uri, f"with it, a packed shard has more than {MOST_ROWS} rows")
            except UnreadableSource as unreadable:
                self._errors[position] = unreadable.reason
                continue
            self._rows[position] = whole.rows
            if whole.rows:
                self._parts.append(Part(source, place))
                yield from _moved(whole.batches(), place)
                place += whole.rows

    def _wanted(self) -> Iterator[pa.RecordBatch]:
        if self.known is None:
            return
        starts, rows = self.known.starts.tolist(), self.known.rows.tolist()
        keeps = [
            None if self.keep is None else self.keep[start : start + count]
            for start, count in zip(starts, rows, strict=True)
        ]
        wanted = [at for at, keep in enumerate(keeps) if rows[at] and (keep is None or bool(keep.any()))]
        opened = _opened([self.sources[position] for position in wanted])
        for position, (source, file) in zip(wanted, opened, strict=True):
            self._parts.append(Part(source, starts[position]))
            warn = functools.partial(self._warn, source.number)
            found = _rows_of(source, file, self.options, warn, rows[position], keeps[position])
            yield from _moved(found, starts[position])


class _Whole:
    """A small source that was read to its end. What it holds is kept if it isn't much; else it's read again.

    Raises:
      UnreadableSource: it can't be read.
    """

    def __init__(self, source: Source, file: BinaryIO, options: ReadOptions, warn: Warn) -> None:
        self._again = functools.partial(_rows_of, source, file, options, _nobody)
        self._held: list[pa.RecordBatch] | None = []
        self.rows = held_bytes = 0
        for batch in _rows_of(source, file, options, warn):
            self.rows += batch.num_rows
            held_bytes += batch.nbytes
            if held_bytes > BATCH_BYTES:
                self._held = None  # so much in so few bytes: compressed
            elif self._held is not None:
                self._held.append(batch)

    def batches(self) -> Iterable[pa.RecordBatch]:
        """All its rows."""
        return self._again() if self._held is None else self._held


def _rows_of(
    source: Source,
    file: BinaryIO,
    options: ReadOptions,
    warn: Warn,
    rows: int = -1,
    keep: np.ndarray | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a source, as many as there must be if that is known."""
    for shard in split(source, options, file):
        if shard.error:
            raise UnreadableSource(source.uri, shard.error)
        counted = dataclasses.replace(shard, rows=rows) if shard.rows < 0 else shard
        yield from read(counted, options, None if keep is None else keep[shard.first_row :][: counted.rows], warn, file)


def _nobody(reason: str) -> None:
    """It was said when the source was read first."""


def _moved(batches: Iterable[pa.RecordBatch], place: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = pa.array(batch["row"].to_numpy() + np.uint32(place), pa.uint32())
        yield pa.RecordBatch.from_arrays([rows, *batch.columns[1:]], schema=batch.schema)


def _opened(sources: Sequence[Source]) -> Iterator[tuple[Source, BinaryIO]]:
    """Each source with its bytes; several are fetched at the same time where they're far away."""
    if not any(storage.is_remote(source.uri) for source in sources):
        for source in sources:
            yield source, io.BytesIO(_bytes_of(_input(source)))
        return
    with concurrent.futures.ThreadPoolExecutor(AHEAD, "fetch") as pool:
        coming: collections.deque[tuple[Source, concurrent.futures.Future[bytes]]] = collections.deque()
        try:
            for source in sources:
                coming.append((source, pool.submit(_bytes_of, _input(source))))
                if len(coming) == AHEAD:
                    first, data = coming.popleft()
                    yield first, io.BytesIO(data.result())
            while coming:
                first, data = coming.popleft()
                yield first, io.BytesIO(data.result())
        finally:
            for _, data in coming:
                data.cancel()


def _input(source: Source) -> BinaryIO:
    """Opened by the thread on whose behalf it is read: requests are counted as its own."""
    return storage.open_input(source.uri, source.etag, source.size)


def _bytes_of(file: BinaryIO) -> bytes:
    with file:
        return file.read()


def read_any(
    shard: Shard, options: ReadOptions, sources_uri: str, keep: np.ndarray | None = None, census: Census | None = None
) -> Iterator[pa.RecordBatch]:
    """``transforms.io.readers.read`` for shards of every kind, once their rows are known.

    Args:
      sources_uri: the plan's sources, where those of a packed shard are looked up.
      census: of a packed shard.
    """
    if not shard.packed:
        yield from read(shard, options, keep)
        return
    sources = sources_between(sources_uri, shard.source.number, shard.sources)
    for batch, _ in PackedReader(shard, sources, options, keep, census).batches():
        yield batch
