"""Sources, shards and document ids: the names that everything else refers to.

A *source* is one input object. Sources are numbered from 0 in the order of their sorted URIs. A *row* is the position
of a document in its source, from 0: the row of a Parquet file, the line of a JSON Lines file, where blank lines aren't
counted. A document's id is ``(source number << 32) | row``, so ids sort as sources and rows do.

A *shard* is a run of consecutive rows of one source (some row groups, a range of bytes, or the whole source: its reader
says which), or a run of consecutive small sources of any kind, whole ones: a *packed* shard. It is named by its first
source and its part, so the name means the same at any parallelism, on any runner, after a restart.

Within a shard a document is known by its *place*: its row in the shard, from 0. Pass 2 names documents by the shard's
key plus the place. In a shard of one source that is the document's id; in a packed shard, whose key is the id of its
first source's first row, it sorts as the ids do, and how many rows each source has turns it into the id.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Id = TypeVar("Id", int, npt.NDArray[np.int64])

MAX_SOURCES = 2**31
MAX_ROWS_PER_SOURCE = 2**32


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """One input object, pinned: a later read must find the same ``etag`` or fail."""

    number: int
    uri: str
    etag: str
    size: int  # bytes as stored


class Part(NamedTuple):
    """One of the sources of a packed shard, and the place of its first row."""

    source: Source
    first: int


@dataclasses.dataclass(frozen=True, slots=True)
class Shard:
    """The unit of work, retry, resume, output and lineage.

    Attributes:
      source: where its documents are; of a packed shard, the first of its sources.
      part: which part of the source it is, for its name; parts ascend as rows do. Of a Parquet source, the first row
        group.
      begin, end: where the part is in the source, in units that only its reader knows (row groups, bytes); 0 and 0 for
        a whole source and for a packed shard.
      first_row: row of its first document in the source; -1 while unknown (a part of a stream before it was counted).
      rows: number of documents; -1 while unknown (a stream or a packed shard before it was read).
      error: why the source can't be split into documents; empty if it can. Such a shard stands for the whole source.
      size: about how many bytes of text; only says which shards are large, so that they're done first.
      sources: how many sources are packed in it, consecutive in number; 1 for any other shard.
      digest: of a packed shard, what its sources' ETags come to (``etags_digest``).
      format: name of the reader that has split the source; empty where none has.
    """

    source: Source
    part: int = 0
    begin: int = 0
    end: int = 0
    first_row: int = 0
    rows: int = -1
    error: str = ""
    size: int = dataclasses.field(default=0, compare=False)
    sources: int = 1
    digest: str = ""
    format: str = dataclasses.field(default="", compare=False)

    @property
    def whole(self) -> bool:
        """Whether it is a whole source that was read without being split."""
        return not self.end and not self.packed

    @property
    def counted(self) -> bool:
        """Whether it's known where its rows are in the source; else nothing can be said of its documents' ids."""
        return self.first_row >= 0

    @property
    def packed(self) -> bool:
        """Whether it has several sources."""
        return self.sources > 1

    @property
    def etag(self) -> str:
        """Changes when any of its sources does."""
        return self.digest or self.source.etag

    @property
    def name(self) -> str:
        """Source number and part, as in the names of the shard's objects."""
        return f"{self.source.number:07d}-{self.part:05d}"

    @property
    def key(self) -> int:
        """The id of the first row of its source that can be in it: what its values are grouped by in shuffles."""
        return document_id(self.source.number, self.first_row)


@dataclasses.dataclass(frozen=True, eq=False)
class Census:
    """How many rows each source of a packed shard has, and which of them can't be read.

    Attributes:
      rows: int64, one a source; 0 for one that can't be read.
      errors: why, by position in the shard.
    """

    rows: npt.NDArray[np.int64]
    errors: dict[int, str] = dataclasses.field(default_factory=dict)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """The place of each source's first row, if it has any."""
        return np.cumsum(self.rows) - self.rows

    def of_places(self, places: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Position of the source in the shard, and row in the source, of each place."""
        starts = self.starts
        position = np.searchsorted(starts, places, side="right") - 1  # of sources that start alike, the last has rows
        return position, places - starts[position]


def places_of(
    shard: Shard, census: Census | None, places: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Source number and row of documents at these places of a shard; a packed one has a census."""
    if census is None:
        return np.full(len(places), shard.source.number, np.int64), places.astype(np.int64) + shard.first_row
    position, rows = census.of_places(places.astype(np.int64))
    return position + shard.source.number, rows


def places_in(ids: npt.NDArray[np.integer], shard: Shard, census: Census | None) -> npt.NDArray[np.int64]:
    """The places in a shard of documents by their ids: what ``places_of`` is the inverse of."""
    numbers, rows = split_document_id(ids.astype(np.int64))
    return rows + (-shard.first_row if census is None else census.starts[numbers - shard.source.number])


def etags_digest(etags: Iterable[str]) -> str:
    """Of several sources one ETag."""
    digest = hashlib.sha256()
    for etag in etags:
        digest.update(etag.encode() + b"\0")
    return f"packed-{digest.hexdigest()}"


def document_id(source_number: Id, row: Id) -> Id:
    """``(source number << 32) | row``, a document's id in its run."""
    return (source_number << 32) | row


def split_document_id(identifier: Id) -> tuple[Id, Id]:
    """Source number and row of a document id, or of an array of them."""
    return identifier >> 32, identifier & 0xFFFFFFFF
