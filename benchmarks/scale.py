"""How a run scales: the model's predictions beside runs on this machine, then its answer for the reference job.

    python -m benchmarks.scale [--rounds N] [--json FILE] FOLDER TOKENIZER

FOLDER holds Parquet files of text, which are cut into shards of equal size. Rates are measured by runs with one worker
on all and on a quarter of them, which tells what filling a worker's caches takes; start-up by runs on a handful of
documents. What 1, 2 and 4 workers need is predicted from them and measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks import inputs
from benchmarks.scale_model import GB, MB, TB, Cluster, Job, Outcome, Rates, simulate
from benchmarks.whole_run import START_UP_DOCUMENTS, Bench, Run, beyond

WORKERS = (1, 2, 4)
SHARDS = 16
"""Of the runs here: four for each of four workers."""
FIRST_PASS = ("ReadDocuments", "Normalize", "IdentifyLanguage", "Fingerprint", "WriteFingerprints")
LAST_PASS = ("SelectKept", "ReadKept", "NormalizeKept", "CompareTokenizers", "Tokenize", "WriteTokens")

REFERENCE_JOB = Job(text_bytes=18 * TB, stored_bytes=7 * TB, documents=6e9, shards=18 * TB // (128 * 2**20))
"""Web text in zstd-compressed Parquet, in shards of the default size."""
ON_FLINK = {"start_up": 30.0}
"""Seconds of a job in streaming mode that aren't the text's (docs/flink.md)."""
REFERENCE_CLUSTER = Cluster(workers=0, store=50 * GB, task_deployment=0.0005, losses=0.02, straggling=0.25)
"""See docs/scale.md for where each comes from."""


def cut(table: pa.Table, folder: Path, shards: int = SHARDS) -> None:
    """Writes the documents as so many files of like sizes, whatever order they are in."""
    for number in range(shards):
        inputs.write(table.take(list(range(number, len(table), shards))), folder / f"part-{number:02}.parquet")


def rates_of(run: Run, part: Run, start_up: Run, table: pa.Table, share: float) -> Rates:
    """What runs with one worker say of a core; what isn't in a step is spread over the steps.

    A pass over ``x`` bytes takes ``warm_up + rate * x``: two sizes of runs give both.

    Args:
      run: on the whole table.
      part: on a share of it.
    """

    def passes(of: Run) -> tuple[float, float, float]:
        _, cpu, steps = beyond(of, start_up)
        spread = cpu / sum(steps.values())
        first, last = (spread * sum(steps.get(name, 0.0) for name in names) for names in (FIRST_PASS, LAST_PASS))
        return first, last, cpu - first - last

    text = inputs.text_bytes(table)
    first, last, between = passes(run)
    small_first, small_last, _ = passes(part)
    first_warm_up = max(0.0, (small_first - share * first) / (1 - share))
    last_warm_up = max(0.0, (small_last - share * last) / (1 - share))
    storage = {name: step.get("bytes_written", 0) for name, step in run.contents["steps"].items()}
    return Rates(
        first_pass=(first - first_warm_up) / text,
        last_pass=(last - last_warm_up) / text,
        pass2=between / len(table),
        start_up=start_up.cost.wall,
        fingerprint_bytes=storage["WriteFingerprints"] / len(table),
        token_bytes=storage["WriteTokens"] / text,
        first_warm_up=first_warm_up,
        last_warm_up=last_warm_up,
    )


def here(table: pa.Table, tokenizer: Path, work: Path, rounds: int) -> tuple[Rates, list[dict[str, Any]]]:
    """Rates, and for 1, 2 and 4 workers what was predicted and measured (medians of the rounds)."""
    cores = len(os.sched_getaffinity(0))
    bench = Bench(work, tokenizer, None)
    inputs.write(table.slice(0, START_UP_DOCUMENTS), work / "start-up" / "part.parquet")
    cut(table, work / "all")
    (work / "part").mkdir()
    for file in sorted((work / "all").iterdir())[: SHARDS // max(WORKERS)]:
        (work / "part" / file.name).hardlink_to(file)
    bench.ours(work / "start-up")  # compiles, makes the database
    cases = [("part", 1), *((name, workers) for workers in WORKERS for name in ("start-up", "all"))]
    runs: dict[tuple[str, int], list[Run]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            runs[case].append(bench.ours(work / case[0], case[1]))
    middle = {case: sorted(found, key=lambda run: run.cost.cpu)[len(found) // 2] for case, found in runs.items()}
    share = inputs.text_bytes(inputs.read(work / "part")) / inputs.text_bytes(table)
    rates = rates_of(middle["all", 1], middle["part", 1], middle["start-up", 1], table, share)
    stored = sum(file.stat().st_size for file in (work / "all").iterdir())
    job = Job(inputs.text_bytes(table), stored, len(table), SHARDS)
    found = []
    for workers in WORKERS:
        start_up = statistics.median(run.cost.wall for run in runs["start-up", workers])
        place = Cluster(
            workers, cores=min(cores, workers), stream=1e10, requests=0, network=1e10, disk=1e10, straggling=0.0
        )
        predicted = simulate(job, dataclasses.replace(rates, start_up=start_up), place).seconds
        measured = statistics.median(run.cost.wall for run in runs["all", workers])
        found.append({"workers": workers, "predicted": predicted, "measured": measured})
    return rates, found


def answers(rates: Rates) -> list[tuple[int, Outcome]]:
    """The reference job on 1,000 to 5,000 workers."""
    rates = dataclasses.replace(rates, **ON_FLINK)
    return [
        (workers, simulate(REFERENCE_JOB, rates, dataclasses.replace(REFERENCE_CLUSTER, workers=workers)))
        for workers in (1000, 2000, 3000, 5000)
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m benchmarks.scale", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; medians are used")
    parser.add_argument("--json", type=Path, default=Path("out/scale.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="beam-pipeline-scale-") as folder:
        work = Path(folder)
        work.chmod(0o755)  # the database's system user goes through it
        rates, found = here(inputs.read(arguments.folder), arguments.tokenizer, work, arguments.rounds)
    outcomes = answers(rates)
    result = {
        "rates": dataclasses.asdict(rates),
        "here": found,
        "reference_job": [{"workers": workers} | dataclasses.asdict(outcome) for workers, outcome in outcomes],
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    _show(rates, found, outcomes)


def _show(rates: Rates, found: list[dict[str, Any]], outcomes: list[tuple[int, Outcome]]) -> None:
    console = Console(width=130)
    console.print(
        f"a core: pass 1 {1 / rates.first_pass / MB:.1f} MB/s, pass 3 {1 / rates.last_pass / MB:.1f} MB/s, "
        f"pass 2 {rates.pass2 * 1e6:.1f} µs a document; warming up takes a worker "
        f"{rates.first_warm_up:.1f} and {rates.last_warm_up:.1f} s",
        highlight=False,
    )
    table = Table(title="On this machine: seconds on the wall", title_justify="left")
    for column in ("workers", "measured / predicted", "predicted", "measured"):
        table.add_column(column, justify="right")
    for row in found:
        ratio = row["measured"] / row["predicted"]
        table.add_row(str(row["workers"]), f"{ratio:.2f}", f"{row['predicted']:.1f}", f"{row['measured']:.1f}")
    console.print(table)
    table = Table(title="18 TB of text, 6 billion documents", title_justify="left")
    columns = (
        "workers",
        "minutes",
        "start-up",
        "pass 1",
        "pass 2",
        "pass 3",
        "efficiency",
        "core-hours",
        "reworked",
        "busiest",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for workers, outcome in outcomes:
        minutes = [f"{seconds / 60:.1f}" for seconds in (outcome.seconds, *outcome.passes.values())]
        busiest = f"{outcome.bottleneck} ({outcome.busy[outcome.bottleneck]:.0%})"
        table.add_row(
            f"{workers:,}",
            *minutes,
            f"{outcome.efficiency:.0%}",
            f"{outcome.cpu_hours:,.0f}",
            str(outcome.reworked),
            busiest,
        )
    console.print(table)


if __name__ == "__main__":
    main()
