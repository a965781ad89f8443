"""The command: ``python -m beam_pipeline`` runs the pipeline; sub-commands ask about runs and make tokenizers.

Exit status: 0 done; 1 failed; 2 wrong usage or settings, before any work; 3 done, but sources were unreadable; 4 done,
but nothing was kept.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import signal
from collections.abc import Sequence

from rich.console import Console

from beam_pipeline import failures, logs
from runners.proxies import never_for_localhost
from schemas.errors import WRONG_USAGE

LOGGER = logging.getLogger(__name__)

COMMANDS = {
    "try": "what a recipe does to a sample: counts, costs, texts, faults of its steps",
    "extract": "make Parquet with text of web archives (WARC)",
    "trace": "where a token row came from, what became of a document",
    "why": "in words, why a document was kept, dropped or couldn't be used",
    "duplicates": "every document that was dropped for a document",
    "funnel": "how many documents, bytes and tokens came to which end",
    "report": "one HTML page of a finished run: funnel, languages, attributes, texts, duplicates, costs",
    "compare": "what became of the same documents in two runs",
    "status": "how far a run is",
    "watch": "make runs of a corpus of objects that arrive in a store",
    "events": "how many events wait to be sent to RabbitMQ, and send them",
    "sql": "ask the lineage in SQL",
    "postgres": "keep the embedded PostgreSQL running, stop it, or print its DSN",
    "init-db": "make the lineage's tables, where runs may not",
    "export": "write tokens as files that trainers read",
    "decide": "decide on documents again, with another recipe, from what a run has stored",
    "corpus": "the runs and versions of a corpus that grows, and giving up a run of it",
    "dedup": "decide on duplicates again from stored fingerprints, or against earlier runs",
    "what-if": "what a run would keep with one rule more, from stored attributes",
    "buckets": "ranks of stored scores among the documents of a language",
    "check-port": "whether two forms of a step, one slow and one fast, answer alike on your text",
    "clean": "list, or remove, what runs that were killed have left in a store",
    "flink-local": "start, stop or show a Flink cluster on this machine",
    "demo": "run on the sample text that comes with the package",
    "thresholds": "thresholds of the quality rules by language, from what a run has stored",
    "train-classifier": "train a fastText classifier that tells good texts from bad ones",
    "train-tokenizer": "train a byte-level BPE tokenizer.json on a sample of your text",
}
"""Each sub-command, a module of ``beam_pipeline.commands``, and what it is for."""

DESCRIPTION = """\
Turns raw text (Parquet, JSON Lines, CSV and others) into clean, de-duplicated, tokenized training data, and records for
every document where it came from and what became of it.

  python -m beam_pipeline --input texts/ --output out/ --tokenizer tokenizer.json

Killed or failed? Run the same command again: it goes on where it was.

Exit status: 0 done; 1 failed; 2 wrong usage or settings, nothing was done; 3 done, but some sources were unreadable;
4 done, but no document was kept (the last line says why).

Other commands (each has --help):
""" + "\n".join(f"  {name:<16} {purpose}" for name, purpose in COMMANDS.items())


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns its exit status. Errors go to stderr, one clear sentence and not a stack."""
    console = Console(stderr=True)
    verbose = "--verbose" in arguments
    logs.set_up(console, verbose)
    never_for_localhost()
    arguments = [argument for argument in arguments if argument != "--verbose"]
    command = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    try:
        if command in ("", "run"):
            return _run(console, arguments[1:] if command else arguments)
        return _command(command, arguments[1:])
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, lambda number, frame: None)  # it may come twice, from impatience or passed on
        LOGGER.debug("the command failed", exc_info=True)
        failure = failures.of(error)
        console.print(f"beam_pipeline: {failure.sentence}", markup=False, highlight=False, soft_wrap=True)
        return failure.status


def _command(command: str, arguments: Sequence[str]) -> int:
    """Runs a sub-command. Each brings only what it needs: --help stays quick."""
    if command not in COMMANDS:
        raise failures.Refused(f"there is no command {command!r}; --help lists them")
    module = importlib.import_module(f"beam_pipeline.commands.{command.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        f"python -m beam_pipeline {command}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    args, rest = parser.parse_known_args(arguments)
    if rest and not hasattr(module, "BEAM_FLAGS"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.beam_flags = rest
    status: int = module.run(args)
    return status


def _run(console: Console, arguments: Sequence[str]) -> int:
    from beam_pipeline import options

    parser = argparse.ArgumentParser(
        "python -m beam_pipeline",
        usage="%(prog)s --input URI... --output URI --tokenizer FILE [settings] [Beam's flags]\n"
        "       %(prog)s COMMAND ...",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Beam's own flags go beside these, e.g. --direct_num_workers 4 (DirectRunner, the default); "
        "--runner local-flink [--slots N] brings up a Flink cluster here for the run, with a slot for every core. "
        "--verbose, with any command, shows all that Beam says, and the stack of what fails.",
        allow_abbrev=False,
    )
    options.add_settings(parser)
    parser.add_argument(
        "--explain-dedup",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print what these deduplication settings find, and do nothing else",
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print what this run will find and cost, judged by a sample (plan_fraction), as JSON; writes nothing",
    )
    parser.add_argument(
        "--corpus",
        metavar="URI",
        default=argparse.SUPPRESS,
        help="instead of --output: a corpus, whose next run this is, over the sources that no run of it has, held "
        "against all its runs (docs/corpus.md)",
    )
    if not arguments:
        parser.print_help()
        return WRONG_USAGE
    corpus, others = _corpus(arguments)
    for flag in ("--plan", "--explain-dedup"):
        if corpus and flag in arguments:
            raise failures.Refused(f"{flag}: answers for --output and --input, not for the next run of a corpus")
    if corpus and not {"--help", "-h"}.intersection(arguments):
        from beam_pipeline.corpus import command

        return command.grow(corpus, parser, others, console)
    with failures.before_work():
        if "--plan" in arguments:
            return _predict(parser, [flag for flag in arguments if flag != "--plan"])
        if "--explain-dedup" in arguments:
            return _explain_dedup(parser, [flag for flag in arguments if flag != "--explain-dedup"])
        settings, beam = options.resolve(parser, arguments)
        from beam_pipeline import running, workers
        from runners import local_flink

        workers.fork_early(beam)
        prepared = running.prepare(settings)
        beam = options.fitted(beam, arguments, prepared.plan.source_bytes)
    with local_flink.brought_up(beam) as brought_up:
        return running.carry_out(prepared, brought_up, console)


def _corpus(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The value of ``--corpus``, and the other arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--corpus", default="")
    found, others = parser.parse_known_args(arguments)
    return found.corpus, others


def _predict(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    from beam_pipeline import estimation, options

    settings, _ = options.resolve(parser, arguments)
    predicted = estimation.estimate(settings)
    Console(soft_wrap=True, highlight=False).print_json(json.dumps(predicted))
    return 0


def _explain_dedup(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    from beam_pipeline import explain_dedup, options

    unused = ["--input", "-", "--output", "-", "--tokenizer", "-"]  # required of a run; what is given comes after them
    settings, _ = options.resolve(parser, [*unused, *arguments])
    minhash = settings.minhash()
    if minhash is None:
        raise options.UsageError("near_duplicates: is off, so only exact copies are found; --explain-dedup needs it on")
    explain_dedup.show(minhash, settings.deduplication(), Console())
    return 0
