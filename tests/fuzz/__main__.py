"""``make fuzz``: damaged files, 100,000 of Parquet, 20,000 of JSON Lines, 20,000 of other formats; an hour at most.

    python -m tests.fuzz [--parquet N] [--lines N] [--others N] [--first NUMBER] [--folder FOLDER]

Exit status 1 if any mutant killed, stopped or surprised its process; such files stay in the folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.campaign import fuzz
from tests.fuzz.mutants import LINES, OTHERS, PARQUET


def main() -> int:
    """Prints a line for each file, and each finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parquet", type=int, default=100_000, help="mutants of Parquet files")
    parser.add_argument("--lines", type=int, default=20_000, help="mutants of JSON Lines files")
    parser.add_argument("--others", type=int, default=20_000, help="mutants of Arrow, CSV, WARC, archives and so on")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first mutant of each file: others than before"
    )
    parser.add_argument("--processes", type=int, default=2, help="at the same time")
    parser.add_argument("--folder", type=Path, default=Path("out/fuzz"), help="where files that are findings stay")
    arguments = parser.parse_args()
    findings = 0
    for names, mutants in ((PARQUET, arguments.parquet), (LINES, arguments.lines), (OTHERS, arguments.others)):
        for done in fuzz(names, mutants, arguments.folder, arguments.processes, arguments.first):
            print(done, flush=True)  # noqa: T201
            findings += len(done.findings)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
