"""``corpus``: the runs and versions of a corpus; gives up a run that can't be done.

python -m beam_pipeline corpus --corpus s3://bucket/corpus
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from beam_pipeline import failures
from beam_pipeline.commands.corpus_arguments import opened_corpus
from beam_pipeline.commands.lineage_arguments import add_dsn_and_json, print_json
from beam_pipeline.corpus.opened import OpenedCorpus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``corpus``."""
    parser.add_argument("--corpus", metavar="URI", required=True, help="folder or prefix of the corpus")
    parser.add_argument(
        "--release", type=int, metavar="NUMBER", help="give up this run, which isn't done: its sources are new again"
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="with --release, why; it is recorded")
    add_dsn_and_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the corpus; returns the exit status."""
    with failures.before_work(), opened_corpus(args.corpus, args.lineage_dsn) as corpus:
        if args.release is not None:
            corpus.release(args.release, args.reason or "released by corpus --release")
        show(corpus, args.json)
    return 0


def show(corpus: OpenedCorpus, as_json: bool) -> None:
    """Prints the runs and versions of a corpus."""
    from beam_pipeline.corpus import versions  # brings Beam

    runs = corpus.ledger.runs()
    names = versions.names(corpus)
    if as_json:
        told: list[dict[str, Any]] = [dataclasses.asdict(run) for run in runs]
        print_json({"corpus": corpus.id, "uri": corpus.layout.uri, "runs": told, "versions": names})
        return
    table = Table(title=f"Corpus {corpus.layout.uri}", title_justify="left")
    for name in ("run", "state", "sources", "GB", "claimed", "id"):
        table.add_column(name, justify="right" if name in ("run", "sources", "GB") else "left", overflow="fold")
    for run in runs:
        claimed = run.claimed.strftime("%Y-%m-%d %H:%M")
        numbers = [f"{run.sources:,}", f"{run.bytes / 1e9:,.3f}"]
        table.add_row(str(run.number), run.state, *numbers, claimed, run.run or "")
    console = Console(highlight=False)
    console.print(table)
    for run in runs:
        if run.error:
            console.print(Text(f"run {run.number} {run.state}: {run.error}"), soft_wrap=True)
    if names:
        console.print(Text(f"versions: {', '.join(names)}"), soft_wrap=True)
