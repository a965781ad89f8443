"""``status``: how far a run is."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from beam_pipeline.commands.corpus_arguments import opened_corpus, show
from beam_pipeline.commands.events import told
from beam_pipeline.commands.lineage_arguments import add_lineage_arguments, print_json, with_lineage
from beam_pipeline.commands.terminal import stdout
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.outbox import Outbox
from beam_pipeline.lineage.progress import Progress
from transforms.io.lineage import Lineage

_WORKERS_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``status``."""
    add_lineage_arguments(parser, "the runs and versions of a corpus instead")
    parser.add_argument("--watch", action="store_true", help="show it again until the run ends; Ctrl-C stops watching")
    parser.add_argument(
        "--every", type=_seconds, default=2.0, metavar="S", help="seconds between two looks (default: 2)"
    )


def run(args: argparse.Namespace) -> int:
    """Prints how far a run is, with ``--watch`` until it ends; returns the exit status."""
    if args.corpus:
        with opened_corpus(args.corpus, args.lineage_dsn) as corpus:
            show(corpus, args.json)
        return 0

    def command(lineage: Lineage, run_id: str) -> None:
        progress, outbox = runs.progress(lineage, run_id), runs.outbox(lineage)
        if args.json:
            print_json(_for_machines(progress, outbox))
            while args.watch and progress.state == "running":
                time.sleep(args.every)
                progress, outbox = runs.progress(lineage, run_id), runs.outbox(lineage)
                print_json(_for_machines(progress, outbox))
            return
        console = Console(soft_wrap=True, highlight=False)
        if args.watch and not console.is_terminal:
            console.print(_line(progress))
            while progress.state == "running":
                time.sleep(args.every)
                progress = runs.progress(lineage, run_id)
                console.print(_line(progress))
            return
        with Live(_table(progress, outbox), console=stdout(), auto_refresh=False) as live:
            while args.watch and progress.state == "running":
                time.sleep(args.every)
                progress, outbox = runs.progress(lineage, run_id), runs.outbox(lineage)
                live.update(_table(progress, outbox), refresh=True)

    try:
        return with_lineage(args, command)
    except KeyboardInterrupt:
        if args.watch:
            return 0
        raise


def _line(progress: Progress) -> str:
    """The state in one line, for a pipe or a file."""
    now = _time(datetime.datetime.now(datetime.UTC))
    return (
        f"{now} run {progress.run}: {progress.state}; shards: {_numbers(progress.shards)}; "
        f"documents: {progress.fingerprinted:,} read, {progress.done:,} done"
    )


def _for_machines(progress: Progress, outbox: Outbox) -> dict[str, Any]:
    return dataclasses.asdict(progress) | {"events": dataclasses.asdict(outbox)}


def _table(progress: Progress, outbox: Outbox) -> Table:
    table = Table(title=f"Run {progress.run}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    resumed = f", resumed {_time(progress.resumed)} (start {progress.starts})" if progress.starts > 1 else ""
    table.add_row("state", _state(progress))
    table.add_row("code version", progress.code_version)
    table.add_row("started", f"{_time(progress.started)}{resumed}")
    if progress.finished is not None:
        table.add_row("finished", _time(progress.finished))
    table.add_row("sources", _numbers(progress.sources))
    table.add_row("shards", _numbers(progress.shards))
    if progress.documents:
        table.add_row("documents known", f"{progress.documents:,}")
    table.add_row("documents read", f"{progress.fingerprinted:,} ({progress.fingerprinted_per_second:,.0f}/s)")
    table.add_row("documents done", f"{progress.done:,} ({progress.done_per_second:,.0f}/s)")
    if progress.state == "running" and progress.remaining_seconds is not None:
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=progress.remaining_seconds)
        table.add_row(
            "estimated end", f"{_time(end)} (in {datetime.timedelta(seconds=round(progress.remaining_seconds))})"
        )
    if progress.retries:
        table.add_row("shards written again", f"{progress.retries:,}")
    if progress.written is not None:
        table.add_row("last written", _time(progress.written))
    if progress.workers:
        names = [worker.name for worker in progress.workers[:_WORKERS_SHOWN]]
        more = ", ..." if len(progress.workers) > _WORKERS_SHOWN else ""
        table.add_row("workers seen lately", f"{len(progress.workers)}: {', '.join(names)}{more}")
    if outbox.waiting or outbox.alarm:
        table.add_row("events waiting", told(outbox))
    return table


def _state(progress: Progress) -> str:
    """The state, and what it means where that isn't plain."""
    if progress.state != "unattended":
        return progress.state
    return (
        f"unattended: its command was last heard of {_time(progress.heartbeat)}. It was killed, or was left while a "
        "Flink job works on. The same command goes on."
    )


def _seconds(value: str) -> float:
    if not 0 < float(value) < 86_400:
        raise ValueError(value)  # argparse names the flag and the value
    return float(value)


def _numbers(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count) or "none"


def _time(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
