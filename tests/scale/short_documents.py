"""Whole runs over documents of 25 words, on DirectRunner and on Flink in both modes: the same bytes, time, memory.

    python -m tests.scale.short_documents [DOCUMENTS] [--runners direct batch streaming]

172 bytes of random words each, 7 % of them copies, in Parquet files of half a million.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from beam_pipeline import embedded_postgres
from runners.flink_local import Cluster
from tests import runs
from tests.scale.measured import Watch

WORDS = 25
ROWS = 500_000
COPIES = 0.07
MODES = {"direct": (), "batch": ("--no-streaming",), "streaming": ("--streaming",)}


def write_documents(folder: Path, documents: int) -> None:
    """The files; each is made from its number."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = np.array([f"{word:x}".rjust(3, "k") for word in range(1 << 16)], dtype=object)
    for number, start in enumerate(range(0, documents, ROWS)):
        random = np.random.default_rng(number)
        rows = min(ROWS, documents - start)
        words = vocabulary[random.integers(0, 1 << 16, (rows, WORDS))]
        texts = np.array([" ".join(line) for line in words], dtype=object)
        copies = random.random(rows) < COPIES
        texts[copies] = texts[random.integers(0, rows, int(copies.sum()))]
        table = pa.table({"text": pa.array(texts, pa.string())})
        pq.write_table(table, folder / f"{number:04}.parquet", compression="zstd", row_group_size=ROWS)


def main(arguments: list[str]) -> int:
    """Runs the command on each runner; returns the exit status."""
    parser = argparse.ArgumentParser("python -m tests.scale.short_documents", description=__doc__)
    parser.add_argument("documents", type=int, nargs="?", default=4_000_000)
    parser.add_argument("--runners", nargs="+", choices=MODES, default=list(MODES))
    known = parser.parse_args(arguments)
    console = Console(width=130)
    table = Table(title=f"{known.documents:,} documents of {WORDS} words", title_justify="left")
    for column in ("runner", "seconds", "documents/s", "CPU s", "GB, all", "kept"):
        table.add_column(column, justify="right")
    digests = {}
    with tempfile.TemporaryDirectory(prefix="short-", dir=os.environ.get("SCALE_DIR")) as folder:
        work = Path(folder)
        work.chmod(0o755)
        os.environ["BEAM_PIPELINE_DATA_DIR"] = str(work / "data")
        write_documents(work / "in", known.documents)
        cluster = Cluster.at(work / "data" / "flink")
        try:
            if set(known.runners) != {"direct"}:
                cluster.up()
            for runner in known.runners:
                flags = MODES[runner]
                if runner != "direct":
                    flags += ("--runner", "FlinkRunner", "--flink_master", cluster.rest_address)
                with Watch(lambda: filter(None, map(cluster.pid, cluster.names()))) as watch:
                    started = time.perf_counter()
                    runs.run(work / "in", work / runner, *flags, timeout=3600)
                    seconds = time.perf_counter() - started
                digests[runner] = runs.digests(work / runner)
                counts = runs.manifest(work / runner)["counts"]
                table.add_row(
                    runner, f"{seconds:.0f}", f"{known.documents / seconds:,.0f}", f"{watch.cpu:.0f}",
                    f"{watch.memory.together / 1e9:.2f}", f"{counts['kept']:,}",
                )  # fmt: skip
                console.print(table)
        finally:
            cluster.down()
            embedded_postgres.stop()
    if any(found != digests[known.runners[0]] for found in digests.values()):
        console.print("WRONG: the runners write different bytes", style="red")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
