"""``what-if``: how many documents, bytes and tokens a run would keep with one rule more, from its stored attributes.

No text is read. Each expression is counted as if it were the last rule of the run's recipe, for example
``what-if --run OUT "edu >= 0.5" "edu >= 0.5 and words >= 100"``. Columns are those of OUT/fingerprints.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from typing import Any

from rich.table import Table
from rich.text import Text

from beam_pipeline import failures
from beam_pipeline.commands.corpus_arguments import finished_runs_of, opened_corpus
from beam_pipeline.commands.lineage_arguments import add_dsn_and_json, locate, opened, print_json
from beam_pipeline.commands.terminal import stdout
from beam_pipeline.finished_runs import finished_run
from beam_pipeline.lineage.witnesses import witnesses_of
from beam_pipeline.what_if import what_if
from beam_pipeline.what_if_answers import Answer, Stays

SHOWN = 20
"""Groups in a table; --json has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``what-if``."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", "--output", dest="run", metavar="URI", help="output of a finished run")
    which.add_argument("--corpus", metavar="URI", help="all finished runs of a corpus")
    parser.add_argument("expressions", nargs="+", metavar="EXPRESSION", help="a condition, such as 'words >= 100'")
    parser.add_argument(
        "--by",
        metavar="COLUMN",
        default="language",
        help="count by this column of strings (default: language), or `domain`: by the registered domain of `url`",
    )
    parser.add_argument(
        "--sample",
        metavar="SHARE",
        type=float,
        default=1.0,
        help="look at this share of the shards only, such as 0.05, with the totals' standard errors; asks no database",
    )
    parser.add_argument(
        "--before_duplicates",
        action="store_true",
        help="don't ask the lineage database which duplicates lose their witness",
    )
    add_dsn_and_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints what would stay; returns the exit status."""
    with failures.before_work():
        outputs, dsn = [args.run], args.lineage_dsn
        if args.corpus:
            with opened_corpus(args.corpus, dsn) as corpus:
                outputs, dsn = [run.output for run in finished_runs_of(corpus)], corpus.dsn
        answers = [Answer(expression, {}) for expression in args.expressions]
        for output in outputs:
            of_run = _answers(output, dsn, args)
            answers = [answer + other for answer, other in zip(answers, of_run, strict=True)]
    if args.json:
        print_json([_as_json(answer, args.by) for answer in answers])
    else:
        for answer in answers:
            _show(answer, args.by, not (args.before_duplicates or args.sample < 1))
    return 0


def _answers(output: str, dsn: str, args: argparse.Namespace) -> list[Answer]:
    """What would stay of one run."""
    run = finished_run(output)
    count = functools.partial(what_if, run, args.expressions, args.by, sample=args.sample)
    if args.before_duplicates or args.sample < 1:
        return count()
    dsn, run_id = locate(run.output, None, dsn)
    with opened(dsn) as lineage:
        return count(functools.partial(witnesses_of, lineage, run_id))


def _as_json(answer: Answer, by: str) -> dict[str, Any]:
    groups = {name: dataclasses.asdict(stays) for name, stays in answer.groups.items()}
    found = {"expression": answer.expression, "total": dataclasses.asdict(answer.total), f"by_{by}": groups}
    return found if answer.errors is None else found | {"standard_errors": dataclasses.asdict(answer.errors)}


def _show(answer: Answer, by: str, duplicates: bool) -> None:
    table = Table(title=Text(answer.expression), title_justify="left")
    table.add_column(by)
    for name in ("documents that pass", "bytes", "kept by the run", "bytes", "tokens"):
        table.add_column(name, justify="right", overflow="fold")
    if duplicates:
        for name in ("duplicates without their witness", "bytes", "tokens (estimated)"):
            table.add_column(name, justify="right", overflow="fold")
    largest = sorted(answer.groups.items(), key=lambda group: (-group[1].passing.documents, group[0]))
    for name, stays in largest[:SHOWN]:
        table.add_row(Text(name), *_cells(stays, duplicates))
    if len(largest) > SHOWN:
        rest = sum((stays for _, stays in largest[SHOWN:]), Stays())
        table.add_row(f"{len(largest) - SHOWN:,} more", *_cells(rest, duplicates))
    table.add_section()
    table.add_row("all", *_cells(answer.total, duplicates))
    if answer.errors is not None:
        table.add_row("standard error", *_cells(answer.errors, duplicates))
    stdout().print(table)


def _cells(stays: Stays, duplicates: bool) -> list[str]:
    kept, back = stays.kept, stays.without_witness
    numbers = [stays.passing.documents, stays.passing.bytes, kept.documents, kept.bytes, kept.tokens]
    numbers += [back.documents, back.bytes, back.tokens] if duplicates else []
    return [f"{number:,}" for number in numbers]
