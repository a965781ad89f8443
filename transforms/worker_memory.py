"""What a worker frees it keeps for its next batch, instead of giving it back and being given it anew.

Batches are of like sizes, so what one batch has freed serves the next. As they come, neither allocator lets it: glibc
maps large blocks one by one and unmaps them when they are freed, Arrow's own gives pages back after a second. Every
page that is given back costs a fault and a zeroed page when it is asked for again: 440,000 of them in a run on 204 MB,
1.1 of its CPU seconds.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path

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


class _MallocInfo(ctypes.Structure):
    """``struct mallinfo2``."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


@functools.cache
def _malloc_info() -> Callable[[], _MallocInfo] | None:
    function = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc 2.33
    if function is not None:
        function.restype = _MallocInfo
    return function


def allocated_bytes() -> int | None:
    """What the process has asked of the C library and not given back.

    Resident memory doesn't tell once freed memory is kept: what grows may grow into that. It is the answer where the C
    library gives none, and None where the system gives neither.
    """
    info = _malloc_info()
    if info is not None:
        found = info()
        return int(found.uordblks + found.hblkhd)
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except FileNotFoundError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
