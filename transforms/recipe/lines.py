"""The editors of lines, C4's and DCLM's, and annotators that say what they would leave."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from transforms.kernels.deduplication.fingerprinting import offsets_and_data
from transforms.kernels.edits import c4_lines, dclm_lines
from transforms.recipe.c4 import C4Options


@dataclasses.dataclass(frozen=True, kw_only=True)
class C4Lines(C4Options):
    """Removes lines, and citations in brackets, as C4 does (``transforms.kernels.edits.c4_lines``)."""

    edits = True

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """The lines that stay."""
        data, offsets, _ = self.kept(documents["text"])
        return _strings(data, offsets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class C4Statistics(C4Options):
    """Adds what ``c4_lines`` leaves and finds: ``c4_sentences`` (uint32), ``c4_lorem_ipsum``, ``c4_curly_bracket``."""

    columns = {  # noqa: RUF012 - part of the contract of a step
        "c4_sentences": pa.uint32(),
        "c4_lorem_ipsum": pa.bool_(),
        "c4_curly_bracket": pa.bool_(),
    }

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """The figures of each text."""
        _, _, figures = self.kept(documents["text"])
        return {
            "c4_sentences": pa.array(figures[:, c4_lines.SENTENCES]),
            "c4_lorem_ipsum": pa.array(figures[:, c4_lines.HAS_LOREM_IPSUM] != 0),
            "c4_curly_bracket": pa.array(figures[:, c4_lines.HAS_CURLY_BRACKET] != 0),
        }


@dataclasses.dataclass(frozen=True)
class DclmLines:
    """Removes lines and stock phrases as DCLM does (``transforms.kernels.edits.dclm_lines``)."""

    edits = True

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """The lines that stay."""
        offsets, data = offsets_and_data(documents["text"])
        data, offsets, _ = dclm_lines.kept_lines(data, offsets)
        return _strings(data, offsets)


@dataclasses.dataclass(frozen=True)
class DclmStatistics:
    """Adds how many words ``dclm_lines`` removes: ``dclm_removed_words`` (uint32)."""

    columns = {"dclm_removed_words": pa.uint32()}  # noqa: RUF012 - part of the contract of a step

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """The figure of each text."""
        offsets, data = offsets_and_data(documents["text"])
        _, _, removed = dclm_lines.kept_lines(data, offsets)
        return {"dclm_removed_words": pa.array(removed)}


def _strings(data: np.ndarray, offsets: np.ndarray) -> pa.Array:
    """The texts that a kernel has written; a batch has at most 16 MiB of them."""
    return pa.StringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data[: offsets[-1]])
    )
