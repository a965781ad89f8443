"""CheckRoom: whether Beam's local runner has room on this machine for pass 2, asked when the documents are counted."""

from __future__ import annotations

import dataclasses
import shutil

import apache_beam as beam
import psutil  # type: ignore[import-untyped]

from schemas.errors import ToldError
from schemas.shards import Shard
from transforms.io.block_files import BlockFiles

DISK_BYTES = 350
"""A document's in the files: 276 on synthetic documents with 14 bands (docs/deduplication.md), and some to spare."""
EXACT_DISK_BYTES = 100
"""The same where only exact copies are looked for: 24 for its hash, and what is sent of a copy."""
MEMORY_BYTES = 150
"""A document's in the main process, which holds what goes from pass 2 to pass 3, for a moment twice."""
GB = 10**9


class NotEnoughRoom(ToldError):
    """Pass 2 would end for want of disk or memory; it wasn't begun."""


def check_room(documents: int, folder: str, free_disk: int, free_memory: int, near_duplicates: bool = True) -> None:
    """Compares what is needed with what there is.

    Raises:
      NotEnoughRoom: it isn't enough; one sentence with both figures and what to do.
    """
    missing = [
        f"{documents * each / GB:.1f} GB of {what}, of which {free / GB:.1f} GB are free"
        for each, free, what in (
            (
                DISK_BYTES if near_duplicates else EXACT_DISK_BYTES,
                free_disk,
                f"disk in {folder} (TMPDIR names another place)",
            ),
            (MEMORY_BYTES, free_memory, "memory"),
        )
        if documents * each > free
    ]
    if missing:
        raise NotEnoughRoom(
            f"{documents:,} documents need {', and '.join(missing)}, to find their duplicates on one machine: "
            "make room and run the same command again, or go on with --runner local-flink (docs/flink.md); "
            "what is fingerprinted is kept"
        )


def _check(documents: int, files: BlockFiles, near_duplicates: bool) -> int:
    free = shutil.disk_usage(files.folder).free, psutil.virtual_memory().available
    check_room(documents, files.folder, *free, near_duplicates)
    return documents


def _rows(shard: Shard) -> int:
    return max(0, shard.rows)


@dataclasses.dataclass
class CheckRoom(beam.PTransform):
    """From ``Shard``: the same, once all are there and there is room for what comes.

    A side input holds them back until then. Only the local runner gets one, as Flink can't checkpoint those: where
    blocks lie in no files, nothing is checked.
    """

    files: BlockFiles
    near_duplicates: bool = True

    def expand(self, shards: beam.PCollection[Shard]) -> beam.PCollection[Shard]:
        """Adds up the rows, compares, lets pass."""
        if not self.files.folder:
            return shards
        documents = shards | "Rows" >> beam.Map(_rows) | "Add" >> beam.CombineGlobally(sum)
        checked = documents | "Check" >> beam.Map(_check, self.files, self.near_duplicates)
        return shards | "Pass" >> beam.Map(lambda shard, _: shard, beam.pvalue.AsSingleton(checked))
