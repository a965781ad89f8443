"""``compare``: what became of the same documents in two runs, such as of other settings."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from beam_pipeline.commands.corpus_arguments import opened_corpus
from beam_pipeline.commands.lineage_arguments import add_dsn_and_json, opened, print_json, run_and_dsn
from beam_pipeline.commands.terminal import stdout
from beam_pipeline.lineage.comparison import compare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``compare``."""
    parser.add_argument("first", metavar="RUN", help="a run's id, or its output folder")
    parser.add_argument("second", metavar="RUN", help="another run over the same sources, in the same database")
    parser.add_argument(
        "--corpus",
        metavar="URI",
        help="compare two versions of this corpus by name instead; as-grown: what its runs kept",
    )
    add_dsn_and_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints how many documents went from which outcome to which; returns the exit status."""
    if args.corpus:
        return _versions(args)
    dsn, first = run_and_dsn(args.first, args.lineage_dsn)
    _, second = run_and_dsn(args.second, args.lineage_dsn)
    with opened(dsn) as lineage:
        compared = compare(lineage, first, second)
    if args.json:
        print_json(compared)
    else:
        _show(compared)
    return 0


def _show(compared: dict[str, Any]) -> None:
    console = stdout()
    settings = Table(title="Settings that differ", title_justify="left")
    for name in ("setting", *compared["runs"]):
        settings.add_column(name, overflow="fold")
    for name, values in compared["settings"].items():
        settings.add_row(name, *(Text(str(value)) for value in values))
    console.print(settings)
    sources = compared["sources"]
    console.print(
        f"{sources['compared']:,} sources are the same in both; {sources['changed']:,} have changed, "
        f"{sources['only_first']:,} and {sources['only_second']:,} are in one run only"
    )
    _show_documents(compared["runs"], compared["documents"], console)


def _versions(args: argparse.Namespace) -> int:
    from beam_pipeline.corpus import versions  # brings Beam

    with opened_corpus(args.corpus, args.lineage_dsn) as corpus:
        rows = versions.compare(corpus, args.first, args.second)
    if args.json:
        print_json({"versions": [args.first, args.second], "documents": rows})
    else:
        _show_documents([args.first, args.second], rows, stdout())
    return 0


def _show_documents(names: Iterable[str], rows: Iterable[dict[str, Any]], console: Console) -> None:
    documents = Table(title="Documents", title_justify="left")
    for name in (*names, "documents"):
        documents.add_column(name, justify="right" if name == "documents" else "left")
    for row in rows:
        before = _named(row["outcome_a"], row["reason_a"])
        after = _named(row["outcome_b"], row["reason_b"])
        documents.add_row(before, after, f"{row['documents']:,}", style="" if before == after else "bold")
    console.print(documents)


def _named(outcome: str | None, reason: str | None) -> Text:
    return Text(f"{outcome or 'undeclared'}: {reason}" if reason else outcome or "undeclared")
