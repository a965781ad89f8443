"""The loop of ``watch``: messages and listings become claims of a corpus, and claims become runs."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence

from beam_pipeline.broker import BrokerUnavailable
from beam_pipeline.corpus import Claim, Corpus
from beam_pipeline.event_publisher import Publisher
from beam_pipeline.watching.broker_queue import Message, Queue
from beam_pipeline.watching.claiming import Wanted, ask
from beam_pipeline.watching.gathering import Gathering, Limits
from beam_pipeline.watching.notifications import NotUnderstood, announced
from beam_pipeline.watching.worker import Worker
from transforms.io import storage
from transforms.io.ledger_runs import PENDING, Pinned
from transforms.io.lineage import Lineage, LineageUnavailable
from transforms.io.storage import StorageError

LOGGER = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_EMPTY_SECONDS = 2.0
"""With ``once``: so long nothing comes from a queue that says it is empty."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0
DONE, DONE_WITH_UNREADABLE, FAILED = 0, 3, 1


@dataclasses.dataclass
class _Pause:
    """A longer wait after each failure in a row."""

    seconds: float = _FIRST_PAUSE
    until: float = 0.0

    def over(self) -> bool:
        return time.monotonic() >= self.until

    def failed(self) -> None:
        self.until = time.monotonic() + self.seconds
        self.seconds = min(2 * self.seconds, _LONGEST_PAUSE)

    def succeeded(self) -> None:
        self.seconds, self.until = _FIRST_PAUSE, 0.0


class Watcher:
    """Watches a queue, places, or both.

    Args:
      corpus: opened.
      wanted: which objects it takes.
      worker: carries out its runs.
      queue: of notifications; None: there is none.
      limits: what begins a run.
      places: folders or prefixes that are listed.
      every: seconds between two listings.
      once: end when all is taken and done that is there.
      publisher: sends events of the runs, while none is at work; None: nobody does.
    """

    def __init__(
        self,
        corpus: Corpus,
        wanted: Wanted,
        worker: Worker,
        queue: Queue | None,
        limits: Limits,
        places: list[str],
        every: float,
        *,
        once: bool,
        publisher: Publisher | None,
    ):
        self._corpus, self._wanted, self._worker = corpus, wanted, worker
        self._queue, self._gathering = queue, Gathering(limits)
        self._places, self._every, self._next_listing = places, every, 0.0
        self._once, self._publisher = once, publisher
        self._broker_pause, self._store_pause, self._work_pause = _Pause(), _Pause(), _Pause()
        self._waits = True  # runs that were claimed before
        self._last_message = time.monotonic()
        self._status, self._stopped = DONE, False

    def watch(self) -> int:
        """Until it is stopped, or with ``once`` until there is nothing more; returns the exit status.

        Raises:
          ToldError: with ``once``, whatever can't be used.
        """
        while not self._stopped:
            self._listen()
            self._claim_gathered()
            self._list()
            self._work()
            self._send_events()
            if self._once and self._nothing_left():
                return self._status
        LOGGER.info("stopped; the same command goes on")
        return DONE

    def stop(self) -> None:
        """Ends the loop soon, from a signal's handler."""
        self._stopped = True

    def _listen(self) -> None:
        if self._queue is None:
            time.sleep(_LOOK_SECONDS)
            return
        if not self._broker_pause.over():
            time.sleep(_LOOK_SECONDS)
            return
        try:
            if not self._queue.open:
                self._gathering.clear()  # it comes again
                self._queue.connect()
                self._last_message = time.monotonic()
            for message in self._queue.receive(_LOOK_SECONDS):
                self._take(self._queue, message)
            self._broker_pause.succeeded()
        except BrokerUnavailable as error:
            self._broker_away(error)

    def _take(self, queue: Queue, message: Message) -> None:
        self._last_message = time.monotonic()
        try:
            found = announced(message.body)
        except NotUnderstood as error:
            queue.set_aside(message, str(error))
            return
        wanted = [each for each in found if any(map(self._wanted, each.names))]
        if wanted:
            self._gathering.add(message, wanted)
        else:
            queue.acknowledge(message)  # of something deleted, or of what a run has written

    def _broker_away(self, error: BrokerUnavailable) -> None:
        self._gathering.clear()
        if self._once:
            raise error
        LOGGER.warning("%s. Trying again; messages that aren't acknowledged come again", error)
        self._broker_pause.failed()

    def _claim_gathered(self) -> None:
        queue, gathering = self._queue, self._gathering
        if queue is None or not self._store_pause.over():
            return
        if not (gathering.enough(at_work=self._worker.at_work()) or (gathering.messages and self._queue_is_empty())):
            return
        answer = ask(gathering.objects.values(), self._wanted)
        if answer.failed and len(answer.failed) == len(gathering.objects):  # it is the store, not the objects
            self._store_away(next(iter(answer.failed.values())))
            return
        self._store_pause.succeeded()
        if self._claim(answer.objects, len(gathering.objects)) is None:
            return
        given_back = False
        try:
            for message, found in gathering.messages:
                reasons = [answer.failed[each.names] for each in found if each.names in answer.failed]
                if not reasons:
                    queue.acknowledge(message)
                elif message.redelivered:
                    queue.set_aside(message, f"names an object that can't be asked for: {reasons[0]}")
                else:  # the store may answer for it a little later
                    queue.give_back(message)
                    given_back = True
            gathering.clear()
            if given_back:
                self._last_message = time.monotonic()  # it comes again
                self._store_pause.failed()
        except BrokerUnavailable as error:
            self._broker_away(error)

    def _lineage_away(self, error: LineageUnavailable) -> None:
        if self._once:
            raise error
        LOGGER.warning("%s. Trying again", error)
        self._store_pause.failed()

    def _store_away(self, error: StorageError) -> None:
        if self._once:
            raise error
        LOGGER.warning("%s. Trying again", error)
        self._store_pause.failed()

    def _claim(self, objects: Sequence[Pinned], looked_at: int) -> bool | None:
        """Takes what is new; whether something was, or None if the ledger can't be asked now."""
        self._waits = True  # also for what another process has claimed and left; whether there is any, _work asks
        if not objects:
            return False
        try:
            claim: Claim | None = self._corpus.claim(objects, self._wanted.inputs(info.uri for info in objects))
        except LineageUnavailable as error:
            self._lineage_away(error)
            return None
        if claim:
            LOGGER.info("run %d: %d new objects of %d", claim.number, len(claim.sources), looked_at)
        return claim is not None

    def _list(self) -> None:
        if not self._places or time.monotonic() < self._next_listing or not self._store_pause.over():
            return
        try:
            found = [info for place in self._places for info in self._listed(place)]
        except StorageError as error:
            self._store_away(error)
            return
        except LineageUnavailable as error:
            self._lineage_away(error)
            return
        self._store_pause.succeeded()
        if self._claim(found, len(found)) is None:
            return
        self._next_listing = time.monotonic() + self._every if not self._once else float("inf")

    def _listed(self, place: str) -> list[Pinned]:
        try:
            return self._corpus.new(info for info in storage.list_objects(place) if self._wanted(info.uri))
        except storage.NotFound:
            return []  # nothing has come yet

    def _work(self) -> None:
        status = self._worker.ended()
        if status is not None:
            self._waits = self._pending()
            if status in (DONE, DONE_WITH_UNREADABLE):
                self._status = max(self._status, status)
                self._work_pause.succeeded()
            else:
                self._work_failed(status)
        if self._waits and not self._worker.at_work() and self._work_pause.over():
            self._waits = self._pending()
            if self._waits:
                self._worker.begin()

    def _work_failed(self, status: int) -> None:
        if self._once:
            self._status, self._waits = status if status > 0 else FAILED, False
            return
        LOGGER.warning(
            "the run has failed (exit status %d, above is why); it goes on in %d s. To give it up: corpus --release",
            status,
            self._work_pause.seconds,
        )
        self._work_pause.failed()

    def _pending(self) -> bool:
        try:
            return any(run.state in PENDING for run in self._corpus.ledger.runs())
        except LineageUnavailable as error:
            if self._once:
                raise
            LOGGER.warning("%s. Trying again", error)
            self._work_pause.failed()
            return True

    def _send_events(self) -> None:
        if self._publisher and not self._worker.at_work():
            lineage: Lineage = self._corpus.lineage
            try:
                self._publisher.try_to_send(lineage)
            except LineageUnavailable as error:
                LOGGER.debug("events can't be read: %s", error)

    def _queue_is_empty(self) -> bool:
        """With ``once``, whether nothing more comes."""
        if not self._once or self._queue is None or time.monotonic() - self._last_message < _EMPTY_SECONDS:
            return False
        try:
            return self._queue.waiting() == 0
        except BrokerUnavailable as error:
            self._broker_away(error)
            return False

    def _nothing_left(self) -> bool:
        if self._waits or self._worker.at_work() or self._gathering.messages:
            return False
        if self._places and self._next_listing != float("inf"):
            return False
        return self._queue is None or self._queue_is_empty()
