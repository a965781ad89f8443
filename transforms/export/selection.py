"""Which documents of a run are exported and how often: the same answer when it is planned and when it is written."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.kernels.export import choosing
from transforms.recipe.expressions import Expression

LEFT_OUT = -1
"""Group of a document that no pattern matches."""


class Candidates(NamedTuple):
    """Documents that can be exported, before it is decided how often.

    Attributes:
      row: in the table.
      id: uint64.
      group: index of the pattern, or ``LEFT_OUT``.
      number: of ``choosing.uniform``.
      times: of ``choosing.times_of``.
    """

    row: npt.NDArray[np.int64]
    id: npt.NDArray[np.uint64]
    group: npt.NDArray[np.int64]
    number: npt.NDArray[np.float64]
    times: npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Selection:
    """What to take.

    Attributes:
      by: column of the token objects whose value says a document's group; empty: all are in the first group. ``run``:
        the position of the run.
      patterns: of the values, with ``*`` and ``?``; the first that matches counts.
      epochs: of each pattern's documents, so many copies on average; a budget has been turned into epochs.
      where: condition on columns (``transforms.recipe.expressions``); empty: all.
      times: by ``cluster_size``, as for ``choosing.times_of``.
      holdout: share of the documents that is held out, once each.
    """

    seed: int = 0
    by: str = ""
    patterns: tuple[str, ...] = ("*",)
    epochs: tuple[float, ...] = (1.0,)
    where: str = ""
    times: tuple[tuple[int, float], ...] = ()
    holdout: float = 0.0

    @property
    def columns(self) -> list[str]:
        """Of the token objects, that are needed to choose."""
        named = {self.by} - {"", "run"}
        named |= set(Expression.parse(self.where).columns) if self.where else set()
        named |= {"cluster_size"} if self.times else set()
        return sorted(named - {"id", "n_tokens"})

    def candidates(self, documents: pa.Table, run: int) -> Candidates:
        """The documents that fulfil ``where``, with their groups."""
        rows = np.arange(documents.num_rows)
        if self.where:
            wanted = Expression.parse(self.where).evaluate(documents)
            rows = np.flatnonzero(pc.fill_null(wanted, False).to_numpy(zero_copy_only=False))
        if "cluster_size" in documents.column_names:  # 0: by the decisions, it doesn't stay
            rows = rows[documents["cluster_size"].to_numpy()[rows] > 0]
        group = self._groups(documents, run)[rows]
        ids = documents["id"].to_numpy()[rows]
        if self.times:
            times = choosing.times_of(documents["cluster_size"].to_numpy()[rows], self.times)
        else:
            times = np.ones(len(rows))
        return Candidates(rows, ids, group, choosing.uniform(ids, self.seed, run), times)

    def copies(self, candidates: Candidates) -> npt.NDArray[np.int64]:
        """How often each candidate is taken for training, if it isn't held out."""
        epochs = np.array([*self.epochs, 0.0])[candidates.group]  # the last is LEFT_OUT's
        return choosing.copies(candidates.number, epochs, candidates.times)

    def held_out(self, candidates: Candidates, run: int) -> npt.NDArray[np.bool_]:
        """Which candidates go into the hold-out set."""
        chosen = choosing.held_out(candidates.id, self.seed, run, self.holdout)
        return chosen & (np.array([*self.epochs, 0.0])[candidates.group] > 0)

    def _groups(self, documents: pa.Table, run: int) -> npt.NDArray[np.int64]:
        if not self.by:
            return np.zeros(documents.num_rows, np.int64)
        if self.by == "run":
            return np.full(documents.num_rows, match(str(run), self.patterns), np.int64)
        column = documents[self.by]
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        values = [str(value) for value in pc.fill_null(column.dictionary.cast(pa.string()), "").to_pylist()]
        of_value = np.array([*(match(value, self.patterns) for value in values), match("", self.patterns)], np.int64)
        return of_value[column.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)]


@functools.lru_cache(maxsize=1 << 16)
def match(value: str, patterns: tuple[str, ...]) -> int:
    """The first pattern that matches a value, or ``LEFT_OUT``."""
    found = (index for index, pattern in enumerate(patterns) if fnmatch.fnmatchcase(value, pattern))
    return next(found, LEFT_OUT)
