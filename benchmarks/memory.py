"""Memory of a worker over a long input: both text passes on shard after shard, in one process that lives on.

    python -m benchmarks.memory [--input FOLDER] [--tokenizer FILE] [--mb N] [--json FILE]

Every 200 MB are another copy of the input, a tenth of whose documents have their letters exchanged, otherwise in each
copy: words that no cache has seen come on and on, more of them than in natural text. The boxes of the text passes do
the work as a worker calls them, but there is no runner: what DirectRunner keeps of its shuffles, 300 bytes a document,
isn't a worker's. Copies are made by a process of their own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import string
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from rich.console import Console

from beam_pipeline.sample import tokenizer_path
from benchmarks import inputs
from schemas import columns
from schemas.shards import Source
from transforms.fingerprint import fingerprint_batch
from transforms.io import storage
from transforms.io.readers import ReadOptions, split
from transforms.io.stage_objects import StageObjects
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.language import identification as language
from transforms.kernels.text.normalization import DEFAULT
from transforms.kernels.tokenization.tokenizer import Tokenizer
from transforms.normalize import normalize_batch
from transforms.read_documents import read_shard
from transforms.tokenize import sample_of

HOUR_GB = 100  # what a core reads in an hour at 27 MB/s
EXCHANGED = 10  # one document in so many has its letters exchanged


class Sample(NamedTuple):
    """Resident bytes of the worker when it had read so much text."""

    text_bytes: int
    resident: int


def write_copy(source: Path | None, size: int, number: int, file: Path) -> None:
    """Writes copy ``number`` of the documents of ``source``, or of generated ones, about ``size`` bytes."""
    if source is None:
        inputs.generate(file.parent / "generated", size, files=1, seed=number)
        source = file.parent / "generated"
    table = inputs.evenly_spread(inputs.read(source), size)
    chance = random.Random(number)
    letters = list(string.ascii_lowercase)
    chance.shuffle(letters)
    exchange = str.maketrans(string.ascii_lowercase, "".join(letters))
    texts = table["text"].to_pylist()
    for row in range(number % EXCHANGED, len(texts), EXCHANGED):
        texts[row] = texts[row].translate(exchange)
    inputs.write(pa.table({"id": table["id"], "text": pa.array(texts, pa.string())}), file)


class Worker:
    """What a worker has for as long as it lives."""

    def __init__(self, tokenizer: Path, output: Path) -> None:
        self._model = language.load(language.default_model_path())
        self._tokenizer = Tokenizer.from_json(tokenizer.read_bytes())
        self._output = output
        self._text_bytes = 0
        self.samples: list[Sample] = []

    def work(self, file: Path) -> None:
        """Both passes over the shards of a file."""
        info = storage.stat(str(file))
        assert info is not None
        for shard in split(Source(0, info.uri, info.etag, info.size), ReadOptions()):
            minhash = MinHash()
            schema = columns.fingerprints(minhash.bands, minhash.signature_size)
            prints = StageObjects(str(self._output / "fingerprints"), "").open(shard, schema)
            for batch in read_shard(shard, ReadOptions()):
                clean = normalize_batch(batch, DEFAULT)
                labels, scores = self._model.identify(clean.data["text"])
                found = fingerprint_batch(clean.with_columns(language=labels, language_score=scores), minhash)
                prints.write(pa.RecordBatch.from_arrays(found.data.columns, schema=schema))
                self._sample(0)
            prints.commit()
            schema = pa.schema([("row", pa.uint32()), ("input_ids", pa.list_(self._tokenizer.id_type))])
            tokens = StageObjects(str(self._output / "tokens"), "").open(shard, schema, lists="input_ids")
            for batch in read_shard(shard, ReadOptions()):
                text = normalize_batch(batch, DEFAULT).data["text"]
                if batch.index == 0:
                    self._tokenizer.calibrate(sample_of(text))
                ids = self._tokenizer.encode(text)
                tokens.write(pa.RecordBatch.from_arrays([batch.data["row"], ids], schema=schema))
                self._sample(batch.data["text"].nbytes)
            tokens.commit()

    def _sample(self, text_bytes: int) -> None:
        self._text_bytes += text_bytes
        status = Path("/proc/self/smaps_rollup").read_text().splitlines()
        [resident] = [int(line.split()[1]) * 1024 for line in status if line.startswith("Rss:")]
        self.samples.append(Sample(self._text_bytes, resident))


def report(samples: list[Sample]) -> dict[str, Any]:
    """Bytes: what is most and middling in each quarter, and the slope of the last three, by least squares."""
    text, resident = np.array(samples, np.float64).T
    quarters = np.array_split(resident, 4)
    late = slice(len(quarters[0]), None)
    slope = float(np.polyfit(text[late] / 1e9, resident[late], 1)[0])
    return {
        "text_bytes": int(text[-1]),
        "most_by_quarter": [int(quarter.max()) for quarter in quarters],
        "median_by_quarter": [int(np.median(quarter)) for quarter in quarters],
        "slope_per_gb": round(slope),
        "an_hour_adds": round(slope * HOUR_GB),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--input", type=Path, help="a folder of Parquet files of text (default: generated)")
    parser.add_argument("--tokenizer", type=Path, default=tokenizer_path(), help="a tokenizer.json")
    parser.add_argument("--mb", type=float, default=4000, help="how much text")
    parser.add_argument("--copy_mb", type=float, default=200, help="how much of it is one copy")
    parser.add_argument("--json", type=Path, default=Path("out/memory.json"))
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="beam-pipeline-memory-"))
    processes = multiprocessing.get_context("spawn")
    try:
        worker = Worker(arguments.tokenizer, folder / "out")
        for number in range(max(1, round(arguments.mb / arguments.copy_mb))):
            file = folder / f"copy-{number}" / "part.parquet"
            copying = processes.Process(
                target=write_copy, args=(arguments.input, int(arguments.copy_mb * 1e6), number, file)
            )
            copying.start()
            copying.join()
            worker.work(file)
            shutil.rmtree(file.parent)
    finally:
        shutil.rmtree(folder)
    found = report(worker.samples)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(found | {"samples": worker.samples}) + "\n")
    console = Console()
    for name, value in found.items():
        values = value if isinstance(value, list) else [value]
        console.print(f"{name:<18} {', '.join(f'{number / 1e6:,.0f} MB' for number in values)}")


if __name__ == "__main__":
    main()
