"""Waiting for a job on Flink only as long as it can come to its end (``runners.flink_watch``)."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Hashable, Iterator

from beam_pipeline.lineage import runs
from beam_pipeline.plan import Plan
from runners.flink_jobs import FlinkJob
from runners.flink_watch import GivenUp, Watch
from transforms.io.lineage import Lineage, LineageUnavailable

LOGGER = logging.getLogger(__name__)

_LOOK_SECONDS = 2


@contextlib.contextmanager
def while_it_makes_sense(plan: Plan, job: FlinkJob | None) -> Iterator[None]:
    """Watches the job in the block: says what is gone and how to bring it back, and in the end ends the block.

    Raises:
      GivenUp: the job can't go on as things are. It is cancelled.
    """
    if job is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = threading.Event()
    given_up: list[GivenUp] = []

    def end(number: int, frame: object) -> None:
        if given_up and not stop.is_set():
            raise given_up[0]

    before = signal.signal(signal.SIGUSR1, end)
    main = threading.get_ident()
    thread = threading.Thread(target=_watch, args=(plan, job, stop, given_up, main), name="watch", daemon=True)
    thread.start()
    try:
        yield
    except Exception as error:
        if given_up:
            raise given_up[0] from error
        raise
    finally:
        stop.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def _watch(plan: Plan, job: FlinkJob, stop: threading.Event, given_up: list[GivenUp], main: int) -> None:
    said = ""
    with Lineage(plan.lineage_dsn, retry_seconds=0) as lineage:

        def moved() -> Hashable:
            try:
                shards = runs.progress(lineage, plan.run).shards
            except LineageUnavailable:
                return None
            return (*sorted(shards.items()), plan.deaths.count())

        watch = Watch(job, moved, plan.settings.max_silence)
        while not stop.wait(_LOOK_SECONDS):
            try:
                reason = watch.look()
            except GivenUp as error:
                given_up.append(error)
                with contextlib.suppress(OSError):
                    if found := job.at_work():
                        job.cancel(found)
                signal.pthread_kill(main, signal.SIGUSR1)
                return
            if reason and reason != said:
                LOGGER.warning("%s", reason)
            said = reason
