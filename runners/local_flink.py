"""``--runner local-flink``: a Flink cluster on this machine for one run, brought up before it and taken down after it.

For one big machine: every core has a Python worker, and what is shuffled passes through no single process. The cluster
is ``runners.flink_local``'s, in a folder of its own, with a slot for every core.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from apache_beam.options.pipeline_options import PipelineOptions

from runners import flink_jobs
from runners.flink import FlinkOptionsError, with_defaults
from runners.flink_local import Cluster, default_folder

LOGGER = logging.getLogger(__name__)

NAME = "local-flink"
"""As ``--runner`` takes it."""
MOST_SLOTS_ALONE, SLOTS_TOGETHER = 4, 4
"""Up to so many slots have a TaskManager each; more share one by fours, as a JVM costs memory of its own."""


class LocalFlinkOptions(PipelineOptions):
    """The options of a run whose cluster isn't there yet.

    Attributes:
      slots: how many the cluster will have.
      others: the flags for Flink.
    """

    slots: int
    others: list[str]

    @classmethod
    def of(cls, flags: Sequence[str]) -> LocalFlinkOptions:
        """From the flags of a run.

        Raises:
          FlinkOptionsError: a flag can't be used with such a cluster.
        """
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--runner")
        parser.add_argument("--slots", default=str(len(os.sched_getaffinity(0))))
        parser.add_argument("--flink_master")
        parser.add_argument("--job_endpoint")
        ours, others = parser.parse_known_args(list(flags))
        if ours.flink_master or ours.job_endpoint:
            raise FlinkOptionsError(
                "--runner local-flink has a cluster of its own: leave out --flink_master, --job_endpoint"
            )
        if not ours.slots.isdecimal() or int(ours.slots) < 1:
            raise FlinkOptionsError(f"--slots: must be a number from 1 on, but is {ours.slots!r}")
        options = cls([])
        options.__dict__.update(slots=int(ours.slots), others=others)  # Beam's class takes attributes for options
        return options


def layout(slots: int) -> tuple[int, int]:
    """TaskManagers, and slots of each, for so many slots or a few more."""
    if slots <= MOST_SLOTS_ALONE:
        return slots, 1
    return -(-slots // SLOTS_TOGETHER), SLOTS_TOGETHER


@contextlib.contextmanager
def brought_up(options: PipelineOptions) -> Iterator[PipelineOptions]:
    """The options as the block needs them: for ``local-flink``, those of a cluster that is there while the block runs.

    It is taken down however the block ends; what a command that was killed has left is, too.

    Raises:
      ClusterError, FlinkUnavailable: the cluster doesn't start.
    """
    if not isinstance(options, LocalFlinkOptions):
        yield options
        return
    _take_down_abandoned()
    folder = _folders() / str(os.getpid())
    cluster = Cluster.at(folder)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)
    try:
        task_managers, slots = layout(options.slots)
        LOGGER.info("bringing up Flink: %d TaskManagers of %d slots; logs in %s", task_managers, slots, folder / "logs")
        cluster.up(task_managers, slots)
        LOGGER.info("Flink's web UI is at http://%s", cluster.rest_address)
        flink_jobs.TEMPORARY.add(flink_jobs.url_of(cluster.rest_address))
        flags = ["--runner=PortableRunner", f"--job_endpoint={cluster.job_endpoint}"]
        yield PipelineOptions(with_defaults([*flags, *options.others], cluster))
    except BaseException:
        cluster.down()  # its logs stay
        LOGGER.info("Flink's logs are in %s", folder / "logs")
        raise
    else:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _folders() -> Path:
    return default_folder().with_name("flink-of-runs")


def _take_down_abandoned() -> None:
    """Ends the clusters of commands that are no more; their logs go with them."""
    if not _folders().is_dir():
        return
    for folder in _folders().iterdir():
        if folder.name.isdigit() and not psutil.pid_exists(int(folder.name)):
            Cluster.at(folder).down()
            shutil.rmtree(folder, ignore_errors=True)
