"""``make bench``: measures, prints the tables, writes ``bench.json`` and the chart."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from beam_pipeline.sample import tokenizer_path
from benchmarks import chart, inputs, steps, whole_run
from benchmarks.growth import growth


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--input", type=Path, help="a Parquet file of text or a folder of them (default: generated)")
    parser.add_argument("--tokenizer", type=Path, default=tokenizer_path(), help="a tokenizer.json")
    parser.add_argument("--peer", type=Path, help="Python of an environment with datatrove; without it, no peer")
    parser.add_argument("--libraries", type=Path, help="Python of an environment with requirements-libraries.txt")
    parser.add_argument("--generated_mb", type=float, default=200, help="how much text to generate")
    parser.add_argument("--mb", type=float, default=0, help="how large the input is made (default: as it is)")
    parser.add_argument("--peer_mb", type=float, default=12, help="how much of the text the peer gets, evenly spread")
    parser.add_argument("--longest_mb", type=float, default=100, help="the longest single document")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; medians are shown")
    parser.add_argument("--parts", nargs="+", default=["whole", "steps", "growth"], help="what to measure")
    parser.add_argument("--json", type=Path, default=Path("out/bench.json"), help="results; parts not measured stay")
    parser.add_argument("--chart", type=Path, default=Path("out/bench.svg"))
    arguments = parser.parse_args()
    result: dict[str, Any] = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    work = Path(tempfile.mkdtemp(prefix="beam-pipeline-bench-"))
    work.chmod(0o711)  # root's embedded PostgreSQL is run by another user
    try:
        work.chmod(0o755)  # the database's system user goes through it
        if arguments.input is None:
            inputs.generate(work / "generated", int(arguments.generated_mb * 1e6))
        table = inputs.read(arguments.input or work / "generated")
        table = inputs.grown(table, int(arguments.mb * 1e6)) if arguments.mb else table
        spread = inputs.evenly_spread(table, int(arguments.peer_mb * 1e6))
        result["about"] = {
            "input": str(arguments.input or "generated"),
            "tokenizer": str(arguments.tokenizer),
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
        }
        if "whole" in arguments.parts:
            bench = whole_run.Bench(work, arguments.tokenizer, arguments.peer)
            result["whole"] = whole_run.compare(bench, table, spread, arguments.rounds)
        if "steps" in arguments.parts:
            result["steps"] = steps.compare(spread, arguments.tokenizer, work, arguments.libraries, arguments.rounds)
        if "growth" in arguments.parts:
            result["growth"] = list(growth(arguments.tokenizer, int(arguments.longest_mb * 1e6)))
    finally:
        shutil.rmtree(work)
    _add_peers_steps(result)
    for path, text in ((arguments.json, json.dumps(result, indent=2) + "\n"), (arguments.chart, _draw(result))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    _show(result)


def _draw(result: dict[str, Any]) -> str:
    return chart.draw(result) if {"whole", "steps"} <= result.keys() else ""


def _add_peers_steps(result: dict[str, Any]) -> None:
    """What the peer's run took for each step, as rates beside ours."""
    whole = result.get("whole", {})
    if "datatrove" not in whole:
        return
    megabytes, peers = whole["megabytes"]["slice"], whole["datatrove"]["cpu_seconds_by_step"]
    for step, rates in result.get("steps", {}).items():
        seconds = sum(peers[name] for name in steps.PEERS_STEPS.get(step, ()))
        if seconds > 0:
            rates["datatrove"] = megabytes / seconds
            rates["ratio_to_datatrove"] = rates["ours"] / rates["datatrove"]


def _show(result: dict[str, Any]) -> None:
    console = Console(width=150)
    table = Table(title="MB of text per CPU second of all processes", title_justify="left")
    for column in ("", "times datatrove", "times library", "ours", "library", "datatrove", "library (the strongest)"):
        table.add_column(column, justify="left" if column in ("", "library (the strongest)") else "right")
    whole = result.get("whole")
    if whole:
        ours, peer = whole["ours"], whole.get("datatrove", {})
        table.add_row(
            "whole run", _number(whole.get("ratio")), "", _number(ours["mb_per_cpu_second"]), "",
            _number(peer.get("mb_per_cpu_second")), "",
        )  # fmt: skip
        table.add_section()
    for step, rates in result.get("steps", {}).items():
        table.add_row(
            step, _number(rates.get("ratio_to_datatrove")), _number(rates.get("ratio")), _number(rates["ours"]),
            _number(rates.get("library")), _number(rates.get("datatrove")),
            f"{rates['library_is']}: {rates['library_does']}" if "library" in rates else "",
        )  # fmt: skip
    console.print(table)
    for step, rates in result.get("steps", {}).items():
        if len(rates.get("libraries", ())) > 1:
            found = sorted(rates["libraries"].items(), key=lambda item: -item[1])
            console.print(f"{step}: " + ", ".join(f"{name} {rate:,.3g}" for name, rate in found), highlight=False)
    if whole:
        start, wall = ours["start_up"], ours["wall_seconds"]
        console.print(
            f"with start-up {ours['mb_per_cpu_second_with_start_up']:.1f} MB/s; on the peer's slice, caches still "
            f"cold, {ours['mb_per_cpu_second_on_slice']:.1f} MB/s\n"
            f"{whole['documents']:,} documents, {whole['megabytes']['all']:.1f} MB of text; "
            f"peer on {whole['megabytes']['slice']:.1f} MB"
            + (f", ratio on just these {whole['ratio_on_slice']:.0f}" if "ratio_on_slice" in whole else "")
            + f"\nroofline (sum of the run's own steps): {ours['roofline_mb_per_cpu_second']:.1f} MB/s; "
            f"the run reaches {ours['share_of_roofline']:.0%} of it"
            f"\ntwo workers: {ours['speed_of_two_workers']:.2f} times one ({wall['one worker']:.1f} s and "
            f"{wall['two workers']:.1f} s on the wall, start-up left out)"
            f"\nstart-up: {start['wall']:.1f} s ({start['cpu']:.1f} s of CPU); two workers "
            f"{start['wall_two_workers']:.1f} s; the first run on a machine {start['wall_first_on_a_machine']:.1f} s"
            f"\nmost memory of a worker: {ours['peak_bytes_of_a_worker'] / 2**20:.0f} MiB",
            highlight=False,
        )
    if "growth" in result:
        table = Table(title="Single documents: seconds (time a byte against an eighth of it)", title_justify="left")
        table.add_column("document")
        table.add_column("MB", justify="right")
        for step in result["growth"][0]["seconds"]:
            table.add_column(step, justify="right")
        for row in result["growth"]:
            cells = [f"{row['seconds'][step]:.2f} ({row['time_per_byte'][step]:.2f})" for step in row["seconds"]]
            table.add_row(row["document"], f"{row['bytes'] / 1e6:.0f}", *cells)
        console.print(table)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.3g}"


if __name__ == "__main__":
    main()
