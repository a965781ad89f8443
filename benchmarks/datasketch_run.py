"""datasketch on ready shingles; run with the interpreter of the peer's environment (its SciPy would slow our imports).

    python datasketch_run.py SHINGLES.parquet

The file has a column ``shingles``, list<binary>, one row a document. Prints CPU seconds.
"""

from __future__ import annotations

import sys
import time

import pyarrow.parquet as pq
import xxhash
from datasketch import MinHash


def main(path: str) -> None:
    """112 permutations, as many as 14 bands of 8 rows need."""
    documents = pq.read_table(path)["shingles"].to_pylist()
    started = time.process_time()
    for shingles in documents:
        MinHash(num_perm=112, hashfunc=xxhash.xxh32_intdigest).update_batch(shingles)
    print(time.process_time() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
