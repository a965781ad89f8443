"""From bucket to bucket beside the same run on local files, and what ``--plan`` had estimated.

    python -m benchmarks.storage [--rounds N] [--fraction F] FOLDER TOKENIZER

FOLDER holds Parquet files of text. The store is the tests' S3 server (``tests/s3.py``) on this machine, working on
the same cores. Both runs are measured in turn, on the wall, start-up included, and their token rows must be the same.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from tests import runs
from tests.s3_store import Store, store_in

FORETOLD = ("documents", "tokens", "cpu_hours", "stored_bytes")


def local_run(folder: Path, output: Path, tokenizer: Path, *flags: object) -> tuple[float, str]:
    """Seconds on the wall, and what was printed."""
    started = time.perf_counter()
    done = subprocess.run(
        runs.command("--input", folder, "--output", output, "--tokenizer", tokenizer, *flags),
        cwd=runs.ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return time.perf_counter() - started, done.stdout


def bucket_run(store: Store, output: str) -> float:
    """Seconds on the wall, without the tests' proxy in between."""
    started = time.perf_counter()
    store.run(output, AWS_ENDPOINT_URL=store.server.endpoint, timeout=3600)
    return time.perf_counter() - started


def token_rows(objects: list[bytes]) -> pa.Table:
    """All rows in the order of the documents, without their place, which is the one thing that differs."""
    tables = [pq.read_table(io.BytesIO(data)) for data in objects]
    return pa.concat_tables(tables).sort_by("id").drop_columns("source")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m benchmarks.storage", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fraction", type=float, default=0.05, help="share of the documents that --plan looks at")
    arguments = parser.parse_args()
    walls: dict[str, list[float]] = {"local": [], "bucket": []}
    with tempfile.TemporaryDirectory() as made, store_in(Path(made) / "store") as store:
        work = Path(made)
        store.fill(arguments.folder, config="{}\n")
        store.put("data", "tokenizer.json", arguments.tokenizer.read_bytes())
        local_run(arguments.folder, work / "warm", arguments.tokenizer)  # compiles, makes the database
        plan = ("--plan", "--plan_fraction", arguments.fraction)
        _, estimated = local_run(arguments.folder, work / "planned", arguments.tokenizer, *plan)
        (work / "prediction.json").write_text(estimated)
        for number in range(arguments.rounds):
            local = local_run(
                arguments.folder, work / f"out-{number}", arguments.tokenizer, "--prediction", work / "prediction.json"
            )
            walls["local"].append(local[0])
            walls["bucket"].append(bucket_run(store, f"out-{number}"))
        here = [path.read_bytes() for path in sorted((work / "out-0" / "tokens").iterdir())]
        there = [data for name, data in store.objects("out-0").items() if name.startswith("tokens/")]
        assert token_rows(here).equals(token_rows(there)), "the runs differ"
        _show(walls, runs.manifest(work / f"out-{arguments.rounds - 1}")["prediction"], os.cpu_count() or 1)


def _show(walls: dict[str, list[float]], prediction: dict[str, Any], cores: int) -> None:
    console = Console(width=120)
    middle = {name: statistics.median(found) for name, found in walls.items()}
    console.print(
        f"bucket to bucket: {middle['local'] / middle['bucket']:.2f} times the speed of local files on {cores} cores "
        f"({middle['bucket']:.1f} s and {middle['local']:.1f} s on the wall; medians of {json.dumps(walls)})",
        highlight=False,
    )
    table = Table(title="--plan beside the run", title_justify="left")
    for column in ("", "actual / predicted", "predicted", "actual"):
        table.add_column(column, justify="right" if column else "left")
    for name in FORETOLD:
        found = prediction[name]
        ratio = found["actual"] / found["predicted"]
        table.add_row(name, f"{ratio:.3f}", f"{found['predicted']:,.6g}", f"{found['actual']:,.6g}")
    console.print(table)


if __name__ == "__main__":
    main()
