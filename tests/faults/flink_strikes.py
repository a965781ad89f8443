"""The faults of the matrix: each strikes a site at work and mends what it broke."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable

import psutil

from tests.faults.flink_site import Run, Site, until

OUTAGE_SECONDS = 20


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
      name: in the table.
      strike: does it, and mends it.
      ends_command: the command fails, and is repeated.
    """

    name: str
    strike: Callable[[Site, Run, random.Random], None]
    ends_command: bool = False


def _kill(site: Site, name: str) -> None:
    os.kill(site.cluster.pid(name) or 0, signal.SIGKILL)
    until(lambda: not site.cluster.is_running(name), f"{name} is dead")
    site.cluster.up()


def _kill_task_manager(site: Site, run: Run, chance: random.Random) -> None:
    _kill(site, f"taskmanager-{chance.randint(1, site.cluster.task_managers)}")


def _kill_job_manager(site: Site, run: Run, chance: random.Random) -> None:
    _kill(site, "jobmanager")


def _kill_worker(site: Site, run: Run, chance: random.Random) -> None:
    workers: list[psutil.Process] = []

    def find() -> bool:
        pools = [site.cluster.pid(f"workers-{number}") for number in range(1, site.cluster.task_managers + 1)]
        children = [child for pool in pools for child in psutil.Process(pool).children(recursive=True)]
        workers[:] = [child for child in children if child.create_time() > run.started]
        return bool(workers)

    until(find, "the run has workers")
    chance.choice(workers).kill()


def _stop_s3(site: Site, run: Run, chance: random.Random) -> None:
    site.store.server.kill()
    try:
        time.sleep(OUTAGE_SECONDS)
    finally:
        site.store.server.start()


def _stop_postgres(site: Site, run: Run, chance: random.Random) -> None:
    site.postgres.stop()
    try:
        time.sleep(OUTAGE_SECONDS)
    finally:
        site.postgres.start()


def _raise_once(site: Site, run: Run, chance: random.Random) -> None:
    """The store denies the next request of a shard, which is an error that isn't retried."""
    site.store.proxy.faults.append("403")
    until(lambda: not site.store.proxy.faults or run.has_ended(), "a request was denied")


FAULTS = (
    Fault("TaskManager killed", _kill_task_manager),
    Fault("SDK worker killed", _kill_worker),
    Fault("JobManager killed", _kill_job_manager, ends_command=True),
    Fault("S3 away for 20 s", _stop_s3),
    Fault("PostgreSQL away for 20 s", _stop_postgres),
    Fault("a shard raises once", _raise_once),
)


@dataclasses.dataclass(frozen=True)
class Moment:
    """So many seconds after so many objects were written, or when the next one is."""

    objects: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s after object {self.objects}"

    def wait(self, run: Run) -> None:
        """Until it has come; it comes before the run's last object is written."""
        until(lambda: len(run.commits()) >= self.objects or run.has_ended(), f"{self.objects} objects are written")
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline and len(run.commits()) <= self.objects:
            time.sleep(0.02)
        assert not run.has_ended(), f"the command has ended before the fault:\n{run.said()}"


def draw(chance: random.Random, undisturbed: list[float], passes: tuple[int, ...] = (1, 2, 3)) -> Moment:
    """A moment in one of the passes, each as likely: pass 2 is between the last fingerprints and the first tokens.

    Args:
      undisturbed: when each object was written in a run without fault.
    """
    shards = len(undisturbed) // 2
    first, last = {1: (1, shards - 1), 2: (shards, shards), 3: (shards + 1, 2 * shards - 1)}[chance.choice(passes)]
    objects = chance.randint(first, last)
    return Moment(objects, chance.uniform(0, undisturbed[objects] - undisturbed[objects - 1]))
