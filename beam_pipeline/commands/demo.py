"""Run the pipeline on the sample text with embedded defaults and show what it did."""

from __future__ import annotations

import argparse
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console

from beam_pipeline.commands import program
from beam_pipeline.commands.terminal import stdout
from beam_pipeline.sample import documents_path, tokenizer_path
from runners.flink_local import Cluster
from schemas.run_layout import RunLayout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("--output", default="out/demo", metavar="DIR", help="where the results go (made anew)")
    parser.add_argument("--flink", action="store_true", help="on a Flink cluster of this machine, started for it")


def run(arguments: argparse.Namespace) -> int:
    """Runs the main command on the sample, then traces one document; returns the run's exit status."""
    from beam_pipeline.cli import main

    console = stdout()
    output = Path(arguments.output)
    shutil.rmtree(output, ignore_errors=True)
    command = ["--input", str(documents_path()), "--output", str(output), "--tokenizer", str(tokenizer_path())]
    if arguments.flink:
        _show(console, ["flink-local", "up"])
        status = main(["flink-local", "up"])
        if status:
            return status
        cluster = Cluster.at()
        command += ["--runner", "FlinkRunner", "--flink_master", cluster.rest_address]
    _show(console, command)
    status = main(command)
    if status:
        return status
    if arguments.flink:
        console.print(
            f"\nThe job, step by step: http://{cluster.rest_address}"
            f"\nEnd the cluster with:  {program()} flink-local down",
            highlight=False,
            soft_wrap=True,
        )
    objects = sorted(Path(RunLayout(str(output)).tokens).glob("*.parquet"))
    rows = pq.read_table(objects[0], columns=["cluster_size"])["cluster_size"].to_pylist()
    row = rows.index(max(rows))
    console.print(f"\nOne row of the training data, traced to its source (it stands for {rows[row]} documents):")
    trace = ["trace", "--output", str(output), "--object", str(objects[0]), "--row", str(row)]
    _show(console, trace)
    status = main(trace)
    console.print(
        f"\nWhere to look next:\n"
        f"  {output}/run.json                   the manifest: settings, versions, counts\n"
        f"  {output}/tokens/                    training data, Parquet\n"
        f"  {program()} trace --output {output} --source documents.jsonl --row 0\n"
        f"  {program()} status --output {output}\n"
        f"  {program()} --help      your own text",
        highlight=False,
        soft_wrap=True,
    )
    return status


def _show(console: Console, command: list[str]) -> None:
    console.print(f"$ {program()} {shlex.join(command)}", style="bold", markup=False, highlight=False, soft_wrap=True)
