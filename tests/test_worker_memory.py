"""A worker's freed memory serves its next batch."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCK = 32 << 20
KEPT = f"""
import sys
import numpy as np, pyarrow as pa
from transforms.worker_memory import _malloc_info, keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
heap = []
for _ in range(30):
    np.ones({BLOCK}, np.uint8)
    pa.allocate_buffer({BLOCK}).to_pybytes()
    heap.append(_malloc_info()().arena)
print(_malloc_info()().fordblks, heap[-1] - heap[14])
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


@pytest.mark.parametrize(("how", "kept"), [("as it comes", False), ("keep", True)])
def test_blocks_freed_are_kept_and_used_again(how: str, kept: bool) -> None:
    free, growth = numbers(KEPT, how)
    assert (free >= BLOCK) == kept, free
    assert growth < BLOCK  # what is freed serves the next rounds


def test_growth_into_memory_that_was_kept_is_seen() -> None:
    grown, given_back = numbers(GROWTH, "")
    assert BLOCK <= grown < BLOCK + 100_000
    assert given_back < 100_000
