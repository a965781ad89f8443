"""Megatron-LM and Megatron-core: ``.bin`` of token ids, ``.idx`` of sequences and documents."""

from __future__ import annotations

import numpy as np

from transforms.export.formats.base import Format, Sequences, Target, refuse_over
from transforms.export.options import ExportOptions

_MAGIC = b"MMIDIDX\x00\x00"
_INT32, _UINT16 = 4, 8
_VERSION = np.array([1], "<u8")


class Megatron(Format):
    """``megatron/core/datasets/indexed_dataset.py``, version 1; the two files have one prefix.

    Ids are uint16 where the run's are, else int32. Lengths are int32, so a sequence has less than 2^31 tokens; offsets
    are int64. Each sequence is a document of the index: what packing has put together isn't told apart.
    """

    name = "megatron"
    trainers = "Megatron-LM, Megatron-core, GPT-NeoX, NeMo"

    def write(self, sequences: Sequences, target: Target, number: int, files: int, options: ExportOptions) -> None:
        """The tokens, then the index."""
        lengths = sequences.lengths
        refuse_over(2**31, int(lengths.max(initial=0)), "tokens of a sequence")
        prefix = f"part-{number:05d}"
        target.write(f"{prefix}.bin", sequences.tokens)
        target.write(f"{prefix}.idx", *index(lengths, options.id_bytes))


def index(lengths: np.ndarray, id_bytes: int) -> list[bytes | np.ndarray]:
    """The parts of an ``.idx`` for sequences of these lengths.

    Args:
      lengths: int64, tokens of each sequence.
      id_bytes: 2 or 4.
    """
    count = len(lengths)
    offsets = (np.cumsum(lengths, dtype=np.int64) - lengths) * id_bytes
    counts = np.array([count, count + 1], "<u8")
    dtype = bytes([_UINT16 if id_bytes == 2 else _INT32])
    documents = np.arange(count + 1, dtype="<i8")
    return [_MAGIC, _VERSION, dtype, counts, lengths.astype("<i4"), offsets.astype("<i8"), documents]
