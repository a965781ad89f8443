"""``funnel``: how many documents, bytes and tokens came to which end, by reason, by language or by a stored column.

It also says what editors have changed.
"""

from __future__ import annotations

import argparse

from rich.table import Table
from rich.text import Text

from beam_pipeline.commands.corpus_arguments import finished_runs_of, opened_corpus
from beam_pipeline.commands.lineage_arguments import add_lineage_arguments, print_json, with_lineage
from beam_pipeline.commands.terminal import Name, stdout
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.by_attribute import funnel_by
from beam_pipeline.lineage.totals import Amount, Totals
from schemas.outcomes import EDITS
from transforms.io import storage
from transforms.io.lineage import Lineage

_FIRST_LAST = {"invalid": 0, "dropped": 1, "kept": 2}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``funnel``."""
    add_lineage_arguments(parser, "all finished runs of a corpus together")
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


Cells = dict[tuple[str, str, str | None], Amount]


def run(args: argparse.Namespace) -> int:
    """Prints the funnel of the finished shards of a run, or of a corpus; returns the exit status."""
    if args.corpus:
        with opened_corpus(args.corpus, args.lineage_dsn) as corpus:
            _tell(corpus.lineage, [str(run.run) for run in finished_runs_of(corpus)], args)
        return 0
    return with_lineage(args, lambda lineage, run_id: _tell(lineage, [run_id], args))


def _tell(lineage: Lineage, run_ids: list[str], args: argparse.Namespace) -> None:
    by = args.by or ("language" if args.by_language else "")
    cells: Cells = {}
    edits: dict[str, dict[str, int]] = {}
    documents = 0
    for run_id in run_ids:
        totals = runs.totals(lineage, run_id)
        documents += totals.documents
        for key, amount in _cells(lineage, run_id, totals, args).items():
            cells[key] = cells.get(key, Amount()) + amount
        for step, changed in runs.edits(lineage, run_id).items():
            before = edits.setdefault(step, {})
            edits[step] = before | {name: before.get(name, 0) + count for name, count in changed.items()}
    if args.by:
        frequent = sorted(cells.items(), key=lambda cell: (-cell[1].documents, cell[0][2] or "", cell[0][1]))
        cells = dict(frequent[: args.top])
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
    of = f"run {run_ids[0]}" if not args.corpus else f"{len(run_ids)} runs of {args.corpus}"
    table = Table(title=f"{documents:,} documents of {of}", title_justify="left")
    for name in ("outcome", "reason", *([by] if by else [])):
        table.add_column(name, overflow="fold")
    for name in ("documents", "share", "bytes of text", "tokens"):
        table.add_column(name, justify="right")
    for (outcome, reason, value), amount in ordered:
        of_column = [Text(value or "")] if by else []
        share = f"{amount.documents / documents:.1%}"
        numbers = [f"{amount.documents:,}", share, f"{amount.bytes:,}", f"{amount.tokens:,}"]
        table.add_row(Text(outcome), Name(reason), *of_column, *numbers)
    stdout().print(table)
    if edits:
        _show_edits(edits)


def _cells(lineage: Lineage, run_id: str, totals: Totals, args: argparse.Namespace) -> Cells:
    """What became of the documents of one run."""
    if args.by:
        return funnel_by(lineage, run_id, args.by, storage.absolute(args.output) if args.output else "")
    cells: Cells = {}
    for row in totals.funnel:
        key = (row.outcome or "undeclared", row.reason or "", row.language if args.by_language else None)
        cells[key] = cells.get(key, Amount()) + row.amount
    return cells


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
    stdout().print(table)
