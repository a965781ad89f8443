"""Pass 2 alone over millions of synthetic fingerprints: time, memory, shuffle bytes and what it found.

python -m tests.scale.deduplication [DOCUMENTS ...]
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console
from rich.table import Table

from tests.scale.synthetic import ALONE, COPY, MEMBER, MINHASH, PAIR, SIMILARITIES, World
from transforms.deduplication.deduplicate import Deduplicate, Deduplication, decisions, partitions_for
from transforms.deduplication.stored_fingerprints import StoredFingerprints
from transforms.kernels.deduplication.fingerprinting import s_curve, verification_curve


class Judge(beam.DoFn):
    """Counts what was decided, by what was planted."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder

    def process(self, keyed: tuple[int, bytes]) -> list[None]:
        """Writes the dropped documents of a block: outputs leave workers that way."""
        dropped = decisions([keyed[1]])
        if len(dropped):
            np.save(self._folder / f"{keyed[0]}-{time.monotonic_ns()}.npy", dropped)
        return []


def resident(process: int) -> int:
    """Bytes of memory of a process and all below it, shared pages of forked ones counted once (PSS)."""
    total, todo = 0, [process]
    while todo:
        number = todo.pop()
        try:
            smaps = Path(f"/proc/{number}/smaps_rollup").read_text()
            todo += [
                int(child)
                for task in Path(f"/proc/{number}/task").iterdir()
                for child in (task / "children").read_text().split()
            ]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has just ended
        total += sum(int(line.split()[1]) for line in smaps.splitlines() if line.startswith("Pss:")) * 1024
    return total


def deduplicate(documents: int, folder: str, output: str, workers: int) -> dict[str, Any]:
    """One measured run of pass 2 in this process."""
    world = World(documents)
    shards = world.write(Path(folder))
    peak, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            peak[0] = max(peak[0], resident(os.getpid()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    options = Deduplication(partitions=partitions_for(documents))
    mode = "in_memory" if workers == 1 else "multi_threading"
    started, cpu = time.perf_counter(), time.process_time()
    pipeline = beam.Pipeline(options=PipelineOptions([], direct_running_mode=mode, direct_num_workers=workers))
    blocks = pipeline | beam.Create(shards) | Deduplicate(StoredFingerprints.of(folder), options)
    blocks | beam.ParDo(Judge(world, Path(output)))
    result = pipeline.run()
    result.wait_until_finish()
    seconds = time.perf_counter() - started
    stop.set()
    watcher.join()
    counters: dict[str, int] = {}
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == "deduplicate":
            name = counter.key.metric.name
            counters[name] = counters.get(name, 0) + counter.committed
    return {
        "documents": documents, "seconds": seconds, "cpu_seconds": time.process_time() - cpu, "memory": peak[0],
        "counters": counters, "found": judge(world, Path(output)),
    }  # fmt: skip


def judge(world: World, folder: Path) -> dict[str, Any]:
    """What was dropped, by what was planted."""
    dropped = np.concatenate([np.load(file) for file in sorted(folder.iterdir())])
    slots, witnesses = world.slots(dropped["document"]), world.slots(dropped["witness"])
    groups, kinds = world.groups(slots), world.kinds(slots)
    pairs = np.unique(groups[kinds == PAIR])
    first, last = world.bounds[0], world.bounds[1]
    every = np.arange(first, last, 2) // 2 % len(SIMILARITIES)
    found = pairs // 2 % len(SIMILARITIES)
    return {
        "twice": int(len(dropped) - len(np.unique(dropped["document"]))),
        "strangers": int((groups != world.groups(witnesses)).sum()),
        "witness_dropped": int(np.isin(dropped["witness"], dropped["document"]).sum()),
        "copies": int(((kinds == COPY) | (kinds == ALONE)).sum()),
        "planted_copies": int(first),
        "members": int((kinds == MEMBER).sum()),
        "planted_members": int((world.bounds[2] - last) // 10 * 9),
        "pairs": {
            str(similarity): [int((found == level).sum()), int((every == level).sum())]
            for level, similarity in enumerate(SIMILARITIES)
        },
    }


def faults(result: dict[str, Any], limits: bool) -> list[str]:
    """What isn't as it should be."""
    found, documents = result["found"], result["documents"]
    wrong = [f"{found[name]} documents: {name}" for name in ("twice", "strangers", "witness_dropped") if found[name]]
    if found["copies"] != found["planted_copies"]:
        wrong.append(f"{found['copies']} copies dropped, {found['planted_copies']} planted")
    for similarity, (dropped, planted) in found["pairs"].items():
        expected = expected_share(float(similarity))
        if abs(dropped / planted - expected) > 5 * (expected * (1 - expected) / planted) ** 0.5 + 1e-9:
            wrong.append(f"pairs at {similarity}: {dropped / planted:.3%} found, {expected:.3%} expected")
    if found["members"] < 0.99 * found["planted_members"]:
        wrong.append(f"{found['members']} of {found['planted_members']} members of clusters dropped")
    if limits:
        if result["memory"] > 8e9:
            wrong.append(f"{result['memory'] / 1e9:.1f} GB of memory, 8 allowed")
        if documents / result["seconds"] < 100_000:
            wrong.append(f"{documents / result['seconds']:,.0f} documents/s, 100,000 wanted")
        if result["counters"]["shuffled_bytes"] / documents > 350:
            wrong.append(
                f"{result['counters']['shuffled_bytes'] / documents:.0f} shuffle bytes a document, 350 allowed"
            )
    return wrong


def expected_share(similarity: float) -> float:
    """Of pairs at this similarity, those found and verified (``--explain-dedup``)."""
    return float(s_curve(MINHASH, similarity)) * verification_curve(MINHASH, 0.8, similarity)


def main(arguments: list[str]) -> int:
    """Measures each size in a process of its own; returns the exit status."""
    console = Console()
    sizes = [int(argument) for argument in arguments] or [1_000_000, 10_000_000]
    table = Table(title="pass 2 over synthetic fingerprints", title_justify="left")
    for name in ("documents", "seconds", "documents/s", "CPU s", "GB, all processes", "shuffle bytes/document"):
        table.add_column(name, justify="right")
    wrong: list[str] = []
    results = []
    workers = 1  # more make copies between them, which cost more than a second core brings
    cache = Path(os.environ.get("SCALE_DIR", tempfile.gettempdir())) / "beam-pipeline-scale"
    for documents in sizes:
        folder = cache / str(documents)
        World(documents).write(folder)
        with tempfile.TemporaryDirectory() as output, multiprocessing.get_context("spawn").Pool(1) as pool:
            result = pool.apply(deduplicate, (documents, str(folder), output, workers))
        results.append(result)
        rate, shuffled = documents / result["seconds"], result["counters"]["shuffled_bytes"] / documents
        table.add_row(
            f"{documents:,}", f"{result['seconds']:.1f}", f"{rate:,.0f}", f"{result['cpu_seconds']:.1f}",
            f"{result['memory'] / 1e9:.2f}", f"{shuffled:.0f}",
        )  # fmt: skip
        wrong += faults(result, limits=documents >= 10_000_000)
    console.print(table)
    shares = Table(title=f"planted pairs dropped, {results[-1]['documents']:,} documents", title_justify="left")
    for name in ("similarity", "pairs", "dropped", "expected"):
        shares.add_column(name, justify="right")
    for similarity, (dropped, planted) in results[-1]["found"]["pairs"].items():
        expected = expected_share(float(similarity))
        shares.add_row(similarity, f"{planted:,}", f"{dropped / planted:.3%}", f"{expected:.3%}")
    console.print(shares)
    console.print(json.dumps(results[-1]["found"] | {"counters": results[-1]["counters"]}), highlight=False)
    for before, after in itertools.pairwise(results):
        growth = after["seconds"] / before["seconds"]
        console.print(
            f"{after['documents'] / before['documents']:.0f} times the documents, {growth:.1f} times the time"
        )
        if growth > 1.2 * after["documents"] / before["documents"]:
            wrong.append(f"from {before['documents']:,} to {after['documents']:,} the time grows {growth:.1f}-fold")
    for fault in wrong:
        console.print(f"WRONG: {fault}", style="red")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
