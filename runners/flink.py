"""Beam's options for a run on Flink: what suits this pipeline, unless the flags say otherwise.

In either mode, batch or streaming with checkpoints, what a machine's death costs is bounded by the objects that are
committed (``transforms.skip_finished``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)

from runners.flink_distribution import FLINK_LINE, FlinkUnavailable, job_server_jar
from runners.flink_jobs import ask, url_of
from runners.flink_local import Cluster

RUNNERS = ("FlinkRunner", "PortableRunner")

DEFAULT_WORKERS = "localhost:50000"
"""Where a TaskManager finds its worker pool: a sidecar container in Kubernetes."""

MOST_PIPELINED_SLOTS = 32
"""With all steps at work at once: a slot needs 100 kB of network buffers for every slot of the job in each of 30
exchanges.

A run of up to so many slots is checkpointed unless ``--no-streaming`` is said, a larger one is batch unless
``--streaming`` is (docs/flink.md).
"""

STREAMING_LOSES = (
    "{flag}: Beam's job server 2.62 for Flink loses data in streaming mode unless bundles are finished before a "
    "checkpoint's barrier (0 of 60 elements arrived in runs that ended as FINISHED, docs/flink.md). Leave that flag out"
)
_FINISH_FIRST = "finish_bundle_before_checkpointing"


class FlinkOptionsError(ValueError):
    """The flags can't be used on Flink; nothing was submitted."""


def with_defaults(flags: Sequence[str], cluster: Cluster | None = None) -> list[str]:
    """The flags of a run on Flink, completed with what suits this pipeline and the cluster.

    With ``--runner FlinkRunner --flink_master HOST:PORT`` a job server is started for the run; with ``--runner
    PortableRunner --job_endpoint HOST:PORT`` one that runs is used. A ``PortableRunner`` that is neither given a
    ``--flink_master`` nor the job server of ``flink-local`` may be any runner: its flags are left alone.

    Args:
      flags: of the run.
      cluster: of this machine; the one in the default folder, if none is given.

    Raises:
      FlinkOptionsError: no Flink cluster answers, it is of another version or has no slots and none are asked for by
        ``--parallelism``, or the flags are known to lose data.
      FlinkUnavailable: the job server can't be had.
    """
    options = PipelineOptions(list(flags))
    runner = str(options.view_as(StandardOptions).runner).rsplit(".", 1)[-1]
    master = str(options.view_as(FlinkRunnerOptions).flink_master).removeprefix("http://")
    endpoint = options.view_as(PortableOptions).job_endpoint
    local = cluster or Cluster.at()
    if runner == "PortableRunner" and master.startswith("["):
        if not local.ports or endpoint not in (local.job_endpoint, f"localhost:{local.ports['job']}"):
            return list(flags)
        master = local.rest_address
    if master.startswith("["):
        raise FlinkOptionsError(
            "--flink_master HOST:PORT is missing; `python -m beam_pipeline flink-local up` starts a cluster here"
        )
    is_local = bool(local.ports) and master in (local.rest_address, f"localhost:{local.ports['rest']}")
    overview = _overview(master)
    slots, machines = overview["slots-total"], overview["taskmanagers"]
    parallelism = options.view_as(FlinkRunnerOptions).parallelism
    if not slots and parallelism < 1:
        raise FlinkOptionsError(
            f"the cluster at {url_of(master)} has no TaskManagers; wait for them or start some, or say by "
            "--parallelism how many slots to ask for, where they are started on demand"
        )
    parallelism = parallelism if parallelism > 0 else slots
    defaults = _defaults(slots, machines, parallelism) | {
        "environment_config": local.environment_config if is_local else DEFAULT_WORKERS,
        "flink_master": master,
    }
    flags = _with_mode(flags, parallelism)
    if "--streaming" in flags:
        defaults |= _streaming(flags)
    if runner == "FlinkRunner" and not options.view_as(FlinkRunnerOptions).flink_job_server_jar:
        defaults["flink_job_server_jar"] = str(job_server_jar())
    given = {flag.partition("=")[0].removeprefix("--") for flag in flags}
    more = [_flag(name, value) for name, value in defaults.items() if name not in given and value is not False]
    return [*flags, *more]


def _with_mode(flags: Sequence[str], parallelism: int) -> list[str]:
    """The flags with ``--streaming`` or without: Beam has no flag for batch.

    Raises:
      FlinkOptionsError: both modes are asked for.
    """
    modes = {flag for flag in flags if flag in ("--streaming", "--no-streaming")}
    if len(modes) > 1:
        raise FlinkOptionsError("--streaming and --no-streaming: choose one")
    streaming = "--streaming" in modes or (not modes and parallelism <= MOST_PIPELINED_SLOTS)
    others = [flag for flag in flags if flag not in modes]
    return [*others, "--streaming"] if streaming else others


def _defaults(slots: int, machines: int, parallelism: int) -> dict[str, Any]:
    return {
        # Every slot of the cluster works. Flink's client would take 1, as it doesn't know the cluster.
        "parallelism": max(1, parallelism),
        # A Python process a slot: a second thread of a process would wait for the first one's GIL.
        "sdk_worker_parallelism": max(1, slots // max(1, machines)),
        "environment_type": "EXTERNAL",
        # PIPELINED: all steps are there at once, which saves most of a job's fixed cost. It can't block: nothing in the
        # pipeline reads one input to its end before another, see docs/flink.md. Network buffers are those of all steps,
        # and grow with the slots in use: with many, steps run one after the other, with files between them.
        "execution_mode_for_batch": "PIPELINED" if parallelism <= MOST_PIPELINED_SLOTS else "BATCH_FORCED",
    }


def _streaming(flags: Sequence[str]) -> dict[str, Any]:
    """What keeps data from being lost, and checkpoints coming while steps are busy (docs/flink.md).

    Raises:
      FlinkOptionsError: a flag turns off what keeps data from being lost.
    """
    for flag in flags:
        if flag.startswith(f"--{_FINISH_FIRST}="):
            raise FlinkOptionsError(STREAMING_LOSES.format(flag=flag))
    return {
        # Without it Beam finishes a bundle while it takes the snapshot: it keeps the bundle's output back, but lets the
        # watermark go, and what follows drops the output as late.
        _FINISH_FIRST: True,
        "checkpointing_interval": 10_000,
        # A checkpoint waits for the bundle in work: let that be one shard.
        "max_bundle_size": 1,
        # Barriers overtake the shards that wait in front of a busy step.
        "unaligned_checkpoint_enabled": True,
        # One that fails, or takes over ten minutes because a shard does, costs nothing: what is done is known by its
        # objects. The job goes on without it. (This flag says false: the SDK turns around what is true by default.)
        "fail_on_checkpointing_errors": True,
        "externalized_checkpoints_enabled": True,
        "retain_externalized_checkpoints_on_cancellation": True,
        # The job ends when its work does; checkpoints come rarely then.
        "shutdown_sources_after_idle_ms": 0,
    }


def _flag(name: str, value: Any) -> str:
    """Switches of Beam's are bare."""
    return f"--{name}" if value is True else f"--{name}={value}"


def _overview(master: str) -> dict[str, Any]:
    """What the cluster says of itself: ``slots-total``, ``taskmanagers``, ``flink-version``.

    Raises:
      FlinkOptionsError: it doesn't answer, or is of another version than Beam's job server.
    """
    address = url_of(master)
    try:
        overview: dict[str, Any] = ask(f"{address}/overview")
    except (OSError, ValueError) as error:
        raise FlinkOptionsError(f"no Flink JobManager answers at {address}: {error}") from error
    if not overview["flink-version"].startswith(f"{FLINK_LINE}."):
        raise FlinkOptionsError(
            f"the cluster at {address} is Flink {overview['flink-version']}; the job server is for Flink {FLINK_LINE}"
        )
    return overview


__all__ = ["RUNNERS", "FlinkOptionsError", "FlinkUnavailable", "with_defaults"]
