"""One thread a process for BLAS, OpenMP, Arrow and Rayon: there is a worker process for every core already.

Each of these libraries starts a thread a core in every process: 64 workers on 64 cores would have 4,096 of each kind.
Importing them starts none, so that workers can be forked (``runners.fork_server``).
"""

from __future__ import annotations

import os

LIMITS = {"JE_ARROW_MALLOC_CONF": "background_thread:false"} | dict.fromkeys(
    [
        "OMP_NUM_THREADS",  # OpenMP, and the size of Arrow's pool
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "RAYON_NUM_THREADS",  # the tokenizer engines
    ],
    "1",
)
"""What a worker's environment says, unless it says something else already."""


def limit() -> None:
    """Limits this process and those that it will start. Call it before numpy is imported: BLAS looks only then."""
    for name, value in LIMITS.items():
        os.environ.setdefault(name, value)
