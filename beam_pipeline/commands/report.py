"""``report``: one HTML page of a finished run, of all runs of a corpus, or of a trial (``try --report``).

The page shows the funnel, languages, distributions of every attribute with thresholds, texts, duplicates, costs,
settings and versions. It needs no network and no JavaScript. It is made from stored attributes, the lineage, and the
texts of a sample, which are read from the sources: --no-texts leaves out texts and values of strings.
"""

from __future__ import annotations

import argparse
import sys

from beam_pipeline import failures
from beam_pipeline.commands.corpus_arguments import finished_runs_of, opened_corpus
from beam_pipeline.commands.lineage_arguments import locate, opened
from beam_pipeline.finished_runs import NotUsable, finished_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``report``."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", metavar="URI", help="output of a finished run")
    which.add_argument("--corpus", metavar="URI", help="all finished runs of a corpus")
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

        before, corpus_uri, output, dsn = [], "", args.run, args.lineage_dsn
        if args.corpus:
            with opened_corpus(args.corpus, dsn) as corpus:
                *earlier, output = [run.output for run in finished_runs_of(corpus)]
                before, corpus_uri, dsn = [finished_run(each) for each in earlier], corpus.layout.uri, corpus.dsn
        run = finished_run(output)
        if run.output != output:
            raise NotUsable(f"{output} has decisions of `dedup` and no funnel: name the run itself, {run.output}")
        dsn, _ = locate(run.output, None, dsn)
    with opened(dsn) as lineage:
        result, distributions = result_of(run, lineage, not args.no_texts, corpus_uri, before)
    page.write(result, args.output, distributions)
    sys.stdout.write(f"{args.output}: {result.looked.documents:,} documents\n")
    return 0
