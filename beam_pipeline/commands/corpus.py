"""``corpus``: the runs and versions of a corpus; gives up a run that can't be done.

python -m beam_pipeline corpus --corpus s3://bucket/corpus
"""

from __future__ import annotations

import argparse

from beam_pipeline import failures
from beam_pipeline.commands.corpus_arguments import opened_corpus, show
from beam_pipeline.commands.lineage_arguments import add_dsn_and_json


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
