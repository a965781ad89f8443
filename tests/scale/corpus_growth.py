"""What it costs to add 1 % to a corpus of synthetic documents, beside the cost of removing the duplicates of all of it.

    python -m tests.scale.corpus_growth [DOCUMENTS ...]

Each step is a process of its own. Start-up isn't counted: the same step over few documents, done before, is taken from
its seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console
from rich.table import Table

from schemas.fingerprint_index import FingerprintIndex, IndexedRun, Segment, bits_for
from schemas.shards import Shard
from tests.scale.deduplication import Judge, resident
from tests.scale.synthetic import MINHASH, ROWS_PER_SHARD, World
from transforms.deduplication.deduplicate import Deduplicate, Deduplication, partitions_for
from transforms.deduplication.earlier_duplicates import EarlierDuplicates
from transforms.deduplication.index_kept import IndexKept
from transforms.deduplication.stored_fingerprints import Planned, StoredFingerprints, StoredRun, earlier_duplicates

ADDED = 100
"""One document is new for so many old ones."""
MOST_SHARE, MOST_MEMORY = 0.03, 4e9
Cost = dict[str, float]


class Growth:
    """A world whose last shards are new, in a folder.

    Args:
      folder: for everything; ``fingerprints`` below it is kept for the next time.
      documents: old ones.
    """

    def __init__(self, folder: Path, documents: int) -> None:
        self.world = World(documents + max(documents // ADDED, 1_000))
        self.folder, self.documents = folder, documents
        self.old = documents // ROWS_PER_SHARD
        self.options = Deduplication(partitions=partitions_for(documents))

    @property
    def index(self) -> FingerprintIndex:
        """As it is after the old documents."""
        return FingerprintIndex.decode((self.folder / "index.json").read_bytes(), str(self.folder / "index"))

    def shards(self) -> list[Shard]:
        return self.world.write(self.folder / "fingerprints")

    def dropped(self, name: str) -> np.ndarray:
        """Ids that a step has dropped."""
        found = [np.load(file)["document"] for file in sorted((self.folder / name).iterdir())]
        return np.concatenate([np.empty(0, np.uint64), *found])

    def deduplicate(self, name: str, stop: int | None) -> Cost:
        """Pass 2 over the first shards, or all."""
        (self.folder / name).mkdir(exist_ok=True)
        stored = StoredFingerprints.of(str(self.folder / "fingerprints"))

        def build(root: beam.Pipeline) -> None:
            found = root | beam.Create(self.shards()[:stop]) | Deduplicate(stored, self.options)
            _ = found | beam.ParDo(Judge(self.world, self.folder / name))

        return carried_out(build)

    def write_kept(self, name: str, first: int, stop: int | None) -> None:
        """What the index takes for the token objects of a run, by what a step has dropped."""
        (self.folder / "kept").mkdir(exist_ok=True)
        dropped = np.sort(self.dropped(name))
        for shard in self.shards()[first:stop]:
            bounds = np.searchsorted(dropped, np.array([shard.key, shard.key + shard.rows], np.uint64))
            gone = np.zeros(shard.rows, np.bool_)
            gone[(dropped[bounds[0] : bounds[1]] - np.uint64(shard.key)).astype(np.int64)] = True
            if (self.folder / "earlier").exists() and first:
                gone[earlier_duplicates(str(self.folder / "earlier"), shard)["row"]] = True
            table = pa.table({"outcome": pa.array(np.where(gone, "dropped", "kept")).dictionary_encode()})
            pq.write_table(table, self.folder / "kept" / f"{shard.name}.parquet")

    def add_to_index(self, run: int, first: int, stop: int | None) -> Cost:
        """IndexKept over some shards."""
        place = str(self.folder / "fingerprints")
        stored = StoredRun(place, kept_uri=str(self.folder / "kept"))
        shards = self.shards()[first:stop]
        index = self.index if run > 1 else FingerprintIndex(str(self.folder / "index"), {"signature_size": 256})
        rows = sum(shard.rows for shard in shards)
        segment = Segment(f"{run:06}", rows, bits_for(rows, MINHASH.bands))
        objects: list[tuple[int, Planned]] = [
            (number, (stored, shard.source, f"{place}/{shard.name}.parquet")) for number, shard in enumerate(shards)
        ]
        box = IndexKept(StoredFingerprints((stored,)), self.options, index, segment, run)
        cost = carried_out(lambda root: root | beam.Create(objects) | box)
        indexed = IndexedRun(run, "", first, len(shards), index.objects, len(shards), rows)
        grown = FingerprintIndex(index.uri, index.comparable, (*index.runs, indexed), (*index.segments, segment))
        (self.folder / "index.json").write_bytes(grown.encode())
        return cost

    def add(self) -> Cost:
        """The new documents against the index, and against each other."""
        for name in ("added", "earlier"):
            (self.folder / name).mkdir(exist_ok=True)
        earlier = str(self.folder / "earlier")
        own = StoredRun(str(self.folder / "fingerprints"), earlier_uri=earlier)
        stored, options = StoredFingerprints((own,)), Deduplication(partitions=8)

        def build(root: beam.Pipeline) -> None:
            shards = root | beam.Create(self.shards()[self.old :])
            rest = shards | EarlierDuplicates(earlier, stored, options, self.index)
            _ = rest | Deduplicate(stored, options) | beam.ParDo(Judge(self.world, self.folder / "added"))

        return carried_out(build)


def carried_out(build: Callable[[beam.Pipeline], object]) -> Cost:
    """Runs a pipeline in this process: seconds, CPU seconds and the peak of memory."""
    peak, stop = [resident(os.getpid())], threading.Event()

    def watch() -> None:
        while not stop.wait(1):
            peak[0] = max(peak[0], resident(os.getpid()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started, cpu = time.perf_counter(), time.process_time()
    with beam.Pipeline(options=PipelineOptions([], direct_running_mode="in_memory", direct_num_workers=1)) as root:
        build(root)
    cost = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    stop.set()
    watcher.join()
    return cost | {"memory": peak[0]}


def measured(step: str, folder: str, small: str, documents: int) -> Cost:
    """One step, in a process that has done it twice over a thousand documents; the second is its start-up."""

    def do(growth: Growth) -> Cost:
        old = growth.old or 1
        return {
            "all": lambda: growth.deduplicate("all", None),
            "old": lambda: growth.deduplicate("old", old),
            "index old": lambda: growth.add_to_index(1, 0, old),
            "add": growth.add,
            "index new": lambda: growth.add_to_index(2, old, None),
        }[step]()

    do(Growth(Path(small), ROWS_PER_SHARD))
    start_up = do(Growth(Path(small), ROWS_PER_SHARD))
    cost = do(Growth(Path(folder), documents))
    less = {name: max(0.0, cost[name] - start_up[name]) for name in ("seconds", "cpu")}
    return less | {"memory": cost["memory"], "start_up": start_up["seconds"]}


STEPS = ("all", "old", "index old", "add", "index new")


def faults(growth: Growth) -> list[str]:
    """What was decided otherwise than it should: pairs that are as good as certain, across old and new."""
    world, old, added = growth.world, growth.dropped("old"), growth.dropped("added")
    shards = growth.shards()
    of_earlier = [
        np.uint64(shard.key) + earlier_duplicates(str(growth.folder / "earlier"), shard)["row"].astype(np.uint64)
        for shard in shards[growth.old :]
    ]
    gone = np.concatenate([old, added, *of_earlier])
    ids = np.concatenate([np.arange(shard.rows, dtype=np.uint64) + np.uint64(shard.key) for shard in shards])
    kept = ids[~np.isin(ids, gone)]
    slots = world.slots(kept)
    copies = world.groups(slots)[world.kinds(slots) != 1]  # of pairs, many are rightly kept
    twice = len(copies) - len(np.unique(copies))
    wrong = [f"{len(gone) - len(np.unique(gone))} documents dropped twice"] if len(gone) != len(np.unique(gone)) else []
    alone = growth.dropped("all")
    if abs(len(gone) - len(alone)) > 0.001 * len(ids):
        wrong.append(f"{len(gone):,} dropped run by run, {len(alone):,} of all at once")
    if twice > 0.001 * len(ids):
        wrong.append(f"{twice:,} copies or members of clusters are kept beside another")
    return wrong


def main(arguments: list[str]) -> int:
    """Measures each size; returns the exit status."""
    console, wrong = Console(), []
    for documents in [int(argument) for argument in arguments] or [1_000_000, 10_000_000]:
        cache = Path(os.environ.get("SCALE_DIR", tempfile.gettempdir())) / "beam-pipeline-scale-growth"
        costs: dict[str, Cost] = {}
        with tempfile.TemporaryDirectory(dir=os.environ.get("SCALE_DIR")) as folder:
            places = [Path(folder, name) for name in ("large", "small")]
            for place, size in zip(places, (documents, ROWS_PER_SHARD), strict=True):
                place.mkdir()
                kept = cache / str(size)
                kept.mkdir(parents=True, exist_ok=True)
                (place / "fingerprints").symlink_to(kept)
                Growth(place, size).shards()
            for step in STEPS:
                for place, size in zip(places, (documents, ROWS_PER_SHARD), strict=True):
                    if step.startswith("index"):
                        old = Growth(place, size).old
                        which = ("added", old, None) if step == "index new" else ("old", 0, old)
                        Growth(place, size).write_kept(*which)
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    costs[step] = pool.apply(measured, (step, str(places[0]), str(places[1]), documents))
            wrong += faults(Growth(places[0], documents))
        table = Table(title=f"{documents:,} documents, and 1 % more", title_justify="left")
        for name in ("step", "seconds", "CPU s", "GB", "start-up s", "share of all, CPU"):
            table.add_column(name, justify="right")
        for step, cost in costs.items():
            table.add_row(
                step, f"{cost['seconds']:.2f}", f"{cost['cpu']:.2f}", f"{cost['memory'] / 1e9:.2f}",
                f"{cost['start_up']:.2f}", f"{cost['cpu'] / costs['all']['cpu']:.2%}",
            )  # fmt: skip
        console.print(table)
        share = costs["add"]["cpu"] / costs["all"]["cpu"]
        indexed = share * costs["all"]["cpu"] + costs["index new"]["cpu"]
        console.print(
            f"adding 1 % costs {share:.2%} of the CPU time of removing the duplicates of all; with indexing, "
            f"{indexed / (costs['all']['cpu'] + costs['index old']['cpu']):.2%} of that of removing and indexing all"
        )
        if documents >= 10_000_000 and share > MOST_SHARE:
            wrong.append(f"adding 1 % costs {share:.2%} of de-duplicating all, {MOST_SHARE:.0%} allowed")
        if costs["add"]["memory"] > MOST_MEMORY:
            wrong.append(f"{costs['add']['memory'] / 1e9:.1f} GB of memory, 4 allowed")
    for fault in wrong:
        console.print(f"WRONG: {fault}", style="red")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
