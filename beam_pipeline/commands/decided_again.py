"""What ``decide`` and ``dedup`` have in common: flags for settings of a finished run, and a table of decisions."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from beam_pipeline.settings import Settings, metavar_of


def add_changes(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """A flag for each of these settings; one that isn't given leaves no attribute, and stays as in the run."""
    for name in names:
        parser.add_argument(
            f"--{name}",
            metavar=metavar_of(name, Settings) or None,
            default=argparse.SUPPRESS,
            help=f"{Settings.model_fields[name].description} (default: as in the run)",
        )


def show_counts(console: Console, title: str, contents: Mapping[str, Any]) -> None:
    """The table of a manifest: how many documents there are, and what became of them."""
    table = Table(title=title, title_justify="left")
    table.add_column("documents")
    table.add_column("count", justify="right")
    table.add_row("in", f"{contents['documents']:,}")
    for name, count in contents["counts"].items():
        table.add_row(name, f"{count:,}")
    if contents.get("against"):
        table.add_section()
        table.add_row("dropped for a document of an earlier run", f"{contents['dropped_for_an_earlier_run']:,}")
    console.print(table)
