"""``report``: one HTML page of a finished run, or of a trial (``try --report``).

The page shows the funnel, languages, distributions of every attribute with thresholds, texts, duplicates, costs,
settings and versions. It needs no network and no JavaScript. It is made from stored attributes, the lineage, and the
texts of a sample, which are read from the sources: --no-texts leaves out texts and values of strings.
"""

from __future__ import annotations

import argparse
import sys

from beam_pipeline import failures
from beam_pipeline.commands.lineage_arguments import locate, opened
from beam_pipeline.finished_runs import NotUsable, finished_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``report``."""
    parser.add_argument("--run", dest="run", metavar="URI", required=True, help="output of a finished run")
    parser.add_argument("--output", default="report.html", metavar="FILE", help="where the page goes (report.html)")
    parser.add_argument(
        "--no-texts", action="store_true", help="no texts and no values of strings: for confidential data"
    )
    parser.add_argument(
        "--lineage_dsn", default="", metavar="DSN", help="PostgreSQL; by default the run's own, or the embedded one"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the page; returns the exit status."""
    with failures.before_work():
        from beam_pipeline.report import page
        from beam_pipeline.report.run_result import result_of

        run = finished_run(args.run)
        if run.output != args.run:
            raise NotUsable(f"{args.run} has decisions of `dedup` and no funnel: name the run itself, {run.output}")
        dsn, _ = locate(run.output, None, args.lineage_dsn)
    with opened(dsn) as lineage:
        result, distributions = result_of(run, lineage, texts=not args.no_texts)
    page.write(result, args.output, distributions)
    sys.stdout.write(f"{args.output}: {result.looked.documents:,} documents\n")
    return 0
