"""Whole runs: ours on one and two workers, and the peer's, from the first document to the manifest.

A run on a handful of documents does everything that a run does but work: imports, loading compiled code, models and
tokenizer, PostgreSQL, Beam's plan. It is the start-up, of ours and of the peer alike; what a run on more documents
takes beyond it is what these documents cost.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks import inputs
from benchmarks.cpu import Cost, measure
from transforms.kernels.language.identification import default_model_path

ROOT = Path(__file__).parents[1]
START_UP_DOCUMENTS = 100


@dataclasses.dataclass(frozen=True)
class Run:
    """Of a command over a folder.

    Attributes:
      cost: of all of it.
      steps: CPU seconds by step, as the run itself noted.
      contents: the manifest, or nothing.
    """

    cost: Cost
    steps: dict[str, float]
    contents: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where things are.

    Attributes:
      work: a folder to make and remove things in.
      tokenizer: a ``tokenizer.json``.
      peer: Python of the peer's environment, or None to leave it out.
    """

    work: Path
    tokenizer: Path
    peer: Path | None

    def ours(self, source: Path, workers: int = 1, fresh: bool = False, flags: Sequence[str] = ()) -> Run:
        """A run of the command; ``fresh``: the first on a machine, nothing compiled and no database yet."""
        output, name = self.work / "out", "fresh" if fresh else "kept"
        shutil.rmtree(output, ignore_errors=True)
        environment = {"BEAM_PIPELINE_DATA_DIR": str(self.work / f"data-{name}")}
        if fresh:
            environment["NUMBA_CACHE_DIR"] = str(self.work / "compiled")
        arguments = ["--input", str(source), "--output", str(output), "--tokenizer", str(self.tokenizer)]
        arguments += ["--direct_num_workers", str(workers), *flags]
        cost, _ = measure([sys.executable, "-m", "beam_pipeline", *arguments], environment, ROOT)
        contents = json.loads((output / "run.json").read_text())
        shutil.rmtree(output)
        return Run(cost, {step: spent.get("cpu", 0.0) for step, spent in contents["steps"].items()}, contents)

    def peers(self, source: Path) -> Run:
        """The same by datatrove."""
        output = self.work / "datatrove"
        shutil.rmtree(output, ignore_errors=True)
        script = ROOT / "benchmarks" / "datatrove_run.py"
        cost, printed = measure(
            [str(self.peer), str(script), str(source), str(output), str(self.tokenizer), str(default_model_path())], {}
        )
        shutil.rmtree(output)
        return Run(cost, json.loads(printed.splitlines()[-1]))


def beyond(run: Run, start_up: Run) -> tuple[float, float, dict[str, float]]:
    """Wall and CPU seconds, and CPU seconds by step, that the documents cost beyond the start-up."""
    steps = {step: seconds - start_up.steps.get(step, 0.0) for step, seconds in run.steps.items()}
    return run.cost.wall - start_up.cost.wall, run.cost.cpu - start_up.cost.cpu, steps


def _median(runs: list[Run]) -> Run:
    """The run in the middle by CPU time."""
    return sorted(runs, key=lambda run: run.cost.cpu)[len(runs) // 2]


def compare(bench: Bench, table: pa.Table, slice_of_it: pa.Table, rounds: int = 3) -> dict[str, Any]:
    """Runs everything in turn, ours and the peer's, ``rounds`` times; medians.

    The peer's turn is between ours: the speed of a shared machine drifts.

    Args:
      table: all documents (id, text).
      slice_of_it: those that the peer gets: it is slow.

    Returns:
      What the benchmark's table says of whole runs; rates in MB of text a second.
    """
    folders = {name: bench.work / name for name in ("start-up", "slice", "all")}
    half = START_UP_DOCUMENTS // 2
    for number in range(2):  # so that each of two workers loads models and tokenizer
        inputs.write(table.slice(number * half, half), folders["start-up"] / f"part-{number}.parquet")
    inputs.write(slice_of_it, folders["slice"] / "part-0.parquet")
    # Two files of one shard each, for two workers; halves of like sizes, whatever order the corpus is in.
    inputs.write(table.take(list(range(0, len(table), 2))), folders["all"] / "part-0.parquet")
    inputs.write(table.take(list(range(1, len(table), 2))), folders["all"] / "part-1.parquet")
    megabytes = {"all": inputs.text_bytes(table) / 1e6, "slice": inputs.text_bytes(slice_of_it) / 1e6}

    first = bench.ours(folders["start-up"], fresh=True)
    bench.ours(folders["start-up"])  # makes the database and whatever isn't compiled yet
    cases = [("start-up", 1), ("slice", 1), ("all", 1), ("start-up", 2), ("all", 2)]
    runs: dict[tuple[str, int], list[Run]] = {case: [] for case in cases}
    peers: dict[str, list[Run]] = {"start-up": [], "slice": []}
    for _ in range(rounds):
        for case in cases:
            runs[case].append(bench.ours(folders[case[0]], case[1]))
            if bench.peer is not None and case[1] == 1 and case[0] in peers:
                peers[case[0]].append(bench.peers(folders[case[0]]))
    middle = {case: _median(found) for case, found in runs.items()}
    walls = {case: statistics.median(run.cost.wall for run in found) for case, found in runs.items()}

    _, cpu, steps = beyond(middle["all", 1], middle["start-up", 1])
    # The slice takes a second beyond seven of start-up: the least of each, as disturbances only add.
    least = {case: min(run.cost.cpu for run in runs[case, 1]) for case in ("start-up", "slice")}
    cpu_of_slice = least["slice"] - least["start-up"]
    wall = {name: walls["all", n] - walls["start-up", n] for name, n in (("one worker", 1), ("two workers", 2))}
    roofline = sum(steps.values())
    result: dict[str, Any] = {
        "megabytes": megabytes,
        "documents": len(table),
        "ours": {
            "mb_per_cpu_second": megabytes["all"] / cpu,
            "mb_per_cpu_second_with_start_up": megabytes["all"] / middle["all", 1].cost.cpu,
            "mb_per_cpu_second_on_slice": megabytes["slice"] / cpu_of_slice,
            "cpu_seconds": cpu,
            "wall_seconds": wall,
            "speed_of_two_workers": wall["one worker"] / wall["two workers"],
            "start_up": {
                "wall": walls["start-up", 1],
                "cpu": middle["start-up", 1].cost.cpu,
                "wall_first_on_a_machine": first.cost.wall,
                "wall_two_workers": walls["start-up", 2],
            },
            "peak_bytes_of_a_worker": max(run.cost.peak_bytes for case in cases for run in runs[case]),
            "roofline_mb_per_cpu_second": megabytes["all"] / roofline,
            "share_of_roofline": roofline / cpu,
            "cpu_seconds_by_step": {step: round(seconds, 3) for step, seconds in sorted(steps.items())},
            "cpu_seconds_of_every_run": {
                f"{name}, {workers} workers": [round(run.cost.cpu, 2) for run in runs[name, workers]]
                for name, workers in cases
            },
        },
    }
    if bench.peer is not None:
        peer_start = _median(peers["start-up"])
        _, peer_cpu, peer_steps = beyond(_median(peers["slice"]), peer_start)
        result["datatrove"] = {
            "mb_per_cpu_second": (megabytes["slice"] - inputs.text_bytes(table.slice(0, START_UP_DOCUMENTS)) / 1e6)
            / peer_cpu,
            "cpu_seconds": peer_cpu,
            "start_up": dataclasses.asdict(peer_start.cost),
            "cpu_seconds_by_step": {step: round(seconds, 3) for step, seconds in peer_steps.items()},
            "cpu_seconds_of_every_run": {
                name: [round(run.cost.cpu, 2) for run in found] for name, found in peers.items()
            },
        }
        result["ratio"] = result["ours"]["mb_per_cpu_second"] / result["datatrove"]["mb_per_cpu_second"]
        result["ratio_on_slice"] = (
            result["ours"]["mb_per_cpu_second_on_slice"] / result["datatrove"]["mb_per_cpu_second"]
        )
    return result
