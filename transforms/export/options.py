"""How the files of an export are made: the options that workers get."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from transforms.export.selection import Selection
from transforms.kernels.export.packing import Packing

Boundaries = Literal["none", "cu_seqlens", "position_ids"]


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What decides the bytes of the files, beside the plan's pieces.

    Attributes:
      output: folder or prefix of the export.
      format: name of a format (``transforms.export.formats``).
      selection: which documents.
      parts: into how many files the documents of a row group go, about.
      before, after: for each run, the ids put before and after each of its documents; -1: none, or it has them.
      begins, ends: for each run, the ids with which its documents begin and end as it wrote them; -1: none.
      pad: id with which sequences are filled up to ``sequence_length``; -1: they stay shorter.
      id_bytes: of a token id, 2 or 4.
    """

    output: str
    format: str
    selection: Selection
    parts: int
    packing: Packing
    sequence_length: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    pad: int
    boundaries: Boundaries
    id_bytes: int

    @property
    def id_type(self) -> np.dtype:
        """Of token ids."""
        return np.dtype(np.uint16 if self.id_bytes == 2 else np.uint32)

    def added(self, run: int) -> int:
        """How many tokens are put around each document of a run."""
        return (self.before[run] >= 0) + (self.after[run] >= 0)
