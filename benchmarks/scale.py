"""How a run scales: the model's predictions beside runs on this machine, then its answer for the reference job.

    python -m benchmarks.scale [--rounds N] [--json FILE] FOLDER TOKENIZER

FOLDER holds Parquet files of text, which are cut into shards of equal size. Rates are measured by a run with one
worker, start-up by runs on a handful of documents; what 1, 2 and 4 workers need is predicted from them and measured.
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
FIRST_PASS = ("ReadDocuments", "Normalize", "IdentifyLanguage", "Filter", "Fingerprint", "WriteFingerprints")
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


def rates_of(run: Run, start_up: Run, table: pa.Table) -> Rates:
    """What a run with one worker says of a core; what isn't in a step is spread over the steps."""
    _, cpu, steps = beyond(run, start_up)
    spread = cpu / sum(steps.values())
    text = inputs.text_bytes(table)
    first, last = (spread * sum(steps.get(name, 0.0) for name in names) for names in (FIRST_PASS, LAST_PASS))
    storage = {name: step.get("bytes_written", 0) for name, step in run.contents["steps"].items()}
    return Rates(
        first_pass=first / text,
        last_pass=last / text,
        pass2=(cpu - first - last) / len(table),
        start_up=start_up.cost.wall,
        fingerprint_bytes=storage["WriteFingerprints"] / len(table),
        token_bytes=storage["WriteTokens"] / text,
    )


def here(table: pa.Table, tokenizer: Path, work: Path, rounds: int) -> tuple[Rates, list[dict[str, Any]]]:
    """Rates, and for 1, 2 and 4 workers what was predicted and measured (medians of the rounds)."""
    cores = len(os.sched_getaffinity(0))
    bench = Bench(work, tokenizer, None)
    inputs.write(table.slice(0, START_UP_DOCUMENTS), work / "start-up" / "part.parquet")
    cut(table, work / "all")
    bench.ours(work / "start-up")  # compiles, makes the database
    cases = [(name, workers) for workers in WORKERS for name in ("start-up", "all")]
    runs: dict[tuple[str, int], list[Run]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            runs[case].append(bench.ours(work / case[0], case[1]))
    middle = {case: sorted(found, key=lambda run: run.cost.cpu)[len(found) // 2] for case, found in runs.items()}
    rates = rates_of(middle["all", 1], middle["start-up", 1], table)
    stored = sum(file.stat().st_size for file in (work / "all").iterdir())
    job = Job(inputs.text_bytes(table), stored, len(table), SHARDS)
    found = []
    for workers in WORKERS:
        start_up = statistics.median(run.cost.wall for run in runs["start-up", workers])
        place = Cluster(workers, cores=min(cores, workers), stream=1e10, requests=0, network=1e10, straggling=0.0)
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
        f"pass 2 {rates.pass2 * 1e6:.1f} µs a document",
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
