"""``extract``: web archives (WARC, WET) to Parquet with the text of every page.

What it writes under OUTPUT/text is input for the pipeline. Beam's own flags go beside these. Killed or failed? Run the
same command again. Exit status as of the pipeline: 3 if archives were unreadable, 4 if no page has a text.
"""

from __future__ import annotations

import argparse

import pydantic
from rich.console import Console
from rich.table import Table

from beam_pipeline import failures
from beam_pipeline.options import UsageError, beam_options
from runners import local_flink
from transforms.extract_pages import Extraction

BEAM_FLAGS = True
_SIZE = pydantic.TypeAdapter(pydantic.ByteSize)
_DEFAULTS = Extraction()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``extract``."""
    parser.add_argument(
        "--input",
        metavar="URI",
        nargs="+",
        action="extend",
        required=True,
        help="archives: files, folders, globs, prefixes of s3:// or others",
    )
    parser.add_argument("--output", metavar="URI", required=True, help="folder or prefix for text/, rest/ and run.json")
    parser.add_argument(
        "--engine",
        default=_DEFAULTS.engine,
        help="resiliparse (fast), trafilatura (exact), cascade (fast, and exact where that is in doubt), or "
        "module:function of your own (default: %(default)s)",
    )
    parser.add_argument(
        "--page_seconds",
        type=float,
        default=_DEFAULTS.page_seconds,
        metavar="S",
        help="CPU time that a page may take; one that takes more is counted as `timeout` (default: %(default)s)",
    )
    parser.add_argument(
        "--page_bytes",
        default="2GiB",
        metavar="SIZE",
        help="memory that a page may take; one that takes more is counted as `memory` (default: %(default)s)",
    )
    parser.add_argument(
        "--shard_bytes",
        default="256MiB",
        metavar="SIZE",
        help="an archive of more than twice as much is cut into shards, if it is compressed by record "
        "(default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Extracts, and prints what became of the records; returns the exit status."""
    from beam_pipeline import extraction, workers

    with failures.before_work():
        options = beam_options(args.beam_flags)
        workers.fork_early(options)
        if args.page_seconds <= 0:
            raise UsageError(f"--page_seconds: must be over 0, but is {args.page_seconds}")
        chosen = Extraction(
            args.engine, args.page_seconds, _size("page_bytes", args.page_bytes), _size("shard_bytes", args.shard_bytes)
        )
        planned = extraction.plan(args.input, args.output, chosen)
    with local_flink.brought_up(options) as brought_up:
        contents = extraction.carry_out(planned, brought_up)
    console = Console(stderr=True)
    table = Table(title=f"extraction {contents['run']}", title_justify="left")
    table.add_column("records")
    table.add_column("count", justify="right")
    table.add_row("in", f"{contents['records']:,}")
    table.add_row("extracted", f"{contents['extracted']:,}")
    for reason, count in contents["without_text"].items():
        table.add_row(f"without text: {reason}", f"{count:,}")
    console.print(table)
    for source in contents["unreadable"][:20]:
        console.print(f"unreadable: {source['uri']}: {source['reason']}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"-> {contents['text']}", highlight=False, soft_wrap=True)
    if not contents["extracted"]:
        return extraction.NOTHING
    return extraction.DONE_WITH_UNREADABLE if contents["unreadable"] else extraction.DONE


def _size(name: str, value: str) -> int:
    try:
        size = int(_SIZE.validate_python(value))
    except pydantic.ValidationError as error:
        raise UsageError(f"--{name}: {value!r} is no size, such as 256MiB") from error
    if size < 1:
        raise UsageError(f"--{name}: must be at least 1, but is {size}")
    return size
