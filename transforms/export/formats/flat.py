"""A headerless array of token ids, and Aleph Alpha's memory map with its index."""

from __future__ import annotations

import json

import numpy as np

from transforms.export.formats.base import Format, Sequences, Target
from transforms.export.options import ExportOptions


class Numpy(Format):
    """Token ids one after the other, as OLMo-core and nanoGPT map them: ``np.memmap(file, np.uint16)``.

    Only the token at the end of each document tells where it ends. Padded sequences are rows of one length.
    """

    name = "numpy"
    needs_end = True
    trainers = "OLMo-core, nanoGPT, numpy.memmap"

    def write(self, sequences: Sequences, target: Target, number: int, files: int, options: ExportOptions) -> None:
        """The tokens."""
        target.write(f"part-{number:05d}.bin", sequences.tokens)


class AlephAlpha(Format):
    """``MemoryMapDataset`` of Aleph-Alpha/scaling: ``.bin`` of ids, ``.idx`` of (first token, tokens), ``.meta.json``.

    Ids are int32, the default there; offsets and lengths int64.
    """

    name = "aleph-alpha"
    trainers = "Aleph Alpha scaling"

    def write(self, sequences: Sequences, target: Target, number: int, files: int, options: ExportOptions) -> None:
        """Tokens, index, description."""
        prefix = f"part-{number:05d}"
        pairs = np.stack([sequences.starts[:-1], sequences.lengths], axis=1).astype("<i8")
        meta = {"dtype": "int32", "index_dtype": "int64", "document_count": sequences.count}
        target.write(f"{prefix}.bin", sequences.tokens.astype("<i4"))
        target.write(f"{prefix}.idx", np.ascontiguousarray(pairs).reshape(-1))
        target.write(f"{prefix}.meta.json", json.dumps(meta).encode())
