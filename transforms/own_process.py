"""How a process of our own is started beside a worker."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def own_module(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command and the environment that run one of our modules.

    Our packages are found before a user's folder of the same name; what the user has is found behind them.
    """
    own = str(Path(__file__).parents[1])
    path = os.pathsep.join([own, *(part for part in sys.path if part)])
    return [sys.executable, "-P", "-m", module, *arguments], os.environ | {"PYTHONPATH": path}
