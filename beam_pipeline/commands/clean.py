"""``clean``: what runs that were killed have left under an output or in a corpus. Lists it; removes it if told to."""

from __future__ import annotations

import argparse
import datetime

from rich.console import Console

from beam_pipeline import failures, stale_objects


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``clean``."""
    parser.add_argument(
        "output", metavar="OUTPUT", help="folder or prefix (s3://, gs://, az://): a run's output, or a corpus"
    )
    parser.add_argument("--delete", action="store_true", help="remove what is listed")
    parser.add_argument(
        "--older_than",
        metavar="HOURS",
        type=float,
        default=24.0,
        help="age from which an unfinished write counts as left over; a run that is alive has some (default: 24)",
    )


def run(args: argparse.Namespace) -> int:
    """Lists stale objects, one line each; returns the exit status."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    count = 0
    with failures.before_work():
        for stale in stale_objects.stale_objects(args.output, datetime.timedelta(hours=args.older_than)):
            count += 1
            console.print(f"{stale.uri}: {stale.reason}")
            if args.delete:
                stale_objects.remove(stale)
    if args.delete or not count:
        console.print(f"{count} stale objects removed" if count else "nothing is left over")
    else:
        console.print(f"{count} stale objects; --delete removes them")
    return 0
