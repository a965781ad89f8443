"""A worker's freed memory serves its next batch."""

from __future__ import annotations

import subprocess
import sys

BLOCK = 32 << 20
PROGRAM = f"""
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


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_blocks_freed_are_used_again_without_page_faults() -> None:
    without, kept = faults("as it comes"), faults("keep")
    pages = BLOCK // 4096
    assert without - kept > 10 * pages, (without, kept)
