"""``dedup``: decide again which documents of a finished run are duplicates, from its stored fingerprints, without text.

With other thresholds, or against runs that were done before: what those kept stays, and what is like it goes. Beam's
own flags go beside these.
"""

from __future__ import annotations

import argparse

import pydantic
from rich.console import Console

from beam_pipeline import failures, rededuplicate, workers
from beam_pipeline.commands.decided_again import add_changes, show_counts
from beam_pipeline.commands.told_products import Product, add_events_arguments
from beam_pipeline.options import UsageError, beam_options
from beam_pipeline.settings import OF_PASS_2
from runners import local_flink
from transforms.io import storage

BEAM_FLAGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``dedup``."""
    parser.add_argument("--run", metavar="URI", required=True, help="output of the run to decide on")
    parser.add_argument("--output", metavar="URI", required=True, help="folder or prefix for decisions/ and dedup.json")
    parser.add_argument(
        "--against",
        metavar="URI",
        nargs="+",
        action="extend",
        default=[],
        help="outputs of earlier runs, or of dedup over them: drop what they kept already",
    )
    add_events_arguments(parser)
    add_changes(parser, OF_PASS_2)


def run(args: argparse.Namespace) -> int:
    """Decides, prints what went where; returns the exit status."""
    changed = {name: value for name, value in vars(args).items() if name in OF_PASS_2}
    with failures.before_work():
        options = beam_options(args.beam_flags)
        workers.fork_early(options)
        try:
            planned = rededuplicate.prepare(args.run, args.output, args.against, changed)
            product = Product(args.events_exchange, args.lineage_dsn, args.run)
        except pydantic.ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            raise UsageError(f"{where}: {fault['msg']} (got {fault['input']!r})") from error
    with local_flink.brought_up(options) as brought_up:
        contents = rededuplicate.carry_out(planned, args.run, brought_up)
    made_from = [contents["run"], *(run["run"] for run in contents["against"])]
    product.done("decision", storage.absolute(args.output), made_from, {"counts": contents["counts"]})
    console = Console(stderr=True)
    show_counts(console, f"run {contents['run']}, decided again", contents)
    if contents["kept_without_tokens"]:
        console.print(
            f"{contents['kept_without_tokens']:,} of the kept documents have no tokens, since run {contents['run']} "
            "dropped them: in decisions/ they are those with outcome kept and has_tokens false. To get their tokens, "
            "run the pipeline over the sources again with these settings.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    console.print(f"-> {planned.layout.decisions}", highlight=False, soft_wrap=True)
    return 0
