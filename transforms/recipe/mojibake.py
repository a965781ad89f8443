"""The editor ``ftfy``: mends texts that were decoded as the wrong encoding, by the library of this name."""

from __future__ import annotations

import ftfy
import numpy as np
import pyarrow as pa

from transforms.kernels.deduplication.fingerprinting import offsets_and_data
from transforms.kernels.edits.mojibake import suspected
from transforms.recipe.personal_data import replaced


class Ftfy:
    """Mends mojibake (``ftfy.fix_encoding``) in the texts in which a kernel suspects some; other texts stay as they
    are."""

    edits = True

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """The texts as they were meant."""
        text = documents["text"]
        offsets, data = offsets_and_data(text)
        changed = {}
        for place in np.flatnonzero(suspected(data, offsets)).tolist():
            before = text[place].as_py()
            after = ftfy.fix_encoding(before)
            if after != before:
                changed[place] = after
        return replaced(text, changed)
