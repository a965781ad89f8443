"""Tokens a second and core of exports, beside what the machine allows and what peers do with the same tokens.

    python -m benchmarks.export [--input FOLDER] [--tokenizer FILE] [--megatron PYTHON] [--datatrove PYTHON]

FOLDER holds Parquet files of text; without it, text is generated. A run makes its tokens first, which isn't measured.
All figures are CPU seconds of one process, without imports and compilation, in turn, the best of three rounds:

- ours: choosing, shuffling, packing, copying, writing and the index of provenance; planning apart;
- the limit: decompressing the same token pages (Zstandard) and writing as many bytes, nothing else;
- peers: reading the same Parquet and writing it by their own writers (``benchmarks/export_peer.py``), unpacked.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_pipeline.export.plan import ExportPlan, make_plan
from beam_pipeline.export.settings import ExportSettings
from beam_pipeline.sample import tokenizer_path
from benchmarks import inputs
from tests import runs
from transforms.export.formats.base import Target
from transforms.export.plan_tables import read_files
from transforms.export.write_files import write_file
from transforms.io.token_lists import thrift_compact as thrift

ROUNDS = 3
CASES: dict[str, dict[str, Any]] = {
    "megatron": {"format": "megatron"},
    "mds, best-fit 4096": {"format": "mds", "packing": "best-fit", "sequence_length": 4096},
    "numpy": {"format": "numpy"},
    "arrow, concatenate 2048": {"format": "arrow", "packing": "concatenate", "sequence_length": 2048},
    "parquet": {"format": "parquet"},
}


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def limit(run: Path, out: Path) -> tuple[int, float]:
    """Tokens, and CPU seconds of decompressing their pages and of writing so many bytes."""
    pages, sizes, tokens = [], [], 0
    for path in sorted((run / "tokens").glob("*.parquet")):
        data, metadata = path.read_bytes(), pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            chunk = metadata.row_group(group).column(0)
            position = chunk.dictionary_page_offset or chunk.data_page_offset
            end = position + chunk.total_compressed_size
            while position < end:
                header, position = thrift.decode_from(data, position)
                size, compressed = header[2][1], header[3][1]
                pages.append(data[position : position + compressed])
                sizes.append(size)
                position += compressed
        table = pq.read_table(path, columns=["n_tokens"])
        tokens += int(table["n_tokens"].to_numpy().sum(dtype=np.int64))
    flat = np.zeros(tokens, np.uint16)
    codec = pa.Codec("zstd")

    def work() -> None:
        for page, size in zip(pages, sizes, strict=True):
            codec.decompress(page, size)
        Target(str(out)).write("limit", flat)

    return tokens, cpu(work)


def ours(plan: ExportPlan) -> float:
    """CPU seconds of writing all files of an export anew."""
    shutil.rmtree(Path(plan.output) / "provenance", ignore_errors=True)
    files = list(read_files(plan.stored))
    return cpu(lambda: [write_file(file, plan.options) for file in files])


def peer(python: Path, name: str, run: Path, out: Path) -> float:
    """CPU seconds of a peer."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    script = Path(__file__).with_name("export_peer.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), str(script), name, str(run / "tokens"), str(out)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m benchmarks.export", description=__doc__)
    parser.add_argument("--input", type=Path)
    parser.add_argument("--tokenizer", type=Path, default=tokenizer_path())
    parser.add_argument("--megatron", type=Path)
    parser.add_argument("--datatrove", type=Path)
    args = parser.parse_args()
    peers = {name: python for name in ("megatron", "datatrove") if (python := getattr(args, name))}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        source = args.input
        if source is None:
            source = work / "texts"
            inputs.generate(source, 60 << 20)
        run = work / "run"
        command = ["--input", source, "--output", run, "--tokenizer", args.tokenizer]
        subprocess.run(runs.command(*command), cwd=runs.ROOT, check=True, capture_output=True)
        plans, planning = {}, {}
        for name, settings in CASES.items():
            started = time.process_time()
            plans[name] = make_plan(ExportSettings(run=[str(run)], output=str(work / name), **settings))
            planning[name] = time.process_time() - started
            ours(plans[name])  # compiles
        seconds: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            tokens, spent = limit(run, work)
            seconds.setdefault("the limit", []).append(spent)
            for name, plan in plans.items():
                seconds.setdefault(name, []).append(ours(plan))
            for name, python in peers.items():
                seconds.setdefault(f"peer {name}", []).append(peer(python, name, run, work / "peer"))
    rates = {name: tokens / min(found) / 1e6 for name, found in seconds.items()}
    print(json.dumps({"tokens": tokens, "planning_cpu_seconds": planning}))
    for name, rate in rates.items():
        ratios = [f"{rates[CASE] / rate:.1f} times slower than megatron" for CASE in ("megatron",) if name != CASE]
        print(f"{name:<26}{rate:10.1f} M tokens/s a core  {'' if name.startswith('the') else ', '.join(ratios)}")


if __name__ == "__main__":
    main()
