"""Running a Beam pipeline to its end on whichever runner, and saying in one sentence why it failed."""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from runners import flink

LOGGER = logging.getLogger(__name__)

_NAMES_AN_EXCEPTION = re.compile(r"[\w.]*[A-Z]\w+: \S")
_JAVA_FRAME = re.compile(r"at [\w.$/]+\(|\.\.\. \d+ (more|common)|(Caused by: |Suppressed: )?(java|org\.apache)\.")
_JAVA_CAUSE = re.compile(r"Caused by: (?:[\w$]+\.)*([A-Z][\w$]*: \S.*)")
_STACK_ABOVE = re.compile(r"Traceback \(most recent call last\)")


def execute(options: PipelineOptions, build: Callable[[beam.Pipeline], None], run: str) -> Any:
    """Builds a pipeline, runs it to its end; returns Beam's metrics of it.

    On Flink the job carries the run's name, and a job of that name that still works is cancelled first: it is left from
    a command that was killed, and two would do the same work. Ctrl-C cancels the job.

    Args:
      run: UUID of the run.

    Raises:
      KeyboardInterrupt: by ctrl-C.
      Exception: the pipeline failed; ``root_cause`` says why.
    """
    cloud = options.view_as(GoogleCloudOptions)  # where Beam keeps the name of a job on any runner
    cloud.job_name = cloud.job_name or f"beam-pipeline-{run}"
    name = str(cloud.job_name)
    if flink.cancel_jobs(options, name):
        LOGGER.info("cancelled the Flink job %s of an earlier command", name)
    root = beam.Pipeline(options=options)
    build(root)
    try:
        result = root.run()
        if threading.current_thread() is threading.main_thread():
            # Beam's job server takes ctrl-C for itself, and fails when it comes.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        result.wait_until_finish()
    except KeyboardInterrupt:
        # By REST: the job server is a child of this process, and ctrl-C has ended it too.
        flink.cancel_jobs(options, name)
        raise
    return result.metrics()


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
