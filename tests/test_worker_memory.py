"""A worker's freed memory serves its next batch."""

from __future__ import annotations

import subprocess
import sys

BLOCK = 32 << 20
PAGE_FAULTS = f"""
import resource, sys
import numpy as np, pyarrow as pa
from transforms.worker_memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(10):
    np.ones({BLOCK}, np.uint8)
    pa.allocate_buffer({BLOCK}).to_pybytes()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""

GROWTH = f"""
from transforms.worker_memory import allocated_bytes, keep_freed_memory
keep_freed_memory()
freed = bytearray({BLOCK})
del freed  # what grows next may take its place
before = allocated_bytes()
block = bytearray({BLOCK})
print(allocated_bytes() - before)
del block
print(allocated_bytes() - before)
"""


def numbers(program: str, how: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


def test_blocks_freed_are_used_again_without_page_faults() -> None:
    without, kept = (numbers(PAGE_FAULTS, how)[0] for how in ("as it comes", "keep"))
    pages = BLOCK // 4096
    assert without - kept > 10 * pages, (without, kept)


def test_growth_into_memory_that_was_kept_is_seen() -> None:
    grown, given_back = numbers(GROWTH, "")
    assert BLOCK <= grown < BLOCK + 100_000
    assert given_back < 100_000
