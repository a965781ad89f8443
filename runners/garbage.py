"""Python's collector of reference cycles, called more rarely in the processes of this package.

By default it looks at all that is new after 700 new objects, and again and again at everything that is there. While
Beam, Arrow and numba are imported nothing is garbage: that took 1.1 of 5 CPU seconds of a run with one tiny document.
"""

from __future__ import annotations

import gc

NEW_OBJECTS, ROUNDS_OF_YOUNG, ROUNDS_OF_OLD = 20_000, 20, 10
"""After so many new objects those are looked at, so that few MB of garbage wait; every 20th time older ones, too, and
every 200th time all."""


def collect_rarely() -> None:
    """Sets the thresholds of this process. Memory that isn't in a cycle is freed at once, as always."""
    gc.set_threshold(NEW_OBJECTS, ROUNDS_OF_YOUNG, ROUNDS_OF_OLD)
