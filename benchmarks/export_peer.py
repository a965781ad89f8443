"""What peers do with documents whose tokens are there: ``python export_peer.py megatron|datatrove TOKENS OUT``.

In the peer's environment, without ours. Reads the token objects (Parquet) by pyarrow and hands the peer one document
after the other, as its own tools do; prints CPU seconds (imports left out) and tokens as JSON.

- megatron: ``IndexedDatasetBuilder``, as Megatron-LM's ``preprocess_data.py`` calls it behind its tokenizer.
- datatrove: ``TokenizedFile`` and its shuffled copy, as ``DocumentTokenizer`` makes them behind its tokenizer.
"""

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq


def documents(folder: Path) -> Iterator[list[int]]:
    """The ids of each document."""
    for path in sorted(folder.glob("*.parquet")):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group, columns=["input_ids"])["input_ids"].to_pylist()


def megatron(folder: Path, out: Path) -> tuple[int, float]:
    """Tokens, CPU seconds."""
    import numpy as np
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    started, tokens = time.process_time(), 0
    builder = IndexedDatasetBuilder(str(out / "peer.bin"), dtype=np.uint16)
    for ids in documents(folder):
        if ids:
            builder.add_document(ids, [len(ids)])
            tokens += len(ids)
    builder.finalize(str(out / "peer.idx"))
    return tokens, time.process_time() - started


def datatrove(folder: Path, out: Path) -> tuple[int, float]:
    """Tokens, CPU seconds."""
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    started, tokens = time.process_time(), 0
    file = TokenizedFile(str(out), "peer.ds", save_index=True, token_size=2)
    for ids in documents(folder):
        if ids:
            file.write(ids, None)
            tokens += len(ids)
    file.close()
    order = list(range(len(file.doc_ends)))
    random.Random(0).shuffle(order)
    file.copy("shuffled.ds", order)
    return tokens, time.process_time() - started


if __name__ == "__main__":
    found, seconds = {"megatron": megatron, "datatrove": datatrove}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps({"tokens": found, "seconds": seconds}))
    sys.stdout.flush()
    os._exit(0)
