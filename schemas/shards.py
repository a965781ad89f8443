"""Sources, shards and document ids: the names that everything else refers to.

A *source* is one input object. Sources are numbered from 0 in the order of their sorted URIs. A *row* is the position
of a document in its source, from 0: the row of a Parquet file, the line of a JSON Lines file, where blank lines aren't
counted. A document's id is ``(source number << 32) | row``, so ids sort as sources and rows do.

A *shard* is a run of consecutive row groups of one Parquet source, or a whole JSON Lines source. It is named by its
source and first row group, so the name means the same at any parallelism, on any runner, after a restart.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

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


@dataclasses.dataclass(frozen=True, slots=True)
class Shard:
    """The unit of work, retry, resume, output and lineage.

    Attributes:
      source: where its documents are.
      first_row_group, row_groups: which row groups of a Parquet source; 0 and 0 for a JSON Lines source.
      first_row: row of its first document in the source.
      rows: number of documents; -1 while unknown (JSON Lines before it was read).
      error: why the source can't be split into documents; empty if it can. Such a shard stands for the whole source.
      size: about how many bytes of text; only says which shards are large, so that they're done first.
    """

    source: Source
    first_row_group: int = 0
    row_groups: int = 0
    first_row: int = 0
    rows: int = -1
    error: str = ""
    size: int = dataclasses.field(default=0, compare=False)

    @property
    def name(self) -> str:
        """Source number and first row group, as in the names of the shard's objects."""
        return f"{self.source.number:07d}-{self.first_row_group:05d}"

    @property
    def key(self) -> int:
        """The id of the shard's first document: what its values are grouped by in shuffles."""
        return document_id(self.source.number, self.first_row)


def document_id(source_number: int, row: int) -> int:
    """``(source number << 32) | row``, a document's id in its run."""
    return (source_number << 32) | row


def split_document_id(identifier: Id) -> tuple[Id, Id]:
    """Source number and row of a document id, or of an array of them."""
    return identifier >> 32, identifier & 0xFFFFFFFF
