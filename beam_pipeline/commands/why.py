"""``why``: in words, why a document was kept, dropped or couldn't be used."""

from __future__ import annotations

import argparse

from rich.console import Console

from beam_pipeline.commands.documents import add_document_arguments, trace_asked
from beam_pipeline.commands.lineage_arguments import add_lineage_arguments, print_json, with_lineage
from transforms.io.lineage import Lineage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``why``."""
    add_lineage_arguments(parser)
    add_document_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the reason in sentences; returns the exit status."""

    def command(lineage: Lineage, run_id: str) -> None:
        found = trace_asked(lineage, run_id, args)
        from beam_pipeline.lineage.explanation import explain  # brings the readers

        sentences, evidence = explain(lineage, run_id, found, args.output or "")
        if args.json:
            print_json({"document": found, "because": sentences} | evidence)
        else:
            for sentence in sentences:
                Console().print(sentence, markup=False, highlight=False, soft_wrap=True)

    return with_lineage(args, command)
