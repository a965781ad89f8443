"""Works through mutants of one file: ``python -m tests.fuzz.child FOLDER NAME FIRST LAST``.

The number of the mutant at work stands in FOLDER/progress (three int64: it, results, reasons), so that whoever started
this process knows which one has killed it.
"""

from __future__ import annotations

import mmap
import resource
import struct
import sys
import traceback
from pathlib import Path

from schemas.shards import Source
from tests.fuzz.mutants import FILES, hot_spots, mutant
from transforms.io import storage
from transforms.io.readers import ReadOptions, UnreadableSource, read, split

MEMORY_BYTES = 8 << 30
OPTIONS = ReadOptions()


def outcome(source: Source) -> str:
    """Reads a source as a run does: why it is unreadable, or nothing."""
    rows = 0
    shards = split(source, OPTIONS)
    for shard in shards:
        if shard.error:
            return shard.error
        try:
            for batch in read(shard, OPTIONS, warn=str):
                batch.validate(full=True)
                if batch["row"].to_pylist() != list(range(rows, rows + batch.num_rows)):
                    raise AssertionError(f"rows {batch['row']} after {rows}")
                rows += batch.num_rows
        except UnreadableSource as unreadable:
            return unreadable.reason
    if any(shard.rows >= 0 for shard in shards) and rows != sum(shard.rows for shard in shards):
        raise AssertionError(f"{rows} rows, but {shards}")
    return ""


def main(folder: Path, name: str, first: int, last: int) -> int:
    """0 if all is well; 1 with the traceback if anything but a reason was raised."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    data = FILES[name]()
    spots = hot_spots(data)
    path = folder / f"mutant-{name}"
    with (folder / "progress").open("r+b") as file, mmap.mmap(file.fileno(), 24) as progress:
        results, reasons = struct.unpack_from("<qq", progress, 8)
        for number in range(first, last):
            struct.pack_into("<qqq", progress, 0, number, results, reasons)
            path.write_bytes(mutant(data, spots, name, number))
            info = storage.stat(str(path))
            assert info is not None
            try:
                reason = outcome(Source(0, info.uri, info.etag, info.size))
            except BaseException:  # noqa: BLE001 - whatever it is, it's a finding
                traceback.print_exc()
                return 1
            results, reasons = results + (not reason), reasons + bool(reason)
        struct.pack_into("<qqq", progress, 0, last, results, reasons)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
