"""``decide``: apply another recipe, or other settings of the deduplication, to what a finished run has stored.

Rules are decided from stored attributes and duplicates from stored fingerprints. Read are only the texts of documents
that come back in, and token rows are taken from the run that is decided again. What comes out is a run of its own, with
tokens, totals and lineage, which names its parent. Settings that aren't given are those of that run. Killed or failed?
Run the same command again. Beam's own flags go beside these.
"""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from beam_pipeline import decide, failures, running, workers
from beam_pipeline.commands.corpus_arguments import finished_runs_of, opened_corpus
from beam_pipeline.commands.decided_again import add_changes, show_counts
from beam_pipeline.commands.told_products import Product
from beam_pipeline.finished_runs import finished_run
from beam_pipeline.options import UsageError, beam_options
from beam_pipeline.settings import OF_PASS_2
from runners import local_flink
from transforms.io import storage

BEAM_FLAGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``decide``."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", metavar="URI", help="output of the finished run to decide again")
    which.add_argument("--corpus", metavar="URI", help="decide on duplicates of all runs of a corpus (docs/corpus.md)")
    parser.add_argument("--output", metavar="URI", help="with --run: folder or prefix of the new run")
    parser.add_argument("--version", metavar="NAME", help="with --corpus: name of the version that this makes")
    add_changes(parser, decide.CHANGEABLE)


def run(args: argparse.Namespace) -> int:
    """Decides and writes the new run; returns the exit status, as for a run."""
    changed = {name: value for name, value in vars(args).items() if name in decide.CHANGEABLE}
    if args.corpus:
        return _corpus(args, changed)
    with failures.before_work():
        options = beam_options(args.beam_flags)
        workers.fork_early(options)
        if not args.output or args.version:
            raise UsageError("output: with --run, give --output and no --version")
        parent, settings = decide.settings_of(storage.absolute(args.run), storage.absolute(args.output), changed)
        prepared = running.prepare(settings, parent)
    with local_flink.brought_up(options) as brought_up:
        return running.carry_out(prepared, brought_up, Console(stderr=True))


def _corpus(args: argparse.Namespace, changed: dict[str, Any]) -> int:
    """Makes a version of a corpus, and prints what it keeps."""
    from beam_pipeline.corpus import versions

    with failures.before_work():
        options = beam_options(args.beam_flags)
        workers.fork_early(options)
        if not args.version or args.output:
            raise UsageError("version: with --corpus, give --version and no --output")
        dsn, exchange = changed.pop("lineage_dsn", ""), changed.pop("events_exchange", None)
        if others := sorted(changed.keys() - set(OF_PASS_2)):
            raise UsageError(f"{others[0]}: a version decides on duplicates; of a recipe, runs decide (decide --run)")
        corpus = opened_corpus(args.corpus, dsn)
        if exchange is None:
            latest = finished_run(finished_runs_of(corpus)[-1].output)
            exchange = str(latest.plan.settings.get("events_exchange", ""))
        product = Product(exchange, corpus.dsn)

    def tell(made: dict[str, Any]) -> None:
        place = corpus.layout.version_folder(args.version)
        product.done("decision", place, [run["run"] for run in made["runs"]], {"counts": made["counts"]})

    with corpus, local_flink.brought_up(options) as brought_up:
        if (known := versions.found_version(corpus, args.version)) is not None:
            tell(known)  # the command that made it may have been killed before it could
        contents = versions.decide_anew(corpus, args.version, changed, brought_up)
    tell(contents)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    show_counts(console, f"version {args.version} of {corpus.layout.uri}", contents)
    if contents["kept_without_tokens"]:
        console.print(
            f"{contents['kept_without_tokens']:,} of the kept documents have no tokens: their runs dropped them"
        )
    return 0
