"""Where commands print their tables."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console

PIPED_COLUMNS = 200
"""Of a table in a file, a pipe or a notebook: nothing is cut there, and names of reasons stay whole."""


def stdout(**options: Any) -> Console:
    """A console for tables: as wide as the terminal, or ``COLUMNS``; elsewhere wider than rich's 80 columns.

    Args:
      options: of ``rich.console.Console``.
    """
    console = Console(**options)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = PIPED_COLUMNS
    return console
