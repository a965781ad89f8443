"""Many sources, and large ones, in a store: planning, requests and bytes. Minutes: ``make test-s3`` runs it."""

from __future__ import annotations

import concurrent.futures
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import runs
from tests.s3_store import MODEL, TOKENIZER, Store, store_in

SOURCES = 20_000
ROW_GROUPS, ROWS = 6, 1500

PLANNING = """
import json, resource, sys, time
import apache_beam as beam
from beam_pipeline import plan, settings
from beam_pipeline.options import beam_options
from transforms.list_sources import ListSources
from transforms.split_shards import SplitShards

if __name__ == "__main__":
    given = settings.Settings(**json.loads(sys.argv[1]))
    started = time.perf_counter()
    made = plan.make_plan(given, "")
    listed = time.perf_counter()
    with beam.Pipeline(options=beam_options([])) as root:
        split = root | ListSources(made.layout.sources) | SplitShards(given.reading())
        split.shards | beam.combiners.Count.Globally() | beam.Map(lambda count: print("shards", count))
    done = time.perf_counter()
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"sources": made.sources, "listed": listed - started, "split": done - listed, "peaks": peaks}))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A few Parquet files of several MB: texts of random words, which compress little, and a column not needed."""
    folder = tmp_path_factory.mktemp("large")
    chance = random.Random(3)
    for number in range(2):
        texts = [" ".join(f"{chance.getrandbits(48):x}" for _ in range(200)) for _ in range(ROW_GROUPS * ROWS)]
        other = [chance.randbytes(1000) for _ in texts]
        pq.write_table(
            pa.table({"id": [f"{number}/{row}" for row in range(len(texts))], "text": texts, "other": other}),
            folder / f"part-{number}.parquet", row_group_size=ROWS,
        )  # fmt: skip
    with store_in(tmp_path_factory.mktemp("store")) as store:
        store.fill(folder, config="shard_bytes: 8MiB\n")
        yield store


def test_few_requests_and_hardly_a_byte_too_many(store: Store) -> None:
    store.proxy.requests.clear()
    store.run("large", "--partitions", 8)
    requests = list(store.proxy.requests)
    steps = store.manifest("large")["steps"]
    needed = 0
    for number in range(2):
        file = Path(store.server.folder / "data" / "in" / f"part-{number}.parquet")
        metadata = pq.ParquetFile(file).metadata
        for group in range(metadata.num_row_groups):
            needed += sum(metadata.row_group(group).column(column).total_compressed_size for column in (0, 1))
    for name in ("ReadDocuments", "ReadKept"):
        assert steps[name]["get"] <= 3 * 2 * ROW_GROUPS, name
        assert needed <= steps[name]["bytes_read"] <= 1.05 * needed, name
    sources = [request for request in requests if request.path.startswith("/data/in/part-")]
    counted = [steps[name] for name in ("SplitShards", "ReadDocuments", "ReadKept", "AuditDuplicates")]
    assert sum(request.sent for request in sources) == sum(step.get("bytes_read", 0) for step in counted)
    shards = len(store.keys("out", "large/tokens/"))
    assert shards >= 4
    for name in ("fingerprints", "tokens"):
        puts = [r for r in requests if r.method in ("PUT", "POST") and r.path.startswith(f"/out/large/{name}/")]
        assert len(puts) <= 2 * shards


def test_twenty_thousand_sources_are_planned_in_a_minute(store: Store, tmp_path: Path) -> None:
    def put(number: int) -> None:
        line = json.dumps({"text": f"Document {number} is about the number {number * number}."}).encode()
        store.put("data", f"many/{number % 100:02}/{number}.jsonl", line)

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(put, range(SOURCES)))
    script = tmp_path / "planning.py"
    script.write_text(PLANNING)
    given = {
        "input": ["s3://data/many/"], "output": "s3://out/many", "tokenizer": TOKENIZER, "language_model": MODEL
    }  # fmt: skip
    environment = store.environment | {"AWS_ENDPOINT_URL": store.server.endpoint, "PYTHONPATH": str(runs.ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(given)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert "shards 1\n" in done.stdout  # of a MB in all, packed
    assert figures["sources"] == SOURCES
    assert figures["listed"] + figures["split"] < 60, figures
    assert max(figures["peaks"]) < 700, "MiB"
