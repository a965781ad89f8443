"""Pass 2 alone on DirectRunner and on a Flink cluster of this machine: same bytes, time, memory.

    python -m tests.scale.pass2 [--documents N ...] [--runners direct batch streaming] [--world SHAPE] [--kill N]

Fingerprints are made once, in SCALE_DIR (the temporary folder): 400 bytes a document.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console
from rich.table import Table

from beam_pipeline.options import beam_options
from beam_pipeline.scratch import block_files
from runners import flink
from runners.flink_local import Cluster
from schemas.columns import fingerprints
from tests.scale.measured import Documents, Measured, measure
from tests.scale.shapes import one_bucket, one_full_partition, one_text
from tests.scale.synthetic import MINHASH, World
from transforms.deduplication.deduplicate import partitions_for

WORKERS = 2
MOST_MEMORY = 8e9
"""Bytes of all processes together."""
LAYOUT = f"{zlib.crc32(str(fingerprints(MINHASH.bands, MINHASH.signature_size)).encode()):08x}"
"""Of fingerprints: what was written for another one is of no use."""
WORLDS: dict[str, Callable[[int], Documents]] = {
    "planted": World,
    "one-text": one_text,
    "one-bucket": one_bucket,
    "template": lambda documents: one_bucket(documents, 14),
    "one-partition": lambda documents: one_full_partition(documents, partitions_for(documents)),
}


def write_world(name: str, documents: int, folder: Path) -> None:
    """Writes what isn't there yet of a world's fingerprints."""
    WORLDS[name](documents).write(folder)


def direct(world: Documents, stored: Path, output: Path) -> Measured:
    """On the local runner, in processes."""
    options = beam_options([f"--direct_num_workers={WORKERS}"])
    with block_files(options) as files:
        return measure(world, stored, output, options, files=files)


def on_flink(world: Documents, stored: Path, output: Path, cluster: Cluster, mode: str, flags: list[str]) -> Measured:
    """On a cluster, in batch or streaming mode."""
    given = ["--runner", "FlinkRunner", "--flink_master", cluster.rest_address]
    given += ["--environment_config", cluster.environment_config, *flags]
    given.append("--streaming" if mode == "streaming" else "--no-streaming")
    options = PipelineOptions(flink.with_defaults(given))
    return measure(world, stored, output, options, lambda: filter(None, map(cluster.pid, cluster.names())))


@contextlib.contextmanager
def killed(cluster: Cluster, after: float) -> Iterator[None]:
    """Kills a TaskManager after so many seconds, and brings it back.

    Raises:
      RuntimeError: the job was done before, or Flink didn't have to begin again.
    """

    def strike() -> None:
        process = cluster.pid("taskmanager-1")
        if process:
            os.killpg(process, signal.SIGKILL)
            while cluster.is_running("taskmanager-1"):
                time.sleep(0.1)
            cluster.up()

    timer = threading.Timer(after, strike)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
    job = max(cluster.ask("/jobs/overview")["jobs"], key=lambda found: found["start-time"])["jid"]
    [metric] = cluster.ask(f"/jobs/{job}/metrics?get=numRestarts")
    if not int(metric["value"]):
        raise RuntimeError("the TaskManager was killed too late: nothing had to begin again")


@dataclasses.dataclass
class Report:
    """What was measured, a row a run, and what isn't as promised."""

    table: Table = dataclasses.field(default_factory=lambda: Table(title="pass 2 alone", title_justify="left"))
    wrong: list[str] = dataclasses.field(default_factory=list)
    found: dict[tuple[str, int], Measured] = dataclasses.field(default_factory=dict)

    def add(self, console: Console, name: str, documents: int, measured: Measured) -> None:
        """Says it at once, too: a run takes minutes."""
        self.found[name, documents] = measured
        if not self.table.columns:
            for column in ("documents", "runner", "seconds", "documents/s", "CPU s", "GB, all", "MB, main", "digest"):
                self.table.add_column(column, justify="right")
        memory = measured.memory
        row = (
            f"{documents:,}", name, f"{measured.seconds:.1f}", f"{documents / measured.seconds:,.0f}",
            f"{measured.cpu:.0f}", f"{memory.together / 1e9:.2f}", f"{memory.main / 1e6:.0f}", measured.digest[:8],
        )  # fmt: skip
        console.print(*row)
        self.table.add_row(*row)

    def judge(self) -> None:
        """Holds it against what is promised."""
        for (name, documents), measured in self.found.items():
            direct = self.found.get(("direct", documents))
            if direct and measured.digest != direct.digest:
                self.wrong.append(f"{name}, {documents:,}: decides otherwise than DirectRunner")
            if measured.memory.together > MOST_MEMORY:
                self.wrong.append(f"{name}, {documents:,}: {measured.memory.together / 1e9:.1f} GB")
            if name == "direct" and measured.memory.main > 350 * documents + 400e6:
                self.wrong.append(f"direct, {documents:,}: {measured.memory.main / 1e6:.0f} MB in the main process")
            large = documents >= 10_000_000 and "killed" not in name
            if direct and large and measured.seconds > 2 * direct.seconds:
                self.wrong.append(f"{name}, {documents:,}: less than half of DirectRunner's documents/s")
            for (other, fewer), before in self.found.items():
                times = documents / fewer
                if other == name and large and times > 1 and measured.seconds > 1.2 * times * before.seconds:
                    self.wrong.append(f"{name}: {times:.0f} times the documents take more than {1.2 * times:.0f} times")


def main(arguments: list[str]) -> int:
    """Measures each size on each runner; returns the exit status."""
    parser = argparse.ArgumentParser("python -m tests.scale.pass2", description=__doc__)
    parser.add_argument("--documents", type=int, nargs="+", default=[2_000_000, 20_000_000])
    parser.add_argument("--world", choices=WORLDS, default="planted", help="what shape the duplicates have")
    parser.add_argument("--runners", nargs="+", default=["direct", "batch", "streaming"])
    parser.add_argument("--kill", type=int, default=0, help="so many documents: a TaskManager is killed in the middle")
    parser.add_argument("--cluster", type=Path, help="folder of a cluster that runs; by default one is brought up")
    known, flags = parser.parse_known_args(arguments)
    console = Console(width=130)
    cache = Path(os.environ.get("SCALE_DIR", tempfile.gettempdir())) / "beam-pipeline-scale"
    report = Report()
    with tempfile.TemporaryDirectory(prefix="pass2-") as work, contextlib.ExitStack() as stack:
        cluster = Cluster.at(known.cluster or Path(work) / "flink")
        if not known.cluster and set(known.runners) != {"direct"}:
            cluster.up()
            stack.callback(cluster.down)
        for documents in known.documents:
            world = WORLDS[known.world](documents)
            stored = cache / f"{known.world}-{documents}-{LAYOUT}"
            with multiprocessing.get_context("spawn").Pool(1) as pool:  # what it holds isn't pass 2's
                pool.apply(write_world, (known.world, documents, stored))
            for runner in known.runners:
                output = Path(work) / f"{documents}-{runner}"
                if runner == "direct":
                    report.add(console, runner, documents, direct(world, stored, output))
                    continue
                measured = on_flink(world, stored, output, cluster, runner, flags)
                report.add(console, runner, documents, measured)
                if documents == known.kill:
                    with killed(cluster, measured.seconds / 2):
                        again = on_flink(world, stored, Path(f"{output}-killed"), cluster, runner, flags)
                    report.add(console, f"{runner}, killed", documents, again)
    report.judge()
    console.print(report.table)
    for fault in report.wrong:
        console.print(f"WRONG: {fault}", style="red")
    return bool(report.wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
