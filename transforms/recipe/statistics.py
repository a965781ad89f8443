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
    """Adds counts of characters, words, lines and paragraphs, uint32 each; 65 MB/s a core.

    The columns and what they count: ``transforms.kernels.statistics.text_statistics.STATISTICS``.
    """

    columns = {name: pa.uint32() for name in STATISTICS}  # noqa: RUF012 - part of the contract of a step

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """The statistics of each text."""
        offsets, data = offsets_and_data(documents["text"])
        counts = np.zeros((len(documents), len(STATISTICS)), np.uint32)
        valid = np.ones(len(documents), np.bool_)
        count_texts(data, offsets, valid, classes(), terminal_table(), STOP_HASHES, counts)
        return {name: pa.array(counts[:, place]) for place, name in enumerate(STATISTICS)}


@dataclasses.dataclass(frozen=True)
class Repetition:
    """Adds how many characters are in the commonest and in repeated n-grams, uint32 each; 50 MB/s a core.

    The columns and what they count: ``transforms.kernels.statistics.repetition.REPETITION``. A long text needs 60 to 90
    bytes of memory for each of its words.
    """

    columns = {name: pa.uint32() for name in REPETITION}  # noqa: RUF012 - part of the contract of a step

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """The figures of each text."""
        offsets, data = offsets_and_data(documents["text"])
        figures = np.zeros((len(documents), len(REPETITION)), np.uint32)
        measure_texts(data, offsets, np.ones(len(documents), np.bool_), classes(), figures)
        return {name: pa.array(figures[:, place]) for place, name in enumerate(REPETITION)}
