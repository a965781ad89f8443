"""Compiles every kernel for the worker's image, by two runs of the pipeline; numba keeps the results in its cache.

The sample leaves out the last step of the deduplication, as its pairs are all settled before. So the second run's text
is chains of documents each of which is like its neighbours only.

    python compile_kernels.py
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from numba.core.registry import CPUDispatcher

from beam_pipeline.cli import main
from beam_pipeline.sample import tokenizer_path
from transforms import kernels

CHAINS, LINKS = 20, 12
WORDS, STEP = 1000, 80  # neighbours have 0.85 of their shingles in common, the next but one 0.72


def chains() -> pa.Table:
    """Texts of made-up words, others in each chain; a link begins ``STEP`` words after the one before."""
    texts = []
    for chain in range(CHAINS):
        words = [f"word{chain}x{number}" for number in range(WORDS + LINKS * STEP)]
        texts += [" ".join(words[link * STEP : link * STEP + WORDS]) for link in range(LINKS)]
    return pa.table({"text": texts})


def missing() -> list[str]:
    """The kernels of which numba has nothing in its cache; those that are inlined need nothing."""
    found = []
    for module in pkgutil.iter_modules(kernels.__path__, f"{kernels.__name__}."):
        for name, function in vars(importlib.import_module(module.name)).items():
            if not isinstance(function, CPUDispatcher) or function.__module__ != module.name:
                continue
            cached = Path(os.environ["NUMBA_CACHE_DIR"]).rglob(f"{module.name.rpartition('.')[2]}.{name}-*.nbc")
            if function.targetoptions.get("inline") != "always" and not any(cached):
                found.append(f"{module.name}.{name}")
    return found


if __name__ == "__main__":
    pq.write_table(chains(), "chains.parquet")
    given = ["--input", "chains.parquet", "--output", "chains", "--tokenizer", str(tokenizer_path())]
    status = main(["demo", "--output", "demo"]) or main(given)
    lacking = missing()
    sys.exit(status or (f"not compiled: {', '.join(lacking)}" if lacking else 0))
