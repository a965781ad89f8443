"""``funnel``: how many documents, bytes and tokens came to which end, by reason, by language or by a stored column.

It also says what editors have changed.
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table
from rich.text import Text

from beam_pipeline.commands.lineage_arguments import add_lineage_arguments, print_json, with_lineage
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.by_attribute import funnel_by
from beam_pipeline.lineage.totals import Amount
from schemas.outcomes import EDITS
from transforms.io import storage
from transforms.io.lineage import Lineage

_FIRST_LAST = {"invalid": 0, "dropped": 1, "kept": 2}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``funnel``."""
    add_lineage_arguments(parser)
    by = parser.add_mutually_exclusive_group()
    by.add_argument("--by-language", action="store_true", help="a line for each reason in each language")
    by.add_argument(
        "--by",
        metavar="COLUMN",
        help="a line for each reason and value of a stored column, such as domain (docs/rules.md)",
    )
    parser.add_argument("--top", type=int, default=100, metavar="N", help="with --by, the most frequent ones (100)")


def _by_end(cell: tuple[tuple[str, str, str | None], Amount]) -> tuple[int, str, str]:
    (outcome, reason, value), _ = cell
    return _FIRST_LAST.get(outcome, 3), reason, value or ""


def run(args: argparse.Namespace) -> int:
    """Prints the funnel of a run's finished shards; returns the exit status."""

    def command(lineage: Lineage, run_id: str) -> None:
        totals, edits = runs.totals(lineage, run_id), runs.edits(lineage, run_id)
        cells: dict[tuple[str, str, str | None], Amount] = {}
        by = args.by or ("language" if args.by_language else "")
        if args.by:
            cells = funnel_by(lineage, run_id, args.by, storage.absolute(args.output) if args.output else "")
            frequent = sorted(cells.items(), key=lambda cell: (-cell[1].documents, cell[0][2] or "", cell[0][1]))
            cells = dict(frequent[: args.top])
        else:
            for row in totals.funnel:
                key = (row.outcome or "undeclared", row.reason or "", row.language if by else None)
                cells[key] = cells.get(key, Amount()) + row.amount
        ordered = list(cells.items()) if args.by else sorted(cells.items(), key=_by_end)
        if args.json:
            names = ("outcome", "reason", by) if by else ("outcome", "reason")
            counted = [
                dict(zip(names, key[: len(names)], strict=True))
                | {"documents": amount.documents, "bytes": amount.bytes, "tokens": amount.tokens}
                for key, amount in ordered
            ]
            edited = [{"outcome": "edited", "reason": step} | changed for step, changed in edits.items()]
            print_json(counted if by else counted + edited)
            return
        table = Table(title=f"{totals.documents:,} documents of run {run_id}", title_justify="left")
        for name in ("outcome", "reason", *([by] if by else [])):
            table.add_column(name)
        for name in ("documents", "share", "bytes of text", "tokens"):
            table.add_column(name, justify="right")
        for (outcome, reason, value), amount in ordered:
            named = [outcome, reason.replace("_", " "), *([value or ""] if by else [])]
            share = f"{amount.documents / totals.documents:.1%}"
            numbers = [f"{amount.documents:,}", share, f"{amount.bytes:,}", f"{amount.tokens:,}"]
            table.add_row(*map(Text, named), *numbers)
        Console().print(table)
        if edits:
            _show_edits(edits)

    return with_lineage(args, command)


def _show_edits(edits: dict[str, dict[str, int]]) -> None:
    table = Table(title="What editors have changed", title_justify="left")
    table.add_column("step")
    for name in ("documents", *EDITS):
        table.add_column(name if name == "documents" else f"characters {name}", justify="right")
    table.add_column("its own counts")
    for step, changed in edits.items():
        counts = [f"{changed[name]:,}" for name in ("documents", *EDITS)]
        others = [f"{name} {count:,}" for name, count in changed.items() if name not in ("documents", *EDITS)]
        table.add_row(Text(step), *counts, Text(", ".join(others)))
    Console().print(table)
