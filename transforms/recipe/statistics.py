"""Annotators that count: what the published quality rules are conditions on (``transforms.kernels.statistics``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from transforms.kernels.deduplication.fingerprinting import offsets_and_data
from transforms.kernels.statistics.repetition import REPETITION, measure_texts
from transforms.kernels.statistics.text_statistics import STATISTICS, STOP_HASHES, count_texts, terminal_table
from transforms.kernels.statistics.words import classes


@dataclasses.dataclass(frozen=True)
class TextStatistics:
    """Adds counts of characters, words, lines and paragraphs, uint32 each.

    The columns and what they count: ``transforms.kernels.statistics.text_statistics.STATISTICS``. A long text needs 13
    to 26 bytes of memory for each of its words, with ``repetition`` 40 to 90.

    Attributes:
      repetition: whether to add the columns of ``Repetition``, too: cheaper than one after the other.
    """

    repetition: bool = False

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """The names of the attributes, with their type."""
        return dict.fromkeys([*STATISTICS, *(REPETITION if self.repetition else ())], pa.uint32())

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """The statistics of each text."""
        offsets, data = offsets_and_data(documents["text"])
        counts = np.zeros((len(documents), len(STATISTICS)), np.uint32)
        figures = np.zeros((len(documents) if self.repetition else 0, len(REPETITION)), np.uint32)
        count_texts(data, offsets, classes(), terminal_table(), STOP_HASHES, counts, figures)
        found = {name: pa.array(counts[:, place]) for place, name in enumerate(STATISTICS)}
        if self.repetition:
            found |= {name: pa.array(figures[:, place]) for place, name in enumerate(REPETITION)}
        return found


@dataclasses.dataclass(frozen=True)
class Repetition:
    """Adds how many characters are in the commonest and in repeated n-grams, uint32 each.

    The columns and what they count: ``transforms.kernels.statistics.repetition.REPETITION``. A long text needs 40 to 90
    bytes of memory for each of its words.
    """

    columns = dict.fromkeys(REPETITION, pa.uint32())

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """The figures of each text."""
        offsets, data = offsets_and_data(documents["text"])
        figures = np.zeros((len(documents), len(REPETITION)), np.uint32)
        measure_texts(data, offsets, classes(), figures)
        return {name: pa.array(figures[:, place]) for place, name in enumerate(REPETITION)}
