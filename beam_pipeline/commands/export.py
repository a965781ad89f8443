"""Write the tokens of finished runs as files that trainers read: in the mix you want, shuffled, packed, traceable.

  python -m beam_pipeline export --run out/ --output train/ --format megatron

Killed or failed? Run the same command again: it goes on where it was. Beam's own flags go beside these.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from beam_pipeline import failures, workers
from beam_pipeline.commands.corpus_arguments import opened_corpus
from beam_pipeline.commands.terminal import stdout
from beam_pipeline.commands.told_products import Product, add_events_arguments
from beam_pipeline.export import plan as planning
from beam_pipeline.export import run as running
from beam_pipeline.export.settings import GROUPS, ExportSettings
from beam_pipeline.options import UsageError, add_flags, beam_options, resolve_part
from runners import local_flink

BEAM_FLAGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``export``."""
    groups = {name: parser.add_argument_group(name, text) for name, text in GROUPS.items()}
    add_flags(groups, ExportSettings)
    groups["what"].add_argument("--corpus", metavar="URI", help="instead of --run: all finished runs of a corpus")
    groups["what"].add_argument("--version", metavar="NAME", help="with --corpus: what this version of it keeps")
    add_events_arguments(parser)
    parser.add_argument("--plan", action="store_true", help="print what would be written, and write nothing")
    parser.add_argument("--json", action="store_true", help="JSON for machines instead of tables")


def run(args: argparse.Namespace) -> int:
    """Plans, writes, prints what is there; returns the exit status."""
    given = {name: value for name, value in vars(args).items() if name in ExportSettings.model_fields}
    console = stdout()
    with failures.before_work():
        options = beam_options(args.beam_flags)
        workers.fork_early(options)
        if args.corpus:
            from beam_pipeline.corpus import versions

            if "run" in given:
                raise UsageError("run: the corpus says which runs are exported; give --corpus or --run, not both")
            with opened_corpus(args.corpus) as corpus:
                given["run"] = versions.outputs(corpus, args.version or "")
        elif args.version:
            raise UsageError("version: is a version of a corpus; give --corpus, too")
        settings = resolve_part(ExportSettings, given)
        if args.plan:
            _show(planning.draft(settings).contents, args.json, console)
            return 0
        product = Product(args.events_exchange, args.lineage_dsn, settings.run[0])
        plan = planning.make_plan(settings)
    with local_flink.brought_up(options) as brought_up:
        contents = running.carry_out(plan, brought_up)
    product.done("export", plan.output, [run.run for run in plan.runs], _told(settings.format, contents))
    _show(contents, args.json, console)
    console.print(f"-> {plan.output}", highlight=False, soft_wrap=True)
    return 0


def _told(chosen: str, contents: dict[str, Any]) -> dict[str, Any]:
    """What ``export.done`` says."""
    names = ("files", "bytes", "sequences", "documents", "tokens")
    splits = {split: {name: of[name] for name in names} for split, of in contents["splits"].items()}
    return {"format": chosen, "splits": splits}


def _show(contents: dict[str, Any], as_json: bool, console: Console) -> None:
    if as_json:
        names = ("mixture", "holdout", "mixing", "files", "estimate", "splits")
        shown = {name: contents[name] for name in names if name in contents}
        Console(soft_wrap=True).print_json(json.dumps(shown))
        return
    table = Table(title="Mixture", title_justify="left")
    for name in ("group", "documents there", "tokens there", "documents taken", "tokens taken", "epochs"):
        table.add_column(name, justify="left" if name == "group" else "right", overflow="fold")
    for row in contents["mixture"]:
        there, taken = row["available"], row["taken"]
        numbers = [f"{amount:,}" for part in (there, taken) for amount in (part["documents"], part["tokens"])]
        table.add_row("(left out)" if row["group"] is None else row["group"], *numbers, f"{row['epochs']:.4g}")
    console.print(table)
    if contents["holdout"]["documents"]:
        console.print(
            f"held out: {contents['holdout']['documents']:,} documents, {contents['holdout']['tokens']:,} tokens"
        )
    mixing = contents["mixing"]
    if mixing:
        console.print(
            f"order: two neighbours are of the same row group with probability {mixing['same_row_group']:.3%} "
            f"(uniform permutation: {mixing['uniform']:.3%}); each row group is read "
            f"{mixing['reads_of_a_row_group']:.2f} times",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    if "splits" not in contents:
        told = contents["estimate"]
        requests, cost = told["requests"], told["cost"]
        console.print(
            f"files: {sum(contents['files']):,}, about {told['stored_bytes'] / 1e9:,.3f} GB, {told['cpu_hours']:.4g} "
            f"CPU hours, {requests['get']:,} GETs, {requests['put']:,} PUTs; cost at the default prices: "
            f"{cost['requests'] + cost['cpu']:.4g}, and {cost['storage_per_month']:.4g} a month",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    for name, split in contents.get("splits", {}).items():
        console.print(
            f"{name}: {split['files']:,} files, {split['bytes']:,} bytes, {split['sequences']:,} sequences, "
            f"{split['tokens']:,} tokens, {split['padding_share']:.2%} padding, "
            f"{split['cut_share']:.2%} of documents cut",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
