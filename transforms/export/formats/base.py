"""What all formats have in common. A format is a class, and an entry in ``transforms.export.formats.FORMATS``."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from schemas.errors import ToldError
from schemas.exports import Written
from transforms.export.options import Boundaries, ExportOptions
from transforms.io import storage
from transforms.kernels.export.copying import positions

Ints = npt.NDArray[np.int64]


class TooLarge(ToldError):
    """A file can't be written in a format, whose offsets end before it does."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sequences:
    """The sequences of a file.

    Attributes:
      tokens: ids of all sequences, one after the other, padding included.
      starts: token with which each sequence begins; one more at the end, the number of tokens.
      pieces: token with which each piece of a document begins; ascending. A sequence begins with a piece.
      filled: tokens that aren't padding.
    """

    tokens: npt.NDArray[np.unsignedinteger]
    starts: Ints
    pieces: Ints
    filled: int

    @property
    def count(self) -> int:
        """How many sequences there are."""
        return len(self.starts) - 1

    @property
    def lengths(self) -> Ints:
        """Tokens of each sequence."""
        return np.diff(self.starts)

    def boundaries(self) -> tuple[Ints, npt.NDArray[np.int32]]:
        """Where documents begin and end in each sequence (``cu_seqlens``), all sequences one after the other.

        A sequence with pieces of 3 and 5 tokens has 0, 3, 8. Padding counts to the last piece.

        Returns:
          Where each sequence's entries begin, one more at the end; the entries.
        """
        first = np.searchsorted(self.pieces, self.starts)
        offsets = first + np.arange(len(first))  # an entry more a sequence
        entries = np.empty(int(offsets[-1]), np.int32)
        sequence = np.searchsorted(self.starts, self.pieces, "right") - 1
        entries[np.arange(len(self.pieces)) + sequence] = self.pieces - self.starts[sequence]
        entries[offsets[1:] - 1] = self.lengths
        return offsets, entries

    def position_ids(self) -> npt.NDArray[np.int32]:
        """For each token, how many are before it in its piece."""
        return positions(self.pieces, len(self.tokens))

    def lists(self, boundaries: Boundaries) -> dict[str, tuple[Ints, npt.NDArray]]:
        """The columns of formats that have columns: by name, where each sequence's values begin, and the values."""
        columns: dict[str, tuple[Ints, npt.NDArray]] = {"input_ids": (self.starts, self.tokens)}
        if boundaries == "cu_seqlens":
            columns["cu_seqlens"] = self.boundaries()
        elif boundaries == "position_ids":
            columns["position_ids"] = (self.starts, self.position_ids())
        return columns


class Target:
    """Where the objects of a file go; remembers how large they are."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.objects: dict[str, int] = {}

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """An object to be written, one commit."""
        with storage.open_output(storage.join(self._folder, name)) as file:
            yield file
            self.objects[name] = file.tell()

    def write(self, name: str, *parts: npt.NDArray | bytes) -> None:
        """An object of these bytes, one after the other."""
        with self.open(name) as file:
            for part in parts:
                file.write(part if isinstance(part, bytes) else np.ascontiguousarray(part).view(np.uint8).data)


class Format(abc.ABC):
    """How sequences become what a trainer reads.

    Attributes:
      name: as ``--format`` takes it.
      carries_boundaries: whether it has columns for ``cu_seqlens`` and ``position_ids``.
      needs_end: whether nothing but a token tells where a document ends.
      trainers: who reads it.
    """

    name: ClassVar[str]
    carries_boundaries: ClassVar[bool] = False
    needs_end: ClassVar[bool] = False
    trainers: ClassVar[str]

    @abc.abstractmethod
    def write(self, sequences: Sequences, target: Target, number: int, files: int, options: ExportOptions) -> None:
        """Writes the objects of a file, those that say what is in others last.

        Args:
          number, files: which of how many files of the split.

        Raises:
          TooLarge: the format can't hold so much in a file.
        """

    def about_all(self, written: Sequence[Written], options: ExportOptions) -> Iterator[tuple[str, bytes]]:
        """What the format says about all files of a split: names below its folder, and contents."""
        yield from ()

    def about_splits(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """What the format says about the splits that there are: names below the export, and contents."""
        yield from ()


def refuse_over(limit: int, amount: int, what: str) -> None:
    """Refuses a file that a format can't hold.

    Raises:
      TooLarge: with what to do.
    """
    if amount >= limit:
        raise TooLarge(f"{what}: {amount:,} in one file, the format ends at {limit - 1:,}; lower --shard_tokens")
