"""One library on one step; run with an interpreter that has benchmarks/requirements-libraries.txt.

    python library_run.py LIBRARY DOCUMENTS.parquet MODEL

The file has the columns ``text`` and ``shingles`` (list<binary>, the distinct word 5-grams). Prints CPU seconds of all
threads, loading left out.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq

WINDOW, BATCH = 1000, 2000
PERMUTATIONS, BANDS, SHINGLE = 112, 14, 5
Work = Callable[[list[Any]], object]


def _tokens(name: str, model: str) -> Work:
    """Ids of a ``tokenizer.json``, whole batches at once."""
    kind = importlib.import_module(name).Tokenizer
    tokenizer = kind.from_json(model) if name == "tokie" else kind.from_file(model)
    return lambda texts: tokenizer.encode_batch_flat(texts, add_special_tokens=False)


def _fasttext(name: str, model: str) -> Work:
    loaded = importlib.import_module("fasttext").load_model(model)
    return lambda texts: [loaded.predict(text[:WINDOW].replace("\n", " ")) for text in texts]


def _heliport(name: str, model: str) -> Work:
    identifier = importlib.import_module(name).Identifier()
    return lambda texts: [identifier.identify(text[:WINDOW].replace("\n", " ")) for text in texts]


def _datasketch(name: str, model: str) -> Work:
    sketch = importlib.import_module(name).MinHash
    digest = importlib.import_module("xxhash").xxh32_intdigest
    return lambda documents: [sketch(num_perm=PERMUTATIONS, hashfunc=digest).update_batch(s) for s in documents]


def _rensa(name: str, model: str) -> Work:
    sketch = importlib.import_module(name).RMinHash
    return lambda documents: sketch.digest_matrix_from_token_byte_sets(documents, PERMUTATIONS, 42)


def _gaoya(name: str, model: str) -> Work:
    index = importlib.import_module(name).minhash.MinHashStringIndex(
        hash_size=32, num_bands=BANDS, band_size=PERMUTATIONS // BANDS, num_hashes=PERMUTATIONS,
        analyzer="word", lowercase=True, ngram_range=(SHINGLE, SHINGLE),
    )  # fmt: skip
    numbers = iter(range(1 << 62))
    return lambda texts: [index.insert_document(next(numbers), text) for text in texts]


LIBRARIES: dict[str, tuple[str, Callable[[str, str], Work]]] = {
    "datasketch": ("shingles", _datasketch),
    "fastokens": ("text", _tokens),
    "fasttext-turbo": ("text", _fasttext),
    "gaoya": ("text", _gaoya),
    "heliport": ("text", _heliport),
    "rensa": ("shingles", _rensa),
    "snaptokens": ("text", _tokens),
    "tokie": ("text", _tokens),
}
"""By library the column that it is given, and what makes it ready."""


def main(name: str, path: str, model: str) -> None:
    """Works on all documents, a batch at a time."""
    column, load = LIBRARIES[name]
    work = load(name, model)
    documents = pq.read_table(path, columns=[column])[column].to_pylist()
    started = time.process_time()
    for start in range(0, len(documents), BATCH):
        work(documents[start : start + BATCH])
    print(time.process_time() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
