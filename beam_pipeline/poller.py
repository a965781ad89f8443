"""One thread beside a run that looks at its lineage.

It says that the command lives, tells all who want to know how far the run is, and sends events.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator

from beam_pipeline.broker import BrokerUnavailable
from beam_pipeline.event_publisher import Publisher
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.progress import BEAT_SECONDS, Progress
from beam_pipeline.plan import Plan
from transforms.io.lineage import Lineage, LineageUnavailable

LOGGER = logging.getLogger(__name__)

_TICK_SECONDS = 0.2
_EVENT_SECONDS = 1.0
_LAST_SECONDS = 10.0
"""How long the end of a run waits for its last events to be sent."""


@dataclasses.dataclass
class _Due:
    """Something to be done every so many seconds."""

    seconds: float
    next: float

    def now(self) -> bool:
        """Whether it's time; if so, for this time."""
        if time.monotonic() < self.next:
            return False
        self.next = time.monotonic() + self.seconds
        return True


class Poller:
    """Looks at the lineage of a run for all who want to know (``polling``)."""

    def __init__(self, plan: Plan, publisher: Publisher | None):
        self._plan, self._publisher = plan, publisher
        self._looks: dict[object, tuple[_Due, Callable[[Progress], None]]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def every(self, seconds: float, look: Callable[[Progress], None]) -> Iterator[None]:
        """Calls ``look`` with the run's progress every so many seconds in the block; never after it."""
        key = object()
        with self._lock:
            self._looks[key] = (_Due(seconds, time.monotonic() + seconds), look)
        try:
            yield
        finally:
            with self._lock:
                del self._looks[key]

    def work(self, stop: threading.Event) -> None:
        """Until told to stop. A database that is away is waited for: the workers say so if it lasts."""
        beat, events = (_Due(seconds, time.monotonic() + seconds) for seconds in (BEAT_SECONDS, _EVENT_SECONDS))
        with Lineage(self._plan.lineage_dsn, retry_seconds=0) as lineage:
            while not stop.wait(_TICK_SECONDS):
                with contextlib.suppress(LineageUnavailable):
                    if beat.now():
                        lineage.beat(self._plan.run)
                with contextlib.suppress(LineageUnavailable):
                    self._look(lineage)
                with contextlib.suppress(LineageUnavailable):
                    if self._publisher and events.now():
                        self._publisher.try_to_send(lineage)
            if self._publisher:
                self._send_the_last(self._publisher, lineage)

    def _look(self, lineage: Lineage) -> None:
        with self._lock:
            due = [look for due, look in self._looks.values() if due.now()]
            if due:
                progress = runs.progress(lineage, self._plan.run)
                for look in due:
                    look(progress)

    @staticmethod
    def _send_the_last(publisher: Publisher, lineage: Lineage) -> None:
        try:
            publisher.send_all(lineage, _LAST_SECONDS)
        except (BrokerUnavailable, LineageUnavailable) as error:
            LOGGER.warning("%s. Events wait in the outbox: the next command sends them, or `events --send`", error)
        finally:
            publisher.close()


@contextlib.contextmanager
def polling(plan: Plan, publisher: Publisher | None = None) -> Iterator[Poller]:
    """A poller that works in the block. At its end, what waits in the outbox is sent.

    Args:
      publisher: None: no events are sent.
    """
    poller = Poller(plan, publisher)
    stop = threading.Event()
    thread = threading.Thread(target=poller.work, args=(stop,), name="poller", daemon=True)
    thread.start()
    try:
        yield poller
    finally:
        stop.set()
        thread.join()
