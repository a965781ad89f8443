"""Waits until the files of a recipe change: the recipe itself, and the modules of its steps."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

POLL_SECONDS = 0.1


def states(files: Iterable[Path]) -> dict[Path, tuple[int, int] | None]:
    """When each file was changed, and its size; None if it isn't there."""
    found: dict[Path, tuple[int, int] | None] = {}
    for file in files:
        try:
            stat = file.stat()
            found[file] = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            found[file] = None
    return found


def wait_for_change(before: dict[Path, tuple[int, int] | None], seconds: float = float("inf")) -> list[Path]:
    """The files that differ from what they were, as soon as any does; none after so many seconds."""
    began = time.monotonic()
    while True:
        now = states(before)
        changed = [file for file, state in now.items() if state != before[file]]
        if changed:
            return changed
        if time.monotonic() - began > seconds:
            return []
        time.sleep(POLL_SECONDS)
