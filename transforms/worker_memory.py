"""What a worker frees it keeps for its next batch, instead of giving it back and being given it anew.

Batches are of like sizes, so what one batch has freed serves the next. As they come, neither allocator lets it: glibc
maps large blocks one by one and unmaps them when they are freed, Arrow's own gives pages back after a second. Every
page that is given back costs a fault and a zeroed page when it is asked for again: 440,000 of them in a run on 204 MB,
1.1 of its CPU seconds.
"""

from __future__ import annotations

import ctypes
import functools

import pyarrow as pa

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of mallopt(3)
KEPT_BYTES = 256 << 20
"""What stays at the end of the heap when nothing there is in use: a batch of 16 MiB takes this much on its way."""


@functools.cache
def keep_freed_memory() -> None:
    """Sets the process up, once; without effect where the C library isn't glibc."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return
    library.mallopt(_M_MMAP_MAX, 0)
    library.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    library.mallopt(_M_ARENA_MAX, 1)  # one heap, whichever of Beam's threads works on a batch
    pa.set_memory_pool(pa.system_memory_pool())
