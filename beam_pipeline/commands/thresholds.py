"""``thresholds``: thresholds of the quality rules by language, computed from what a finished run has stored.

Give its output to ``fineweb2: {thresholds: FILE}`` in a recipe. The run's recipe must have ``text_statistics:
{repetition: true}``, best without a filter before it, over text that is trusted (docs/rules.md).
"""

from __future__ import annotations

import argparse
import sys

from beam_pipeline import failures
from beam_pipeline import thresholds as computing
from beam_pipeline.finished_runs import finished_run
from transforms.io import storage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``thresholds``."""
    parser.add_argument("--run", metavar="URI", required=True, help="output of the finished run")
    parser.add_argument(
        "--quantiles",
        metavar="Q|KEY=Q,...",
        default=str(computing.TENTH),
        help=f"share of documents that a rule would drop (0.1, as FineWeb2); also of single ones of "
        f"{', '.join(computing.KEYS)}. With language_score=Q that isn't by FineWeb2's formula either",
    )
    parser.add_argument(
        "--min-documents", type=int, default=1000, metavar="N", help="leave out languages with fewer documents (1000)"
    )
    parser.add_argument(
        "--to",
        metavar="FILE",
        help="where to write the YAML, a path, s3://, gs:// or az://; by default it is printed",
    )


def run(args: argparse.Namespace) -> int:
    """Computes and writes the thresholds; returns the exit status."""
    with failures.before_work():
        quantiles = computing.quantiles_of(args.quantiles)
        finished = finished_run(storage.absolute(args.run))
    found = computing.thresholds(
        computing.histograms(finished), quantiles, args.min_documents, "language_score=" not in args.quantiles
    )
    text = computing.as_yaml(found)
    if args.to:
        storage.write(storage.absolute(args.to), text.encode())
    else:
        sys.stdout.write(text)
    if not found:
        sys.stderr.write(f"no language has {args.min_documents} documents with these attributes (--min-documents)\n")
    return 0
