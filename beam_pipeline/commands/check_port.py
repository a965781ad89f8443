"""``check-port SLOW FAST``: whether two forms of a step answer alike on your text, and how much faster the second is.

Each is a step as a recipe names it: ``my_steps:shouts``, or in YAML with arguments:
``'{use: "my_kernels:Shouts", arguments: {most: 0.5}}'``. Both see the same normalized documents. Filters must give the
same reasons, editors the same texts, annotators the same values: numbers within --tolerance, all else exactly.

Exit status: 0 they answer alike; 1 they differ (the first ten differences are shown); 2 wrong usage.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pydantic
import yaml
from rich.table import Table
from rich.text import Text

from beam_pipeline import failures
from beam_pipeline.commands.lineage_arguments import print_json
from beam_pipeline.commands.terminal import stdout
from schemas.errors import FAILED

if TYPE_CHECKING:
    from beam_pipeline.port_check import PortCheck
    from transforms.recipe.spec import StepSpec

DOCUMENTS = 50_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``check-port``."""
    parser.add_argument("slow", metavar="SLOW", help="the form that is right by definition")
    parser.add_argument("fast", metavar="FAST", help="its port")
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="URI",
        help="files, folders, globs, prefixes of s3:// or others",
    )
    parser.add_argument(
        "--documents",
        type=_documents,
        default=DOCUMENTS,
        metavar="N",
        help=f"how many documents are compared at the least, or `all` (default {DOCUMENTS:,}): whole row groups, "
        "the same ones every time, spread over the input by a hash",
    )
    parser.add_argument(
        "--before", nargs="+", default=[], metavar="STEP", help="steps that go first, whose attributes the two read"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="X",
        help="how far numbers may be apart, in absolute terms and as a share of the slow form's (default 0)",
    )
    parser.add_argument("--text_column", default="text", metavar="NAME", help="column or field with the text")
    parser.add_argument("--id_column", default="id", metavar="NAME", help="column or field with your own id")
    parser.add_argument(
        "--keep_columns", nargs="+", default=[], metavar="COLUMN", help="source columns that the steps read"
    )
    parser.add_argument("--json", action="store_true", help="JSON for machines instead of a table")


def _documents(value: str) -> int | None:
    if value == "all":
        return None
    number = int(value)
    if number < 1:
        raise ValueError
    return number


def run(args: argparse.Namespace) -> int:
    """Prints what the comparison has found; returns the exit status."""
    with failures.before_work():
        from beam_pipeline.planned_sources import sources_of  # these bring Beam and the kernels
        from beam_pipeline.port_check import check_port
        from beam_pipeline.preflight import check_columns
        from transforms.io.kept_columns import KeptColumn
        from transforms.io.readers import ReadOptions

        sources = sources_of(args.input)
        kept = tuple(map(KeptColumn.parse, args.keep_columns))
        options = ReadOptions(args.text_column, args.id_column, columns=kept)
        options = ReadOptions(args.text_column, args.id_column, columns=check_columns(sources, options))
        slow, fast, *before = map(_spec, (args.slow, args.fast, *args.before))
        found = check_port(
            slow,
            fast,
            sources,
            before=before,
            options=options,
            documents=args.documents,
            tolerance=args.tolerance,
        )
        if not found.documents:
            raise ValueError(f"input: {', '.join(args.input)} has no document that reaches the two steps")
    if args.json:
        print_json(found.as_json())
    else:
        _show(args, found)
    return FAILED if found.different else 0


def _spec(given: str) -> StepSpec:
    """A step as the command line names it.

    Raises:
      ValueError: it isn't the name of a step, or YAML of one.
    """
    from transforms.recipe.spec import StepSpec

    try:
        return StepSpec.model_validate(yaml.safe_load(given))
    except (yaml.YAMLError, pydantic.ValidationError) as error:
        raise ValueError(f"{given!r} isn't a step as a recipe names it: {_reason(error)}") from error


def _reason(error: yaml.YAMLError | pydantic.ValidationError) -> str:
    if isinstance(error, pydantic.ValidationError):
        return "; ".join(fault["msg"] for fault in error.errors())
    return " ".join(str(error).split())


def _show(args: argparse.Namespace, found: PortCheck) -> None:
    console = stdout()
    speeds = Table()
    for name in ("form", "step", "MB/s of text a core", "times as fast"):
        speeds.add_column(name, justify="left" if name in ("form", "step") else "right")
    values = found.as_json()
    slow, fast = values["slow_mb_per_second"], values["fast_mb_per_second"]
    speeds.add_row("slow", Text(args.slow), f"{slow:,.1f}", "1")
    speeds.add_row("fast", Text(args.fast), f"{fast:,.1f}", f"{found.times_faster:,.1f}")
    console.print(speeds)
    compared = f"{found.documents:,} documents, {found.text_bytes / 1e6:,.1f} MB of text"
    if not found.different:
        console.print(Text(f"The two {found.kind}s answer alike on all of {compared}."))
        return
    console.print(Text(f"The two {found.kind}s differ on {found.different:,} of {compared}."))
    for number, one in enumerate(found.differences, 1):
        named = f", id {one.id}" if one.id is not None else ""
        said = f"\n{number}. {one.source}, row {one.row}{named}: {one.column}"
        console.print(Text(said, style="bold"), soft_wrap=True)
        console.print(
            Text(f"  slow: {one.slow}\n  fast: {one.fast}\n  text: {' '.join(one.text.split())[:200]}"), soft_wrap=True
        )
