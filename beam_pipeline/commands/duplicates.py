"""``duplicates``: every document that was dropped for a document, in the whole run."""

from __future__ import annotations

import argparse

from rich.table import Table
from rich.text import Text

from beam_pipeline.commands.documents import add_document_arguments, trace_asked
from beam_pipeline.commands.lineage_arguments import add_lineage_arguments, print_json, with_lineage
from beam_pipeline.commands.terminal import stdout
from beam_pipeline.lineage.documents import duplicates
from transforms.io.lineage import Lineage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``duplicates``."""
    add_lineage_arguments(parser)
    add_document_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the duplicates of one document, or of the one it was dropped for; returns the exit status."""

    def command(lineage: Lineage, run_id: str) -> None:
        found = trace_asked(lineage, run_id, args)
        if found["witness_uri"] is not None:
            witness = found["witness_uri"], found["witness_row"]
        else:
            witness = found["source_uri"], found["source_row"]
        dropped = duplicates(lineage, run_id, *witness)
        if args.json:
            print_json({"kept": {"source_uri": witness[0], "source_row": witness[1]}, "dropped": dropped})
            return
        console = stdout()
        console.print(Text(f"{len(dropped):,} documents were dropped for row {witness[1]} of {witness[0]}"))
        table = Table()
        for name in ("source", "row", "reason", "similarity", "language"):
            table.add_column(name, justify="right" if name in ("row", "similarity") else "left", overflow="fold")
        for row in dropped:
            similarity = f"{row['similarity']:.3f}"
            table.add_row(
                Text(row["source_uri"]), str(row["source_row"]), row["reason"], similarity, Text(row["language"] or "")
            )
        if dropped:
            console.print(table)

    return with_lineage(args, command)
