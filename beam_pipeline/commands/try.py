"""``try``: what a recipe does to a sample of the input, in seconds: no run and no database.

For each step it says how many documents, bytes and tokens it drops or edits, alone and after the steps before it, and
what it costs. Your own steps are checked. ``--reason NAME --show 20`` shows texts, ``--against OTHER``
compares two recipes, ``--watch`` tries again whenever the recipe or your code changes (docs/trying.md).
"""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.text import Text

from beam_pipeline import failures, options, recipes
from beam_pipeline.commands.lineage_arguments import print_json
from beam_pipeline.commands.terminal import stdout
from beam_pipeline.settings import GROUPS, Settings, decides, group_of
from beam_pipeline.trial.watching import states, wait_for_change
from schemas.errors import ToldError
from transforms.io import storage
from transforms.io.yaml_file import read_yaml
from transforms.recipe.user_code import files_unimported

if TYPE_CHECKING:
    from beam_pipeline.trial.asked import Wanted
    from beam_pipeline.trial.trying import Trying

_GROUPS = ("input and output", "normalization", "language", "filters", "deduplication")
_ALSO = ("input", "tokenizer", "language_model")
_NOT = ("output", "recipe", "shard_bytes", "annotate_all", "tokens")


def _names() -> list[str]:
    """The settings that can be given: those that decide what a recipe does."""
    return [
        name
        for name in Settings.model_fields
        if group_of(name, Settings) in _GROUPS
        and name not in _NOT
        and (name in _ALSO or decides(name, Settings) == "fingerprints")
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``try``."""
    shipped = ", ".join(recipes.NAMES)
    parser.add_argument(
        "recipe", metavar="RECIPE", help=f"YAML with steps, and other settings if you like; or {shipped}"
    )
    parser.add_argument(
        "--sample", metavar="N|all", default="2000", help="documents to look at (default: 2000), or all"
    )
    parser.add_argument("--by", choices=["language"], default="", help="as many documents of each language")
    parser.add_argument("--reason", metavar="NAME", help="show texts: of a reason, of an editor by its name, or 'kept'")
    parser.add_argument("--show", type=int, default=3, metavar="N", help="texts of each kind (default: 3, 20 at most)")
    parser.add_argument("--against", metavar="OTHER", help="another recipe, to be compared with on the same sample")
    parser.add_argument("--watch", action="store_true", help="try again when the recipe or a module of yours changes")
    parser.add_argument("--report", metavar="FILE", help="write a page of HTML that needs no network")
    parser.add_argument("--no-checks", action="store_true", help="count only, don't check your steps")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--config", metavar="FILE", help="YAML with settings; those of RECIPE and flags win over it")
    groups = {name: parser.add_argument_group(name, text) for name, text in GROUPS.items() if name in _GROUPS}
    options.add_flags(groups, Settings, [name for name in _names() if name != "tokenizer"])
    groups["input and output"].add_argument(
        "--tokenizer",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="a Hugging Face tokenizer.json, by which tokens are counted; without it, one is taken for four bytes",
    )


def run(args: argparse.Namespace) -> int:
    """Tries the recipe and prints what it does; returns the exit status."""
    from beam_pipeline.trial.trying import ALL_DOCUMENTS, Trying

    with failures.before_work():
        settings = settings_of(args.recipe, args)
        if args.report:
            importlib.import_module("beam_pipeline.report")  # what it needs may not be installed
        size = ALL_DOCUMENTS if args.sample == ALL_DOCUMENTS else _count(args.sample)
        trying = Trying(settings, size, args.by)
    if args.watch:
        _watch(trying, args)
    else:
        _try(trying, settings, args)
    return 0


def _try(trying: Trying, settings: Settings, args: argparse.Namespace) -> None:
    """One turn, printed."""
    from beam_pipeline.commands import trial_tables
    from beam_pipeline.trial.asked import Wanted

    console = stdout()
    result = trying.turn(settings.steps(), args.recipe, _wanted(args, settings))
    if args.report:
        from beam_pipeline.report import page

        page.write(result, storage.absolute(args.report))
    other = None
    if args.against:
        other = trying.turn(settings_of(args.against, args).steps(), args.against, Wanted(check=False, texts=0))
    if args.json:
        compared = {} if other is None else {"against": trial_tables.against_as_json(result, other, args.show)}
        print_json(trial_tables.as_json(result) | compared)
        return
    if args.reason:
        trial_tables.show_texts(console, result, args.reason, args.show)
    else:
        trial_tables.show(console, result)
    if other is not None:
        trial_tables.show_against(console, trying, result, other, args.show)


def _watch(trying: Trying, args: argparse.Namespace) -> None:
    """Turn after turn, whenever a file has changed, until Ctrl-C; a recipe that can't be used is told."""
    console = stdout()
    files: set[Path] = {Path(recipe) for recipe in (args.recipe, args.against) if recipe and Path(recipe).exists()}
    while True:
        before, began = states(files), time.perf_counter()
        try:
            settings = settings_of(args.recipe, args)
            for recipe in (settings, *([settings_of(args.against, args)] if args.against else [])):
                files |= files_unimported(recipe.steps())
            before |= states(files - before.keys())  # as they are before the turn, which may fail
            _try(trying, settings, args)
        except ToldError as error:
            console.print(Text(str(error), style="red"), soft_wrap=True)
        seconds = time.perf_counter() - began
        new = set(trying.files) - files
        files |= new
        before |= states(new)
        console.print(
            Text(f"{seconds:.1f} s; waiting for a change of {', '.join(sorted(map(str, files)))}", style="dim")
        )
        wait_for_change(before)


def _wanted(args: argparse.Namespace, settings: Settings) -> Wanted:
    """What is to be found out: texts only if they are shown, or if tokens are counted in them."""
    from beam_pipeline.trial.asked import Wanted

    if args.reason and not args.report and not args.json:
        return Wanted(check=False, texts=args.show, only=args.reason)
    return Wanted(check=not args.no_checks, texts=5 if args.json or args.report or settings.tokenizer else 0)


def settings_of(recipe: str, args: argparse.Namespace) -> Settings:
    """The settings of a trial: of ``--config``, then of the recipe's file, then of flags."""
    values: dict[str, Any] = {"output": "."} | (options.read_config(args.config) if args.config else {})
    values |= _read_recipe(recipe)
    values |= {name: getattr(args, name) for name in _names() if hasattr(args, name)}
    values |= {} if values.get("tokenizer") else {"tokens": False}
    return options.resolve_part(Settings, values)


def _read_recipe(recipe: str) -> dict[str, Any]:
    """The recipe, and the settings that stand beside it in its file."""
    if recipes.text_of(recipe) is not None:
        return {"recipe": recipe}
    try:
        found = read_yaml(recipe)
    except yaml.YAMLError as error:
        raise options.UsageError(f"{recipe}: {error}") from error
    if isinstance(found, dict) and "recipe" in found:
        return options.read_config(recipe)
    return {"recipe": recipe}


def _count(given: str) -> int:
    try:
        number = int(given)
    except ValueError:
        number = 0
    if number < 1:
        raise options.UsageError(f"--sample: must be a number of documents or 'all', not {given!r}")
    return number
