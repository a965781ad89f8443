"""datatrove's MinHash deduplication on a Parquet file with ``id`` and ``text``: prints the ids that it keeps, JSON.

Run by ``benchmarks.deduplication`` with the interpreter of an environment of its own; imports nothing of the project.

    python deduplication_peer.py INPUT_FOLDER WORK_FOLDER
"""

from __future__ import annotations

import json
import sys

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import ParquetReader


def main(source: str, work: str) -> None:
    """Its four stages, 14 buckets of 8 hashes of 5-grams of words."""
    kept: list[str] = []

    def collect(data, rank=0, world_size=1):
        for document in data:
            kept.append(document.id)
            yield document

    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    stages = [
        (1, [ParquetReader(source), MinhashDedupSignature(f"{work}/signatures", config=config)]),
        (14, [MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config)]),
        (1, [MinhashDedupCluster(f"{work}/buckets", f"{work}/remove", config=config)]),
        (1, [ParquetReader(source), MinhashDedupFilter(f"{work}/remove"), collect]),
    ]
    for number, (tasks, blocks) in enumerate(stages):
        LocalPipelineExecutor(blocks, tasks=tasks, workers=1, logging_dir=f"{work}/logs/{number}").run()
    print(json.dumps(kept))


if __name__ == "__main__":
    main(*sys.argv[1:])
