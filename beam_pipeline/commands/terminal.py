"""Where commands print their tables."""

from __future__ import annotations

import os
import re
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

PIPED_COLUMNS = 200
"""Of a table in a file, a pipe or a notebook: nothing is cut there, and names of reasons stay whole."""


NARROW = 100
"""Columns of a terminal up to which tables of many numbers have white space on one side of a cell only."""


def padding(console: Console) -> tuple[int, int, int, int]:
    """White space around the cells of a table of many numbers: above, right, below, left."""
    return (0, 1, 0, int(console.width > NARROW))


def stdout(**options: Any) -> Console:
    """A console for tables: as wide as the terminal, or ``COLUMNS``; elsewhere wider than rich's 80 columns.

    Args:
      options: of ``rich.console.Console``.
    """
    console = Console(**options)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = PIPED_COLUMNS
    return console


class Name:
    """A cell with a name, such as a reason: whole where it fits, else in lines that end behind ``_``, ``.`` or ``:``.

    Args:
      name: what the cell says; white space in front stands in front of each line.
    """

    def __init__(self, name: str) -> None:
        self._name = name.lstrip()
        self._indent = name[: len(name) - len(self._name)]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        parts = max(map(cell_len, self._parts()), default=0)
        return Measurement(len(self._indent) + parts, len(self._indent) + cell_len(self._name))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width - len(self._indent)
        lines = [""]
        for part in self._parts():
            if lines[-1] and cell_len(lines[-1] + part.rstrip()) > room:
                lines.append("")
            lines[-1] += part
        yield Text("\n".join(self._indent + line.rstrip() for line in lines), overflow="fold")

    def _parts(self) -> list[str]:
        return re.findall(r"[^_.:\s]*[_.:\s]+|[^_.:\s]+", self._name)
