"""The peer: datatrove 0.10.1's four families on the documents of a Parquet file; prints the CPU seconds of its filters.

Run by ``benchmarks.rules`` with the interpreter of an environment of its own; imports nothing of the project.
"""

from __future__ import annotations

import contextlib
import sys
import time

import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.text import split_into_parts


def main(path: str) -> None:
    """Each family on every document; one run of a filter first, so that its tokenizer is loaded."""
    filters = [GopherQualityFilter(), GopherRepetitionFilter(), FineWebQualityFilter(), C4QualityFilter()]
    texts = pq.read_table(path, columns=["text"])["text"].to_pylist()
    for one in filters:
        one.filter(Document(text="A text to begin with.", id=""))
    split_into_parts.cache_clear()
    begin = time.process_time()
    for text in texts:
        for one in filters:
            with contextlib.suppress(ZeroDivisionError):  # of a document without words
                one.filter(Document(text=text, id=""))
    print(time.process_time() - begin)


if __name__ == "__main__":
    main(sys.argv[1])
