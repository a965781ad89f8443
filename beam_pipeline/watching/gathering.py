"""When enough objects have announced themselves to begin a run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from beam_pipeline.watching.broker_queue import Message
from beam_pipeline.watching.notifications import Announced

HELD_SECONDS = 600.0
"""How long messages wait at most while a run is at work; RabbitMQ takes a consumer for stuck after 30 minutes."""

_PREFETCH = 65535


@dataclasses.dataclass(frozen=True)
class Limits:
    """What begins a run; the first that is reached.

    Attributes:
      messages: so many have come.
      bytes: so many are announced.
      quiet: nothing has come for so many seconds. While a run is at work, later: its successor may as well be larger.
    """

    messages: int = 1000
    bytes: int = 64 << 30
    quiet: float = 60.0

    def __post_init__(self) -> None:
        for name in ("messages", "bytes", "quiet"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: {getattr(self, name)} isn't above 0")
        if self.messages > _PREFETCH:
            raise ValueError(f"messages: {self.messages} is above {_PREFETCH}, the most that RabbitMQ delivers ahead")


class Gathering:
    """Messages that have come and aren't acknowledged, and what they announce.

    Args:
      limits: what begins a run.
      now: the clock, in seconds.
    """

    def __init__(self, limits: Limits, now: Callable[[], float] = time.monotonic):
        self._limits, self._now = limits, now
        self.clear()

    def clear(self) -> None:
        """Forgets all: it is acknowledged, or will come again."""
        self.objects: dict[tuple[str, ...], Announced] = {}
        self.messages: list[tuple[Message, list[Announced]]] = []
        self._bytes, self._first, self._latest = 0, 0.0, 0.0

    def add(self, message: Message, announced: list[Announced]) -> None:
        """Takes what a message announces; the same object again replaces what was said of it."""
        self._latest = self._now()
        self._first = self._first if self.messages else self._latest
        self.messages.append((message, announced))
        for found in announced:
            before = self.objects.get(found.names)
            self._bytes += found.size - (before.size if before else 0)
            self.objects[found.names] = found

    def enough(self, *, at_work: bool) -> bool:
        """Whether it's time for a run.

        Args:
          at_work: a run is.
        """
        if not self.messages:
            return False
        if len(self.messages) >= self._limits.messages or self._bytes >= self._limits.bytes:
            return True
        if at_work:
            return self._now() - self._first >= HELD_SECONDS
        return self._now() - self._latest >= self._limits.quiet
