"""Start-up: how long ``--help`` takes, and a run with one tiny document that isn't the machine's first.

    python -m benchmarks.startup [--json FILE]

Wall and CPU seconds, the least of several: what else the machine does only adds to them. The first run, which compiles
kernels and makes the embedded PostgreSQL, isn't counted. PostgreSQL is started by each run, as it is for a user.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from beam_pipeline.sample import tokenizer_path

TIMES = 5


def measured(*arguments: str) -> dict[str, float]:
    """Wall and CPU seconds of a command and its children, the least of ``TIMES``."""
    walls, cpus = [], []
    for _ in range(TIMES):
        before, began = os.times(), time.perf_counter()
        command = [sys.executable, "-m", "beam_pipeline", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        walls.append(time.perf_counter() - began)
        after = os.times()
        cpus.append(after.children_user + after.children_system - before.children_user - before.children_system)
        if "--output" in arguments:
            shutil.rmtree(arguments[arguments.index("--output") + 1])
    return {"wall": round(min(walls), 2), "cpu": round(min(cpus), 2)}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser("python -m benchmarks.startup", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures go there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.jsonl", Path(folder) / "out"
        source.write_text('{"text": "One tiny document that is just long enough to be one."}\n')
        run = ["--input", str(source), "--output", str(output), "--tokenizer", str(tokenizer_path())]
        first = [sys.executable, "-m", "beam_pipeline", *run]
        subprocess.run(first, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(output)
        figures = {"--help": measured("--help"), "status --help": measured("status", "--help"), "run": measured(*run)}
    text = json.dumps(figures, indent=2)
    sys.stdout.write(f"{text}\n")
    if arguments.json:
        arguments.json.write_text(text)


if __name__ == "__main__":
    main()
