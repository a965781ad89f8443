"""What a worker of a run needs, loaded before there are workers: they are forked from the process that has it.

Importing this module imports the boxes of a run, with Arrow, numba and the tokenizer engines.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from schemas import columns
from schemas.shards import Shard, Source
from transforms import (  # noqa: F401  (what the boxes of a run are in)
    add_columns,
    check_spelling,
    decide_again,
    edit,
    list_sources,
    read_documents,
    reuse_tokens,
    select_kept,
    skip_finished,
    split_shards,
    write_fingerprints,
    write_lineage,
    write_tokens,
)
from transforms.batches import Batch
from transforms.box import Box
from transforms.deduplication import audit_duplicates, deduplicate, earlier_duplicates  # noqa: F401
from transforms.fingerprint import Fingerprint
from transforms.identify_language import IdentifyLanguage
from transforms.normalize import Normalize
from transforms.tokenize import Tokenize

TEXT = "A short text with a few words, é, ß and 漢字, so that every kernel of a run has something to do."


def load(boxes: Sequence[Box]) -> None:
    """Has boxes load models, tables and compiled kernels, by doing their work on one document. It starts no threads.

    Recipes are left out: what a step loads may start threads, or not bear to be forked.

    Args:
      boxes: of both text passes of a run (``beam_pipeline.passes``).
    """
    data = pa.table({"row": [0], "id": [None], "text": [TEXT], "outcome": [None]}, columns.DOCUMENTS)
    batch = Batch(Shard(Source(0, "memory:warm-up", "", len(TEXT))), 0, True, data.to_batches()[0])
    for box in boxes:
        match box:
            case Normalize() | IdentifyLanguage():
                box.setup()
                batch = box(batch)
            case Fingerprint():
                Fingerprint(box.options)(batch)
            case Tokenize():
                box.options.load_early()
