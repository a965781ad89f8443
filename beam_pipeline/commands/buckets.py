"""``buckets``: turn stored scores into ranks among the documents of a language, as a step for a recipe.

Scores of several classifiers can't be compared; the share of a language's tokens that are below can. The step adds the
attribute ``bucket``, 0 to N - 1, of several scores the highest. It reads stored attributes only: put it into the recipe
of ``decide``, with a rule such as ``bucket >= 15``.
"""

from __future__ import annotations

import argparse

import yaml
from rich.console import Console

from beam_pipeline import failures
from beam_pipeline.finished_runs import finished_run
from beam_pipeline.score_buckets import score_buckets
from transforms.io import storage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``buckets``."""
    parser.add_argument("--run", metavar="URI", required=True, help="output of a finished run")
    parser.add_argument("--scores", metavar="NAME", nargs="+", required=True, help="numeric attributes of the run")
    parser.add_argument("--buckets", metavar="N", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--output", metavar="FILE", required=True, help="where the step goes, as YAML")


def run(args: argparse.Namespace) -> int:
    """Writes the step; returns the exit status."""
    with failures.before_work():
        cuts = score_buckets(finished_run(args.run), args.scores, args.buckets)
    step = yaml.safe_dump([{"buckets": {"cuts": cuts}}], allow_unicode=True, default_flow_style=None, width=120)
    storage.write(storage.absolute(args.output), step.encode())
    Console(stderr=True).print(
        f"{args.buckets} buckets of {', '.join(args.scores)} in {len(next(iter(cuts.values()))) - 1} languages -> "
        f"{args.output}",
        highlight=False,
        soft_wrap=True,
    )
    return 0
