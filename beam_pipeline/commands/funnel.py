"""``funnel``: how many documents, bytes and tokens came to which end, by reason and by language."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table
from rich.text import Text

from beam_pipeline.commands.lineage_arguments import add_lineage_arguments, print_json, with_lineage
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.totals import Amount
from transforms.io.lineage import Lineage

_FIRST_LAST = {"invalid": 0, "dropped": 1, "kept": 2}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``funnel``."""
    add_lineage_arguments(parser)
    parser.add_argument("--by-language", action="store_true", help="a line for each reason in each language")


def run(args: argparse.Namespace) -> int:
    """Prints the funnel of a run's finished shards; returns the exit status."""

    def command(lineage: Lineage, run_id: str) -> None:
        totals = runs.totals(lineage, run_id)
        cells: dict[tuple[str, str, str | None], Amount] = {}
        for row in totals.funnel:
            key = (row.outcome or "undeclared", row.reason or "", row.language if args.by_language else None)
            cells[key] = cells.get(key, Amount()) + row.amount
        ordered = sorted(cells.items(), key=lambda cell: (_FIRST_LAST.get(cell[0][0], 3), cell[0][1], cell[0][2] or ""))
        if args.json:
            names = ("outcome", "reason", "language") if args.by_language else ("outcome", "reason")
            print_json(
                [
                    dict(zip(names, key[: len(names)], strict=True))
                    | {"documents": amount.documents, "bytes": amount.bytes, "tokens": amount.tokens}
                    for key, amount in ordered
                ]
            )
            return
        table = Table(title=f"{totals.documents:,} documents of run {run_id}", title_justify="left")
        for name in ("outcome", "reason", *(["language"] if args.by_language else [])):
            table.add_column(name)
        for name in ("documents", "share", "bytes of text", "tokens"):
            table.add_column(name, justify="right")
        for (outcome, reason, language), amount in ordered:
            named = [outcome, reason.replace("_", " "), *([language or ""] if args.by_language else [])]
            share = f"{amount.documents / totals.documents:.1%}"
            numbers = [f"{amount.documents:,}", share, f"{amount.bytes:,}", f"{amount.tokens:,}"]
            table.add_row(*map(Text, named), *numbers)
        Console().print(table)

    return with_lineage(args, command)
