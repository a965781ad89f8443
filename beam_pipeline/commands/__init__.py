"""The subcommands of ``python -m beam_pipeline`` beside the run itself."""

import sys
from pathlib import Path


def program() -> str:
    """This program as it can be called from here: the Python of its environment need not be on the PATH."""
    python, here = Path(sys.executable), Path.cwd()
    return f"{python.relative_to(here) if python.is_relative_to(here) else python} -m beam_pipeline"
