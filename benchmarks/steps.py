"""Each step alone: ours, the reference library, and what the peer's run took for it, in MB of text a CPU second."""

from __future__ import annotations

import dataclasses
import functools
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer as LibraryTokenizer

from beam_pipeline.passes import Pinned, text_pass, token_pass
from beam_pipeline.settings import Settings
from benchmarks import inputs
from schemas import columns
from schemas.shards import Source
from transforms.batches import Batch
from transforms.box import Box
from transforms.io import storage
from transforms.io.pinned_files import PinnedFile
from transforms.io.readers import ReadOptions, read, split
from transforms.io.stage_objects import StageObjects
from transforms.kernels.deduplication.blocks import DECISIONS, WITNESSES
from transforms.kernels.deduplication.fingerprinting import shingles_reference
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.language import identification as language
from transforms.kernels.language.identification import default_model_path
from transforms.kernels.text.normalization import normalize
from transforms.kernels.tokenization.engines import load_reference
from transforms.recipe.spec import PlannedRecipe
from transforms.shard_outcomes import ShardOutcomes, decide
from transforms.tokenize import Tokenization
from transforms.write_tokens import object_options, token_rows

PEERS_STEPS = {
    "read": ("ParquetReader",),
    "language": ("LanguageFilter",),
    "fingerprint": ("MinhashDedupSignature",),
    "tokenize": ("DocumentTokenizer",),
}
LIBRARIES = {
    "pyarrow": "ParquetFile.iter_batches",
    "pyarrow NFC": "utf8_normalize",
    "fasttext": "first 1,000 characters",
    "fasttext-turbo": "first 1,000 characters",
    "heliport": "first 1,000 characters, models of its own",
    "datasketch": "112 permutations, ready shingles",
    "rensa": "R-MinHash, 112 values, ready shingles",
    "gaoya": "112 permutations, word 5-grams, put into its index",
    "tokenizers": "encode_batch_fast",
    "snaptokens": "encode_batch_flat",
    "fastokens": "encode_batch_flat",
    "tokie": "encode_batch_flat",
    "pyarrow snappy": "write_table as it comes (snappy, dictionaries)",
}
"""By library what it is asked to do."""
OTHERS = {
    "language": ("fasttext-turbo", "heliport"),
    "fingerprint": ("datasketch", "rensa", "gaoya"),
    "tokenize": ("snaptokens", "fastokens", "tokie"),
}
"""By step the libraries in an environment of their own (``benchmarks.library_run``)."""
SLOW = ("datasketch", "rensa", "tokenizers")
BATCH_ROWS = 2000
Work = Callable[[], object]
NO_DUPLICATES = (DECISIONS.empty(0), WITNESSES.empty(0))
LIBRARY_BYTES = 4_000_000
"""``SLOW`` libraries, and those for which shingles have to be made in Python, get this much of the text."""


def compare(
    table: pa.Table, tokenizer: Path, work: Path, libraries: Path | None, rounds: int = 3
) -> dict[str, dict[str, Any]]:
    """Ours and each library in turn, ``rounds`` times each; medians.

    Args:
      table: documents (id, text).
      tokenizer: a ``tokenizer.json``.
      work: a folder to write to.
      libraries: Python of the environment with ``OTHERS``; None: without them.

    Returns:
      By step the rates of ours and of each library, and the strongest of them.
    """
    result: dict[str, dict[str, Any]] = {}
    some = inputs.evenly_spread(table, LIBRARY_BYTES)
    for step, (ours, others) in _pairs(table, some, tokenizer, work, libraries).items():
        ours()()  # compiles
        rates: dict[str, list[float]] = {name: [] for name in ("ours", *others)}
        for _ in range(rounds):
            rates["ours"].append(inputs.text_bytes(table) / 1e6 / cpu(ours()))
            for name, library in others.items():
                given = inputs.text_bytes(some if name in SLOW else table)
                rates[name].append(given / 1e6 / cpu(library))
        medians = {name: statistics.median(found) for name, found in rates.items()}
        mine = medians.pop("ours")
        result[step] = {"ours": mine, "libraries": medians}
        if medians:
            strongest = max(medians, key=lambda name: medians[name])
            result[step] |= {
                "library": medians[strongest],
                "library_is": strongest,
                "library_does": LIBRARIES[strongest],
                "ratio": mine / medians[strongest],
            }
    return result


def cpu(work: Work) -> float:
    """CPU seconds of this process; what another did, it says itself."""
    started = time.process_time()
    said = work()
    return said if isinstance(said, float) else time.process_time() - started


def _pairs(
    table: pa.Table, some: pa.Table, tokenizer: Path, work: Path, libraries: Path | None
) -> dict[str, tuple[Callable[[], Work], dict[str, Work]]]:
    """By step: what makes ours ready to work on ``table``, and the libraries.

    Ours are the boxes and the writer of a run.
    """
    file = work / "steps.parquet"
    inputs.write(table, file)
    info = storage.stat(str(file))
    assert info is not None
    source = Source(0, info.uri, info.etag, info.size)
    raw = _batches(table)
    texts, texts_some = _strings(raw), _strings([normalize(text) for text in _batches(some)])

    library_model = fasttext.load_model(str(default_model_path()))
    options = MinHash()
    shingles = [[" ".join(s).encode() for s in sorted(shingles_reference(text, options))] for text in texts_some]
    pq.write_table(pa.table({"text": texts_some, "shingles": shingles}), work / "some.parquet")
    pq.write_table(pa.table({"text": texts}), work / "all.parquet")
    library_engine: LibraryTokenizer = load_reference(tokenizer.read_bytes())
    ours, tokens = _ours(source, tokenizer)
    schema = columns.tokens(tokens[0].data["input_ids"].type.value_type, with_text=False)
    outcomes = [_outcomes_of(batch) for batch in tokens]
    rows = [token_rows(batch, found, schema) for batch, found in zip(tokens, outcomes, strict=True)]

    def read_ours() -> None:
        for shard in split(source, ReadOptions()):
            for _ in read(shard, ReadOptions()):
                pass

    def read_library() -> None:
        for _ in pq.ParquetFile(file).iter_batches(BATCH_ROWS, use_threads=False):
            pass

    def language_library() -> None:
        for text in texts:
            library_model.predict(text[: language.WINDOW].replace("\n", " "))

    def other(name: str, step: str) -> float:
        model = default_model_path() if step == "language" else tokenizer
        documents = work / ("some.parquet" if name in SLOW else "all.parquet")
        command = [str(libraries), str(Path(__file__).with_name("library_run.py")), name, str(documents), str(model)]
        one_thread = {**os.environ, "RAYON_NUM_THREADS": "1"}
        return float(subprocess.run(command, check=True, capture_output=True, text=True, env=one_thread).stdout)

    def write_ours() -> None:
        output = StageObjects(str(work / "tokens"), "bench").open(tokens[0].shard, schema, **object_options(schema))
        for batch, found in zip(tokens, outcomes, strict=True):
            output.write(token_rows(batch, found, schema))
        output.commit()

    found: dict[str, tuple[Callable[[], Work], dict[str, Work]]] = {
        "read": (lambda: read_ours, {"pyarrow": read_library}),
        "normalize": (ours["Normalize"], {"pyarrow NFC": lambda: [pc.utf8_normalize(text, "NFC") for text in raw]}),
        "language": (ours["IdentifyLanguage"], {"fasttext": language_library}),
        "fingerprint": (ours["Fingerprint"], {}),
        "tokenize": (
            ours["Tokenize"],
            {"tokenizers": lambda: library_engine.encode_batch_fast(texts_some, add_special_tokens=False)},
        ),
        "write tokens": (
            lambda: write_ours,
            {"pyarrow snappy": lambda: pq.write_table(pa.Table.from_batches(rows), work / "library")},
        ),
    }
    for step, names in OTHERS.items() if libraries is not None else ():
        found[step][1].update({name: functools.partial(other, name, step) for name in names})
    return found


def _ours(source: Source, tokenizer: Path) -> tuple[dict[str, Callable[[], Work]], list[Batch]]:
    """By box of both passes: what makes it ready for the batches that come to it; and the batches of tokens."""
    settings = Settings(input=[source.uri], output="/nowhere", tokenizer=str(tokenizer))
    tokenization = Tokenization(PinnedFile.pin(settings.tokenizer))
    plan = Pinned(settings, PinnedFile.pin(settings.language_model), tokenization, PlannedRecipe())
    ours: dict[str, Callable[[], Work]] = {}

    def through(boxes: list[Box], batches: list[Batch]) -> list[Batch]:
        for box in boxes:
            ours[box.label] = functools.partial(_ready, box, batches)
            box.setup()
            batches = [box(batch) for batch in batches]
        return batches

    as_read = [
        Batch(dataclasses.replace(shard, rows=len(data)), 0, True, _from_row_0(data))
        for shard in split(source, settings.reading())
        for data in read(shard, settings.reading())
    ]
    prints = through(text_pass(plan), as_read)
    kept = [
        dataclasses.replace(batch, shard_outcomes=decide(batch.shard, pa.table(found.data), *NO_DUPLICATES))
        for batch, found in zip(as_read, prints, strict=True)
    ]
    kept = [batch.with_data(batch.data.filter(pa.array(_outcomes_of(batch).kept))) for batch in kept]
    return ours, through(token_pass(plan), kept)


def _from_row_0(data: pa.RecordBatch) -> pa.RecordBatch:
    """The documents as those of a shard of their own."""
    rows = pa.array(np.arange(len(data), dtype=np.uint32))
    return data.set_column(data.schema.get_field_index("row"), "row", rows)


def _outcomes_of(batch: Batch) -> ShardOutcomes:
    assert batch.shard_outcomes is not None
    return batch.shard_outcomes


def _ready(box: Box, batches: list[Batch]) -> Work:
    """A box without memory, as models and tokenizers remember words, that has compared its engines."""
    fresh = dataclasses.replace(box)  # type: ignore[type-var]
    fresh.setup()
    fresh(batches[0].with_data(batches[0].data[:20]))
    later = [dataclasses.replace(batch, index=1) for batch in batches]
    return lambda: [fresh(batch) for batch in later]


def _batches(table: pa.Table) -> list[pa.StringArray]:
    column = table["text"].combine_chunks()
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return [chunk[i : i + BATCH_ROWS] for chunk in chunks for i in range(0, len(chunk), BATCH_ROWS)]


def _strings(batches: list[pa.StringArray]) -> list[str]:
    return [text for batch in batches for text in batch.to_pylist()]
