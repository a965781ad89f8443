"""``make bench-flink``: the same runs on DirectRunner and on a Flink cluster of this machine, in turn, and their bytes.

Both have two workers. A run on a handful of documents is the fixed cost; what a run on all takes beyond it is what the
documents cost: on the wall, and in CPU seconds of all processes, the cluster's (JobManager, TaskManagers, workers) too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from beam_pipeline.sample import tokenizer_path
from benchmarks import inputs
from benchmarks.cpu import Cost, measure
from benchmarks.differences import differences
from benchmarks.whole_run import ROOT, START_UP_DOCUMENTS
from runners.flink_local import Cluster

WORKERS = 2
DIRECT = "DirectRunner"
SHARD_BYTES = 125_000_000
"""Of text in each generated file, which is one shard."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m benchmarks.flink", description=__doc__)
    parser.add_argument("--input", type=Path, help="a folder of Parquet on which the bytes are compared, too")
    parser.add_argument("--tokenizer", type=Path, default=tokenizer_path(), help="a tokenizer.json")
    parser.add_argument("--generated_mb", type=float, default=2000, help="how much text to generate and to time")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured; medians are shown")
    parser.add_argument("--modes", nargs="+", default=["--no-streaming", "--streaming"], help="of Flink")
    parser.add_argument("--json", type=Path, default=Path("out/bench-flink.json"))
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="beam-pipeline-bench-"))
    work.chmod(0o711)  # root's embedded PostgreSQL is run by another user
    work.chmod(0o755)  # the database's system user goes through it
    os.environ["BEAM_PIPELINE_DATA_DIR"] = str(work / "data")
    cluster = Cluster.at()
    try:
        cluster.up(task_managers=WORKERS, slots=1)
        result = _compare(work, cluster, arguments)
    finally:
        cluster.down()
        shutil.rmtree(work)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    _show(result)


def _compare(work: Path, cluster: Cluster, arguments: argparse.Namespace) -> dict[str, Any]:
    """What differs by source, and figures by runner."""
    flink = ["--runner", "FlinkRunner", "--flink_master", cluster.rest_address]
    runners = {DIRECT: ["--direct_num_workers", str(WORKERS)]}
    runners |= {f"Flink {mode}": [*flink, mode] for mode in arguments.modes}

    def run(source: Path, runner: str) -> Cost:
        output = work / runner
        shutil.rmtree(output, ignore_errors=True)
        before = _cpu_of(cluster)
        command = ["--input", str(source), "--output", str(output), "--tokenizer", str(arguments.tokenizer)]
        cost, _ = measure([sys.executable, "-m", "beam_pipeline", *command, *runners[runner]], {}, ROOT)
        cost = Cost(cost.wall, cost.cpu + _cpu_of(cluster) - before, cost.peak_bytes)
        Console().print(f"{source.name} on {runner}: {cost.wall:.1f} s, {cost.cpu:.1f} s of CPU", highlight=False)
        return cost

    def different() -> dict[str, str]:
        """By object and runner, what differs from DirectRunner's."""
        others = [runner for runner in runners if runner != DIRECT]
        return {
            f"{name} on {runner}": what
            for runner in others
            for name, what in differences(work / DIRECT, work / runner).items()
        }

    files = max(WORKERS, round(arguments.generated_mb * 1e6 / SHARD_BYTES))
    inputs.generate(work / "all", int(arguments.generated_mb * 1e6), files=files)
    table = inputs.read(work / "all")
    size = inputs.text_bytes(table)
    inputs.write(table.slice(0, START_UP_DOCUMENTS), work / "few" / "part-0.parquet")
    del table
    result: dict[str, Any] = {"megabytes": size / 1e6, "files": files, "rounds": arguments.rounds}
    result |= {"different": {}, "runs": {}}
    costs: dict[tuple[str, str], list[Cost]] = {}
    for runner in runners:
        run(work / "few", runner)  # compiles, makes the database, loads what a cluster loads once
    for _ in range(arguments.rounds):
        for source in ("few", "all"):
            for runner in runners:
                costs.setdefault((runner, source), []).append(run(work / source, runner))
            result["different"].setdefault(source, {}).update(different())
    if arguments.input:
        for runner in runners:
            run(arguments.input, runner)
        result["different"][str(arguments.input)] = different()
    for runner in runners:
        middle = {
            (kind, source): statistics.median(getattr(cost, kind) for cost in costs[runner, source])
            for kind in ("wall", "cpu")
            for source in ("few", "all")
        }
        result["runs"][runner] = {
            "fixed_seconds": middle["wall", "few"],
            "fixed_cpu_seconds": middle["cpu", "few"],
            "wall_seconds": middle["wall", "all"] - middle["wall", "few"],
            "cpu_seconds": middle["cpu", "all"] - middle["cpu", "few"],
        }
    return result


def _cpu_of(cluster: Cluster) -> float:
    """CPU seconds of a cluster's processes so far, those of workers that have ended too."""
    total = 0.0
    for name in cluster.names():
        root = psutil.Process(cluster.pid(name))
        for process in [root, *root.children(recursive=True)]:
            used = process.cpu_times()
            total += used.user + used.system + (used.children_user + used.children_system)
    return total


def _show(result: dict[str, Any]) -> None:
    console = Console(width=150)
    table = Table(
        title=f"{result['megabytes']:,.0f} MB of generated text in {result['files']} files, {WORKERS} workers",
        title_justify="left",
    )
    columns = ("", "fixed cost s", "beyond it s", "MB/s a worker", "of DirectRunner's", "CPU s", "MB/s of CPU", "of it")
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    direct = result["runs"][DIRECT]
    for runner, figures in result["runs"].items():
        rate = result["megabytes"] / figures["wall_seconds"] / WORKERS
        per_cpu = result["megabytes"] / figures["cpu_seconds"]
        table.add_row(
            runner, f"{figures['fixed_seconds']:.1f}", f"{figures['wall_seconds']:.1f}", f"{rate:.1f}",
            f"{direct['wall_seconds'] / figures['wall_seconds']:.0%}", f"{figures['cpu_seconds']:.1f}",
            f"{per_cpu:.1f}", f"{direct['cpu_seconds'] / figures['cpu_seconds']:.0%}",
        )  # fmt: skip
    console.print(table)
    for source, found in result["different"].items():
        said = "DIFFERENT" if found else f"byte-identical on all of them, {result['rounds']} times"
        console.print(f"{source}: {said}", highlight=False)
        for name, what in found.items():
            console.print(f"  {name}: {what}", highlight=False, soft_wrap=True)
    if any(result["different"].values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
