"""Planning an export of many documents: ``python -m tests.scale.export_plan 100000000``.

Token objects of synthetic documents, whose tokens aren't there (the plan doesn't read them): ids, lengths, languages,
cluster sizes. Says how long a plan with budgets takes, and the most memory that the process ever had.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_pipeline.export.plan import draft
from beam_pipeline.export.settings import ExportSettings
from schemas import columns
from schemas.run_layout import stable_hash
from schemas.shards import document_id
from tests import exports
from transforms.io.stage_objects import SETTINGS

DOCUMENTS_OF_OBJECT, ROW_GROUP = 250_000, 8_000
LANGUAGES = ["de", "en", "fr", "ru", "zh"]


def write_run(folder: Path, documents: int) -> Path:
    """A finished run of so many documents of 600 tokens on average."""
    exports.make_run(folder, [[1]], objects=1)
    shutil.rmtree(folder / "tokens")
    (folder / "tokens").mkdir()
    deciding = json.loads((folder / "plan.json").read_text())["deciding"]
    schema = columns.tokens(pa.uint16(), with_text=False)
    generator = np.random.default_rng(0)
    for number in range(-(-documents // DOCUMENTS_OF_OBJECT)):
        count = min(DOCUMENTS_OF_OBJECT, documents - number * DOCUMENTS_OF_OBJECT)
        values = {
            "input_ids": pa.ListArray.from_arrays(np.zeros(count + 1, np.int32), pa.array([], pa.uint16())),
            "n_tokens": generator.integers(1, 1200, count),
            "id": document_id(number, 0) + np.arange(count),
            "language": pa.DictionaryArray.from_arrays(
                pa.array(generator.integers(0, len(LANGUAGES), count, np.int32)), pa.array(LANGUAGES)
            ),
            "language_score": np.ones(count, np.float32),
            "cluster_size": generator.geometric(0.5, count),
            "source": pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([f"/s/{number}"])),
            "source_row": np.arange(count),
        }
        arrays = [
            value if isinstance(value, pa.Array) else pa.array(value).cast(schema.field(name).type)
            for name, value in values.items()
        ]
        table = pa.table(arrays, schema=schema.with_metadata({SETTINGS: stable_hash(deciding).encode()}))
        path = folder / "tokens" / f"{number:07d}-00000.parquet"
        pq.write_table(table, path, row_group_size=ROW_GROUP, compression="zstd", compression_level=1)
    return folder


def main() -> None:
    """Writes the run, plans, prints a line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("documents", type=int, nargs="?", default=100_000_000)
    documents = parser.parse_args().documents
    with tempfile.TemporaryDirectory() as work:
        run = write_run(Path(work) / "run", documents)
        groups = {"de": {"tokens": 40 * documents}, "en": {"tokens": 300 * documents}, "*": {"epochs": 1}}
        mixture = {"by": "language", "groups": groups, "cluster_size": {1: 1, 2: 2, 3: 3}}
        results = {}
        for name, settings in (("every document once", {}), ("budgets", {"mixture": mixture, "holdout": 0.001})):
            started, cpu = time.perf_counter(), time.process_time()
            drafted = draft(ExportSettings(run=[str(run)], output=f"{work}/out", format="megatron", **settings))
            results[name] = {
                "seconds": round(time.perf_counter() - started, 1),
                "cpu_seconds": round(time.process_time() - cpu, 1),
                "files": drafted.contents["files"],
                "pieces": len(drafted.pieces),
                "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        print(json.dumps({"documents": documents, **results}))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
