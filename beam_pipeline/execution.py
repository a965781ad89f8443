"""Running a Beam pipeline to its end on whichever runner, and saying in one sentence why it failed."""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from beam_pipeline import supervision
from runners import direct
from runners.flink_jobs import TEMPORARY, FlinkJob
from transforms.io.deaths import Deaths

LOGGER = logging.getLogger(__name__)

_WITNESS_SECONDS = 30  # it starts Python's S3 client, on a busy machine
_NAMES_AN_EXCEPTION = re.compile(r"[\w.]*[A-Z]\w+: \S")
_JAVA_FRAME = re.compile(r"at [\w.$/]+\(|\.\.\. \d+ (more|common)|(Caused by: |Suppressed: )?(java|org\.apache)\.")
_JAVA_CAUSE = re.compile(r"(?:Caused by: )?(?:[\w$]+\.)*([A-Z][\w$]*: \S.*)")
_STACK_ABOVE = re.compile(r"Traceback \(most recent call last\)")


class StillAtWork(Exception):
    """Ctrl-C has ended the waiting, not the job; the message says how to wait again and how to cancel."""


def name_job(options: PipelineOptions, run: str) -> str:
    """The name of a run's job on any runner: the one in the options, set to the run's own if they have none."""
    cloud = options.view_as(GoogleCloudOptions)  # where Beam keeps it
    cloud.job_name = cloud.job_name or f"beam-pipeline-{run}"
    return str(cloud.job_name)


def execute(options: PipelineOptions, build: Callable[[beam.Pipeline], None], job: FlinkJob | None) -> Any:
    """Builds a pipeline and runs it to its end.

    On Flink, a job of the run that works already, from a command that was left or killed, is waited for instead: two
    would do the same work.

    Args:
      job: what the pipeline is on Flink; None on another runner.

    Returns:
      Beam's metrics of it; None if it was another command's.

    Raises:
      KeyboardInterrupt: by ctrl-C, SIGTERM or SIGHUP, if nothing works on.
      StillAtWork: by ctrl-C, where a Flink job does.
      WorkerDied: a worker process of DirectRunner did.
      Exception: the pipeline failed; ``root_cause`` says why.
    """
    _stop_when_told()
    direct.worker_death()  # of an earlier attempt
    try:
        earlier = job and job.at_work()
        if job and earlier:
            LOGGER.info("waiting for the Flink job of an earlier command; cancel it at %s", job.page(earlier))
            job.wait(earlier)
            return None
        root = beam.Pipeline(options=options)
        build(root)
        result = root.run()
        _stop_when_told()  # Beam's job server takes ctrl-C for itself, and fails when it comes
        result.wait_until_finish()
    except KeyboardInterrupt:
        left = job and _left_at_work(job)
        if left is None:
            raise
        raise StillAtWork(left) from None
    except Exception as error:
        raise direct.worker_death() or error from error
    return result.metrics()


def _stop_when_told() -> None:
    """Ctrl-C, SIGTERM and SIGHUP end the waiting, and the workers of DirectRunner at once."""

    def stop(number: int, frame: object) -> None:
        if not supervision.told_before():
            threading.Thread(target=direct.end_workers, name="end workers", daemon=True).start()
            raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in supervision.heeded():
            signal.signal(number, stop)


def new_deaths(deaths: Deaths, known: int, error: BaseException) -> list[str]:
    """Which shards have killed their workers since there were so many, a sentence each; a witness may need time."""
    patience = time.monotonic() + (_WITNESS_SECONDS if isinstance(error, direct.WorkerDied) and error.by_itself else 0)
    while True:
        found = deaths.tell()[known:]
        if found or time.monotonic() > patience:
            return found
        time.sleep(0.2)


def _left_at_work(job: FlinkJob) -> str | None:
    """How to go on with a job that isn't waited for any more; None if it doesn't work."""
    if job.address in TEMPORARY:
        return None
    again = "To wait for it again, run the same command."
    try:
        working = job.at_work()
    except OSError as error:
        return f"the Flink job may work on: {job.address} doesn't answer ({error})\n{again}"
    if working is None:
        return None
    cancel = f"To cancel it: curl -X PATCH '{job.address}/jobs/{working}?mode=cancel'"
    return f"the Flink job works on: {job.page(working)}\n{again}\n{cancel}"


def root_cause(error: BaseException) -> str:
    """What happened, without the stacks around it: the last line of the failure that names an exception.

    Errors from worker processes arrive as text with the whole stack in it; from Flink, with Java's stack around that.
    Where Flink itself failed, it is the last cause that Java names.
    """
    while error.__cause__ is not None and not str(error).strip():
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    python = [line for line in lines if not _JAVA_FRAME.match(line)]
    named = [line for line in python if _NAMES_AN_EXCEPTION.match(line) and not _STACK_ABOVE.search(line)]
    java = [cause.group(1) for cause in map(_JAVA_CAUSE.match, lines) if cause]
    return (named or java or python or lines or [repr(error)])[-1]
