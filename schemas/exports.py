"""What an export stores and hands out: the layout of its folder, the plan's tables, the index of provenance.

Under an export's output stand, in the order of writing:

- ``plan.json``: settings, runs, and all that decides the bytes; ``units.parquet`` (``UNITS``) and ``pieces.parquet``
  (``PIECES``): which documents go into which file;
- ``train/`` and ``holdout/``: what trainers read, the files of the format;
- ``provenance/SPLIT-NUMBER.parquet`` (``PROVENANCE``), one a file, written after it: its commit;
- what a format says about all files (``index.json``, ``state.json``), ``README.md``, ``croissant.json``;
- ``export.json``: the manifest, last.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

PLAN, MANIFEST, UNITS_FILE, PIECES_FILE = "plan.json", "export.json", "units.parquet", "pieces.parquet"
SPLITS = ("train", "holdout")
PROVENANCE_FOLDER = "provenance"
SIGNATURE = b"beam_pipeline.export"
"""Footer key of an index of provenance: hash of all that decides the bytes of the file."""
COUNTS = b"beam_pipeline.counts"
"""Footer key: ``Written`` as JSON."""

# A unit is a row group of a token object, what is read at once. Row k is unit k.
UNITS = pa.schema(
    [
        pa.field("run", pa.uint16()),  # position of the run in the plan
        pa.field("object", pa.dictionary(pa.int32(), pa.string())),  # name of the token object, below the run's tokens/
        pa.field("etag", pa.dictionary(pa.int32(), pa.string())),  # pinned
        pa.field("size", pa.int64()),  # bytes of the object
        pa.field("row_group", pa.uint32()),
        pa.field("documents", pa.uint32()),
        pa.field("first_id", pa.uint64()),  # document ids ascend
        pa.field("last_id", pa.uint64()),
    ]
)

# A piece is the documents of a unit that go into one file together; sorted by split, file, unit.
PIECES = pa.schema(
    [
        pa.field("split", pa.uint8()),  # index of SPLITS
        pa.field("file", pa.uint32()),
        pa.field("unit", pa.uint32()),
        pa.field("copy", pa.uint16()),  # 0: the documents as they are taken first; 1: those that are taken again, ...
        pa.field("part", pa.uint16()),  # a hash of the document says in which part of its unit it is
        pa.field("documents", pa.uint32()),
        pa.field("tokens", pa.uint64()),
    ]
)

# Where each piece of a sequence came from, in the order of the file. A row group begins with a sequence.
PROVENANCE = pa.schema(
    [
        pa.field("start", pa.uint64()),  # token of the file with which it begins
        pa.field("sequence", pa.uint32()),
        pa.field("run", pa.uint16()),  # position of the run in the plan
        pa.field("document", pa.uint64()),  # id in that run; null: padding
        pa.field("offset", pa.uint32()),  # token of the document as exported, with what was put before it
        pa.field("copy", pa.uint16()),  # how often the export has taken the document before, anywhere
    ]
)


def file_name(split: int, number: int) -> str:
    """Under which a file's index of provenance stands; file names of the formats have the same number."""
    return f"{SPLITS[split]}-{number:05d}"


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """A row group of a token object: see ``UNITS``.

    Attributes:
      uri: of the token object.
      decisions: URI of the object that says which of its documents stay; empty: all.
    """

    index: int
    run: int
    uri: str
    etag: str
    size: int
    row_group: int
    decisions: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """See ``PIECES``. ``removed``: sorted ids of its documents that are left out after all."""

    unit: Unit
    copy: int
    part: int
    removed: npt.NDArray[np.uint64]


@dataclasses.dataclass(frozen=True, eq=False)
class ExportFile:
    """A file of an export, the unit of its work, retry and commit.

    Attributes:
      files: how many the split has.
      tokens: about how many it will have.
      signature: hash of all that decides its bytes.
    """

    split: int
    number: int
    files: int
    pieces: tuple[Piece, ...]
    tokens: int
    signature: str

    @property
    def name(self) -> str:
        """Tells it from all others."""
        return file_name(self.split, self.number)

    @property
    def size(self) -> int:
        """What the work on it is in proportion to."""
        return self.tokens


@dataclasses.dataclass(frozen=True)
class Written:
    """What a file of an export has.

    Attributes:
      objects: bytes of each of its objects, by name below the split's folder.
      documents: with at least one token, as often as they are in it.
      tokens: with those put around documents, without padding.
      padding: tokens.
      cut: documents that are in more than one sequence.
      empty: documents without tokens, which are in no sequence.
    """

    split: int
    number: int
    objects: dict[str, int]
    sequences: int
    documents: int
    tokens: int
    padding: int
    cut: int
    empty: int

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        return dataclasses.asdict(self)
