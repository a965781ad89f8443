"""Each step alone: ours, the reference library, and what the peer's run took for it, in MB of text a CPU second."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
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
from transforms.kernels.deduplication.fingerprinting import fingerprint, shingles_reference
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.language import identification as language
from transforms.kernels.language.identification import default_model_path
from transforms.kernels.text.normalization import normalize
from transforms.kernels.tokenization.engines import load_reference
from transforms.kernels.tokenization.tokenizer import Tokenizer
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
    "read": "pyarrow ParquetFile.iter_batches",
    "normalize": "pyarrow utf8_normalize (NFC only)",
    "language": "fasttext, first 1,000 characters",
    "fingerprint": "datasketch, 112 permutations, ready shingles",
    "tokenize": "tokenizers encode_batch_fast",
    "write tokens": "pyarrow write_table as it comes (snappy, dictionaries)",
}
BATCH_ROWS = 2000
Work = Callable[[], object]
NO_DUPLICATES = (DECISIONS.empty(0), WITNESSES.empty(0))
LIBRARY_BYTES = 4_000_000
"""The slow libraries get this much of the text."""


def compare(
    table: pa.Table, tokenizer: Path, work: Path, peer: Path | None, rounds: int = 3
) -> dict[str, dict[str, Any]]:
    """Ours and the library in turn, ``rounds`` times each; medians.

    Args:
      table: documents (id, text).
      tokenizer: a ``tokenizer.json``.
      work: a folder to write to.
      peer: Python of the peer's environment, which has datasketch, too.
    """
    result: dict[str, dict[str, Any]] = {}
    some = inputs.evenly_spread(table, LIBRARY_BYTES)
    for step, (ours, library, library_table) in _pairs(table, some, tokenizer, work, peer).items():
        ours()()  # compiles
        rates: list[list[float]] = [[], []]
        for _ in range(rounds):
            rates[0].append(inputs.text_bytes(table) / 1e6 / _cpu(ours()))
            if step != "fingerprint" or peer is not None:
                rates[1].append(inputs.text_bytes(library_table) / 1e6 / _cpu(library))
        result[step] = {"ours": statistics.median(rates[0]), "library_is": LIBRARIES[step]}
        if rates[1]:
            result[step]["library"] = statistics.median(rates[1])
            result[step]["ratio"] = result[step]["ours"] / result[step]["library"]
    return result


def _cpu(work: Work) -> float:
    """CPU seconds of this process; what another did, it says itself."""
    started = time.process_time()
    said = work()
    return said if isinstance(said, float) else time.process_time() - started


def _pairs(
    table: pa.Table, some: pa.Table, tokenizer: Path, work: Path, peer: Path | None
) -> dict[str, tuple[Callable[[], Work], Work, pa.Table]]:
    """By step: what makes ours ready to work on ``table``, the library, and which of the two tables that is given.

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
    pq.write_table(pa.table({"shingles": shingles}), work / "shingles.parquet")
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

    def fingerprint_library() -> float:
        script = Path(__file__).with_name("datasketch_run.py")
        command = [str(peer), str(script), str(work / "shingles.parquet")]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def write_ours() -> None:
        output = StageObjects(str(work / "tokens"), "bench").open(tokens[0].shard, schema, **object_options(schema))
        for batch, found in zip(tokens, outcomes, strict=True):
            output.write(token_rows(batch, found, schema))
        output.commit()

    return {
        "read": (lambda: read_ours, read_library, table),
        "normalize": (ours["Normalize"], lambda: [pc.utf8_normalize(text, "NFC") for text in raw], table),
        "language": (ours["IdentifyLanguage"], language_library, table),
        "fingerprint": (ours["Fingerprint"], fingerprint_library, some),
        "tokenize": (
            ours["Tokenize"],
            lambda: library_engine.encode_batch_fast(texts_some, add_special_tokens=False),
            some,
        ),
        "write tokens": (
            lambda: write_ours,
            lambda: pq.write_table(pa.Table.from_batches(rows), work / "library"),
            table,
        ),
    }


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


def growth(tokenizer: Path, longest: int) -> Iterator[dict[str, Any]]:
    """Single documents of two sizes, eight times apart: the time a byte must stay what it is.

    Args:
      longest: bytes of the longest document; a word is half as long.

    Yields:
      document, bytes, and by step the seconds and how many times longer a byte of it takes than an eighth's.
    """
    engine = Tokenizer.from_json(tokenizer.read_bytes())
    engine.calibrate(pa.array(inputs.sample_texts()[:20]))
    model, options = language.load(default_model_path()), MinHash()
    steps: dict[str, Callable[[pa.StringArray], object]] = {
        "normalize": normalize,
        "language": model.identify,
        "fingerprint": lambda text: fingerprint(text, options),
        "tokenize": engine.encode,
    }
    for step in steps.values():
        step(pa.array(["compiles, builds its tables"]))
    for name, make, size in (
        ("sample text", _sample_text, longest),
        ("one word of random letters", _word, longest // 2),
        ("combining marks only", _marks, longest // 2),
    ):
        seconds: list[dict[str, float]] = []
        sizes = (size // 8, size)
        for length in sizes:
            text = pa.array([make(length)])
            spent = {}
            for step, function in steps.items():
                spent[step] = _cpu(lambda function=function, text=text: function(text))
            seconds.append(spent)
        yield {
            "document": name,
            "bytes": sizes[1],
            "seconds": {step: round(spent, 3) for step, spent in seconds[1].items()},
            "time_per_byte": {
                # Below a millisecond the clock says nothing: that step doesn't look at all of the document.
                step: round(max(seconds[1][step], 1e-3) / 8 / max(seconds[0][step], 1e-3), 2)
                for step in steps
            },
        }


def _sample_text(size: int) -> str:
    text = "\n".join(inputs.sample_texts())
    return (text * (size // len(text.encode()) + 1)).encode()[:size].decode(errors="ignore")


def _word(size: int) -> str:
    return np.random.default_rng(1).integers(ord("a"), ord("z") + 1, size, np.uint8).tobytes().decode()


def _marks(size: int) -> str:
    return "\u0301\u0323" * (size // 4)
