"""Processes that run a module of ours: its package is found by its place, whatever the working directory holds."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_START = (
    "import sys; sys.path.insert(0, {root!r}); import schemas, transforms, runners; del sys.path[0]; import runpy; "
    "runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours as ``python -m`` does.

    ``-m`` would take a folder ``runners`` of the working directory for ours. Steps of a recipe are still found there.

    Args:
      module: its name, such as ``runners.worker_main``.
    """
    return [sys.executable, "-c", _START.format(root=str(_ROOT), module=module), *arguments]
