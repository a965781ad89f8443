"""Pass 2 over synthetic fingerprints on any runner: what it decided, how long it took, and the memory of it all."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from schemas.shards import Shard
from transforms.deduplication.deduplicate import Deduplicate, Deduplication, decisions, partitions_for, witnesses
from transforms.deduplication.stored_fingerprints import StoredFingerprints
from transforms.io.block_files import NOWHERE, BlockFiles


class Documents(Protocol):
    """What makes fingerprints."""

    @property
    def documents(self) -> int:
        """How many there are."""

    def write(self, folder: Path) -> list[Shard]:
        """Writes what isn't there yet."""


@dataclasses.dataclass
class Memory:
    """Bytes at the peak, looked at twice a second: of one process, and of all (PSS)."""

    main: int = 0
    together: int = 0


@dataclasses.dataclass(frozen=True)
class Measured:
    """One run of pass 2.

    Attributes:
      cpu: seconds of all processes.
      digest: of every decision and witness, by shard.
      dropped: number of documents.
    """

    seconds: float
    cpu: float
    memory: Memory
    digest: str
    dropped: int


def pss(process: int) -> int:
    """Bytes of memory of a process, shared pages of forked ones counted once; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def family(process: int) -> Iterator[int]:
    """A process and all below it."""
    yield process
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in children:
        yield from family(child)


def cpu_seconds(process: int) -> float:
    """Of a process that runs; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Looks at the memory and the CPU time of this process and of some others while it is entered.

    Attributes:
      cpu: seconds of all of them since it was entered, but for the last half second of those that have ended.
    """

    def __init__(self, others: Callable[[], Iterable[int]] = tuple) -> None:
        self.memory = Memory()
        self._cpu: dict[int, tuple[float, float]] = {}  # by process: at the first look and at the last
        self._others, self._stop = others, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            roots = [os.getpid(), *self._others()]
            every = {process for root in roots for process in family(root)}
            self._count(every, new=0.0)
            self.memory.main = max(self.memory.main, pss(os.getpid()))
            self.memory.together = max(self.memory.together, sum(map(pss, every)))

    def _count(self, processes: set[int], new: float | None) -> None:
        for process in processes:
            now = cpu_seconds(process)
            first, last = self._cpu.get(process, (now if new is None else new, 0.0))
            self._cpu[process] = first, max(last, now)

    @property
    def cpu(self) -> float:
        return sum(last - first for first, last in self._cpu.values())

    def __enter__(self) -> Watch:
        self._count({process for root in (os.getpid(), *self._others()) for process in family(root)}, new=None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def write_decided(item: tuple[int, Iterable[bytes]], folder: str) -> None:
    """A file a shard, the same however often a runner repeats it."""
    key, blocks = item
    blocks = list(blocks)
    path = Path(folder) / f"{key:020d}"
    work = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}")
    dropped = decisions(blocks)
    work.write_bytes(len(dropped).to_bytes(8, "little") + dropped.tobytes() + witnesses(blocks).tobytes())
    work.rename(path)


def measure(
    world: Documents,
    fingerprints: Path,
    output: Path,
    options: PipelineOptions,
    others: Callable[[], Iterable[int]] = tuple,
    files: BlockFiles = NOWHERE,
) -> Measured:
    """Runs pass 2 to its end."""
    output.mkdir(parents=True, exist_ok=True)
    shards = world.write(fingerprints)
    deduplication = Deduplication(partitions=partitions_for(world.documents))
    with Watch(others) as watch:
        started = time.perf_counter()
        with beam.Pipeline(options=options) as root:
            blocks = (
                root
                | beam.Create(shards)
                | beam.Reshuffle()
                | Deduplicate(StoredFingerprints.of(str(fingerprints)), deduplication, files)
            )
            _ = blocks | "ByShard" >> beam.GroupByKey() | "WriteDecided" >> beam.Map(write_decided, str(output))
        seconds = time.perf_counter() - started
    digest, dropped = hashlib.sha256(), 0
    for path in sorted(path for path in output.iterdir() if not path.suffix):
        content = path.read_bytes()
        digest.update(path.name.encode() + content)
        dropped += int.from_bytes(content[:8], "little")
    return Measured(seconds, watch.cpu, watch.memory, digest.hexdigest(), dropped)
