"""Pass 2 alone on DirectRunner and on a Flink cluster of this machine: same bytes, time, memory.

    python -m tests.scale.pass2 [--documents N ...] [--runners direct batch streaming] [--kill]

Fingerprints are made once, in SCALE_DIR (the temporary folder): 400 bytes a document.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console
from rich.table import Table

from beam_pipeline.options import beam_options
from beam_pipeline.scratch import block_files
from runners import flink
from runners.flink_local import Cluster
from tests.scale.measured import Documents, Measured, measure
from tests.scale.shapes import one_bucket, one_full_partition, one_text
from tests.scale.synthetic import World
from transforms.deduplicate import partitions_for

WORKERS = 2
WORLDS: dict[str, Callable[[int], Documents]] = {
    "planted": World,
    "one-text": one_text,
    "one-bucket": one_bucket,
    "template": lambda documents: one_bucket(documents, 14),
    "one-partition": lambda documents: one_full_partition(documents, partitions_for(documents)),
}


def direct(world: Documents, fingerprints: Path, output: Path) -> Measured:
    """On the local runner, in processes."""
    options = beam_options([f"--direct_num_workers={WORKERS}"])
    with block_files(options) as files:
        return measure(world, fingerprints, output, options, files=files)


def on_flink(
    world: Documents, fingerprints: Path, output: Path, cluster: Cluster, mode: str, flags: list[str]
) -> Measured:
    """On a cluster, in batch or streaming mode."""
    given = ["--runner", "FlinkRunner", "--flink_master", cluster.rest_address]
    given += ["--environment_config", cluster.environment_config, *flags]
    given.append("--streaming" if mode == "streaming" else "--no-streaming")
    options = PipelineOptions(flink.with_defaults(given))
    return measure(world, fingerprints, output, options, lambda: filter(None, map(cluster.pid, cluster.names())))


def kill_in_the_middle(cluster: Cluster, seconds: float) -> None:
    """Kills a TaskManager after so many seconds, and brings it back."""

    def strike() -> None:
        time.sleep(seconds)
        process = cluster.pid("taskmanager-1")
        if process:
            os.killpg(process, signal.SIGKILL)
            time.sleep(1)
            cluster.up()

    threading.Thread(target=strike, daemon=True).start()


def main(arguments: list[str]) -> int:
    """Measures each size on each runner; returns the exit status."""
    parser = argparse.ArgumentParser("python -m tests.scale.pass2", description=__doc__)
    parser.add_argument("--documents", type=int, nargs="+", default=[2_000_000, 20_000_000])
    parser.add_argument("--world", choices=WORLDS, default="planted", help="what shape the duplicates have")
    parser.add_argument("--runners", nargs="+", default=["direct", "batch", "streaming"])
    parser.add_argument("--kill", action="store_true", help="kill a TaskManager in the middle of each run on Flink")
    parser.add_argument("--cluster", type=Path, help="folder of a cluster that runs; by default one is brought up")
    known, flags = parser.parse_known_args(arguments)
    console = Console(width=130)
    cache = Path(os.environ.get("SCALE_DIR", tempfile.gettempdir())) / "beam-pipeline-scale"
    table = Table(title="pass 2 over synthetic fingerprints", title_justify="left")
    for name in ("documents", "runner", "seconds", "documents/s", "GB, all processes", "B a document, main", "digest"):
        table.add_column(name, justify="right")
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="pass2-") as work:
        cluster = Cluster.at(known.cluster or Path(work) / "flink")
        on_cluster = [runner for runner in known.runners if runner != "direct"]
        if on_cluster and not known.cluster:
            cluster.up()
        try:
            for documents in known.documents:
                world = WORLDS[known.world](documents)
                folder = cache / (str(documents) if known.world == "planted" else f"{known.world}-{documents}")
                world.write(folder)
                digests = set()
                for runner in known.runners:
                    output = Path(work) / f"{documents}-{runner}"
                    if runner == "direct":
                        found = direct(world, folder, output)
                    else:
                        if known.kill:
                            kill_in_the_middle(cluster, documents / 200_000)
                        found = on_flink(world, folder, output, cluster, runner, flags)
                    digests.add(found.digest)
                    row = (
                        f"{documents:,}", runner, f"{found.seconds:.1f}", f"{documents / found.seconds:,.0f}",
                        f"{found.memory.together / 1e9:.2f}", f"{found.memory.main / documents:.0f}", found.digest[:8],
                    )  # fmt: skip
                    console.print(*row)
                    table.add_row(*row)
                if len(digests) > 1:
                    wrong.append(f"{documents} documents: the runners decide differently")
        finally:
            if on_cluster and not known.cluster:
                cluster.down()
    console.print(table)
    for fault in wrong:
        console.print(f"WRONG: {fault}", style="red")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
