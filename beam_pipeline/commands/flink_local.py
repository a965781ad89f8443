"""Start, stop or show a Flink cluster on this machine: web UI, TaskManagers with Python workers, job server."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from rich.console import Console

from beam_pipeline.commands import program
from runners.flink_local import Cluster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``flink-local``."""
    parser.add_argument("what", choices=["up", "down", "status"], help="up also starts again what has died")
    parser.add_argument("--folder", type=Path, help="state and logs (default: flink/ in your data directory)")
    parser.add_argument("--task_managers", type=int, default=2, metavar="N", help="default: %(default)s")
    cores = len(os.sched_getaffinity(0))
    slots = max(1, cores // 2)
    parser.add_argument(
        "--slots", type=int, default=slots, metavar="N", help=f"of each (default: {slots}, for {cores} cores)"
    )
    parser.add_argument(
        "--checkpoints", default="", metavar="URI", help="s3://BUCKET/PREFIX: keep them there (default: in the folder)"
    )
    parser.add_argument("--json", action="store_true", help="addresses and process ids, for programs")


def run(args: argparse.Namespace) -> int:
    """Carries out one action; returns the exit status: of ``status``, 0 if jobs can be submitted."""
    cluster = Cluster.at(args.folder)
    if args.what == "down":
        cluster.down()
        return 0
    if args.what == "up":
        cluster.up(args.task_managers, args.slots, args.checkpoints)
    ready = bool(cluster.ports) and cluster.is_ready()
    if args.json:
        json.dump(_described(cluster, ready), sys.stdout, indent=2)
        return 0 if ready else 1
    console = Console(soft_wrap=True, highlight=False)
    if not cluster.ports:
        console.print(f"no Flink cluster runs in {cluster.folder}")
        return 1
    for name in cluster.names():
        console.print(f"{name:16} {cluster.pid(name) or 'not running'}")
    console.print(
        f"\nWeb UI   http://{cluster.rest_address}\n"
        f"Logs     {cluster.folder / 'logs'}\n"
        f"Run on   {program()} ... {' '.join(flags_of(cluster))}"
    )
    return 0 if ready else 1


def flags_of(cluster: Cluster) -> list[str]:
    """The flags with which a run uses the cluster; of one in another folder, a run can't know the workers' address."""
    flags = ["--runner", "FlinkRunner", "--flink_master", cluster.rest_address]
    if cluster.folder != Cluster.at().folder:
        flags += ["--environment_config", cluster.environment_config]
    return flags


def _described(cluster: Cluster, ready: bool) -> dict[str, object]:
    if not cluster.ports:
        return {"folder": str(cluster.folder), "ready": False}
    return {
        "folder": str(cluster.folder),
        "ready": ready,
        "flink_master": cluster.rest_address,
        "job_endpoint": cluster.job_endpoint,
        "environment_config": cluster.environment_config,
        "processes": {name: cluster.pid(name) for name in cluster.names()},
    }
