"""The job of a run on a Flink cluster: how it does, its end, and its cancellation, all by Flink's REST API."""

from __future__ import annotations

import dataclasses
import json
import time
import urllib.error
import urllib.request
from typing import Any

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions

_ANSWER_SECONDS = 10
_SILENT_SECONDS = 120
_ENDED = ("FINISHED", "CANCELED", "FAILED")


TEMPORARY: set[str] = set()
"""URLs of JobManagers that end with this command: so do the jobs there."""


class FlinkJobFailed(Exception):
    """A job that was waited for has ended otherwise than FINISHED; the message has Flink's reason."""


@dataclasses.dataclass(frozen=True)
class JobStatus:
    """How a job does.

    Attributes:
      state: Flink's word for it, such as RUNNING, RESTARTING or FINISHED.
      restarts: how often Flink has begun it again from the last checkpoint, or from nothing.
      checkpoints: completed ones.
      checkpoint_bytes: size of the last of them.
      failure: the last exception, with its stack; empty if there was none.
    """

    state: str
    restarts: int
    checkpoints: int
    checkpoint_bytes: int
    failure: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in _ENDED

    def __str__(self) -> str:
        words = [f"Flink job {self.state.lower()}"]
        if self.checkpoints:
            words.append(f"{self.checkpoints} checkpoints, the last of {self.checkpoint_bytes / 1e6:.1f} MB")
        if self.restarts:
            words.append(f"restarted {self.restarts} times")
        return ", ".join(words)


@dataclasses.dataclass(frozen=True)
class FlinkJob:
    """The job of a name on a cluster, submitted or not yet.

    Attributes:
      address: URL of the JobManager.
      name: as the UI shows it; a run's is its own.
    """

    address: str
    name: str

    @classmethod
    def of(cls, options: PipelineOptions, name: str) -> FlinkJob | None:
        """The job that a pipeline of these options is or will be; None where they name no Flink cluster."""
        master = str(options.view_as(FlinkRunnerOptions).flink_master)
        return None if master.startswith("[") else cls(url_of(master), name)

    def at_work(self) -> str | None:
        """The id of the job while it works, if it does.

        Raises:
          OSError: the JobManager doesn't answer.
        """
        return next((job["jid"] for job in self._jobs() if job["state"] not in _ENDED), None)

    def latest(self) -> str | None:
        """The id of the job that was started last, at work or ended.

        Raises:
          OSError: the JobManager doesn't answer.
        """
        return max(((job["start-time"], job["jid"]) for job in self._jobs()), default=(0, None))[1]

    def page(self, job: str) -> str:
        """Where the UI shows it."""
        return f"{self.address}/#/job/{job}/overview"

    def status(self, job: str) -> JobStatus:
        """How a job does.

        Raises:
          OSError: the JobManager doesn't answer, or doesn't know the job.
        """
        url = f"{self.address}/jobs/{job}"
        state = ask(url)["state"]
        metrics = {metric["id"]: metric["value"] for metric in ask(f"{url}/metrics?get=numRestarts")}
        checkpoints = _unless_off(f"{url}/checkpoints")
        last = checkpoints.get("latest", {}).get("completed") or {}
        entries = ask(f"{url}/exceptions?maxExceptions=1")["exceptionHistory"]["entries"]
        return JobStatus(
            state=state,
            restarts=int(metrics.get("numRestarts", 0)),
            checkpoints=checkpoints.get("counts", {}).get("completed", 0),
            checkpoint_bytes=last.get("checkpointed_size", 0),
            failure=entries[0]["stacktrace"] if entries else "",
        )

    def cancel(self, job: str) -> None:
        """Ends a job; what it has committed stays.

        Raises:
          OSError: the JobManager doesn't answer.
        """
        request = urllib.request.Request(f"{self.address}/jobs/{job}?mode=cancel", method="PATCH")
        urllib.request.urlopen(request, timeout=_ANSWER_SECONDS).close()

    def wait(self, job: str) -> None:
        """Waits until a job has ended; a JobManager that is away has two minutes to come back.

        Raises:
          FlinkJobFailed: it has failed or was cancelled, or nobody knows any more what became of it.
        """
        answered = time.monotonic()
        while True:
            try:
                status = self.status(job)
            except OSError as error:
                unknown = isinstance(error, urllib.error.HTTPError) and error.code == 404
                if unknown or time.monotonic() - answered > _SILENT_SECONDS:
                    raise FlinkJobFailed(f"what became of the Flink job {job} is unknown: {error}") from error
            else:
                if status.state == "FINISHED":
                    return
                if status.ended:
                    raise FlinkJobFailed(status.failure or f"the Flink job {job} was cancelled")
                answered = time.monotonic()
            time.sleep(1)

    def _jobs(self) -> list[dict[str, Any]]:
        return [job for job in ask(f"{self.address}/jobs/overview")["jobs"] if job["name"] == self.name]


def url_of(master: str) -> str:
    """The URL of a JobManager that is given as ``--flink_master``."""
    return master if master.startswith(("http://", "https://")) else f"http://{master}"


def ask(url: str) -> Any:
    """An answer of Flink's REST API.

    Raises:
      OSError: there is none.
      ValueError: it isn't JSON.
    """
    with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS) as answer:
        return json.load(answer)


def _unless_off(url: str) -> dict[str, Any]:
    """What is said of checkpoints; nothing for a batch job, which has none."""
    try:
        found: dict[str, Any] = ask(url)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return {}
        raise
    return found
