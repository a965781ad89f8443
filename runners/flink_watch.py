"""Whether a job on Flink can still come to its end: what is gone, what waits for it, and when waiting makes no sense.

Flink itself waits: for TaskManagers that may come back, for worker pools that may answer, and it restarts a job that
fails. That is right for minutes. Then somebody has to be told what to bring back.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable

from runners.flink_jobs import FlinkJob, ask
from runners.flink_local import Cluster

_STARTING = ("DEPLOYING", "INITIALIZING")
_MOST_RESTARTS = 8
_MOST_OUT_OF_MEMORY = 2
_ENOUGH_WITHOUT_ANSWER = 3
_NO_MEMORY = "OutOfMemoryError"


class GivenUp(Exception):
    """The job isn't waited for any more: it can't go on as things are. The message says why and what helps."""


@dataclasses.dataclass
class Watch:
    """One job.

    Attributes:
      job: whose progress is watched.
      moved: something that changes when the run has come further.
      limit: seconds without progress after which it is given up while something is gone; 0: never.
    """

    job: FlinkJob
    moved: Callable[[], Hashable]
    limit: float
    _position: Hashable = None
    _since: float = dataclasses.field(default_factory=time.monotonic)
    _restarts: int = 0
    _silent: int = 0
    _machines: int = 0
    _waits: bool = False

    def look(self) -> str:
        """What keeps the job from going on, and what helps; empty if nothing is known to.

        Raises:
          GivenUp: it has kept it for too long, or Flink has restarted the job too often without any progress.
        """
        reason, restarts, failure = self._look()
        if not reason and not self._waits and restarts == self._restarts:
            self._since = time.monotonic()
            return ""
        position = self.moved()
        if position != self._position:
            self._position, self._since, self._restarts = position, time.monotonic(), restarts
        again = restarts - self._restarts
        if _NO_MEMORY in failure and again >= _MOST_OUT_OF_MEMORY:
            raise GivenUp(
                f"Flink has run out of memory {again} times without any progress: give its TaskManagers more "
                "(taskmanager.memory.task.heap.size; taskmanager.memory.jvm-metaspace.size for Metaspace)"
            )
        if again >= _MOST_RESTARTS:
            raise GivenUp(f"Flink has restarted the job {again} times without any progress")
        seconds = time.monotonic() - self._since
        if self.limit and seconds > self.limit and (reason or self._waits):
            why = reason or "tasks wait for their slots or Python workers; look after the worker pools"
            raise GivenUp(f"nothing has moved for {seconds:.0f} s (max_silence): {why}")
        return reason

    def _look(self) -> tuple[str, int, str]:
        gone = self._gone_here()
        try:
            overview = ask(f"{self.job.address}/overview")
            self._silent = 0
            self._machines = max(self._machines, overview["taskmanagers"])
            found = self.job.at_work()
            if found is None:
                self._waits = False
                return gone, self._restarts, ""
            status = self.job.status(found)
            tasks = ask(f"{self.job.address}/jobs/{found}")["status-counts"]
        except OSError as error:
            self._silent += 1
            if not gone and self._silent >= _ENOUGH_WITHOUT_ANSWER:
                gone = f"the JobManager at {self.job.address} doesn't answer ({error}); start it again"
            return gone, self._restarts, ""
        none_works = not tasks.get("RUNNING") and bool(tasks.get("SCHEDULED"))
        self._waits = status.state == "RESTARTING" or none_works or any(tasks.get(kind) for kind in _STARTING)
        missing = self._machines - overview["taskmanagers"]
        if not gone and missing and self._waits:
            gone = f"{missing} of {self._machines} TaskManagers are gone; start as many"
        return gone, status.restarts, status.failure

    def _gone_here(self) -> str:
        """What of a cluster of this machine is gone."""
        cluster = Cluster.at()
        if not cluster.ports or not self.job.address.endswith(f":{cluster.ports['rest']}"):
            return ""
        gone = [name for name in cluster.names() if not cluster.is_running(name) and name != "job-server"]
        if not gone:
            return ""
        it = "it" if len(gone) == 1 else "them"
        return (
            f"{', '.join(gone)} of the Flink cluster in {cluster.folder} died; "
            f"`python -m beam_pipeline flink-local up` brings {it} back"
        )
