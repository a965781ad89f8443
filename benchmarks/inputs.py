"""The texts that are measured on: a folder of Parquet files, an evenly spread slice of it, and generated text."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_pipeline.sample import documents_path

ROW_GROUP_ROWS = 2000


def generate(folder: Path, size: int, files: int = 2, seed: int = 1) -> None:
    """Writes Parquet files of ``size`` bytes of text together: documents of sentences of the sample, in 22 languages.

    A twentieth are near-copies of an earlier one. The vocabulary is small, so caches of words flatter every engine;
    a corpus of your own tells more.
    """
    generator = random.Random(seed)
    sentences = [
        [part + ". " for part in text.replace("\n", " ").split(". ") if len(part) > 20] for text in sample_texts()
    ]
    sentences = [parts for parts in sentences if parts]
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        texts: list[str] = []
        written = 0
        while written < size // files:
            if texts and generator.random() < 0.05:
                text = generator.choice(texts[-1000:]) + generator.choice(generator.choice(sentences))
            else:
                start = generator.randrange(len(sentences))
                some = sentences[start : start + 3]  # neighbours: a document of a few languages at most
                text = "".join(generator.choices([s for parts in some for s in parts], k=generator.randint(5, 60)))
            texts.append(text)
            written += len(text.encode())
        ids = [f"{number}/{row}" for row in range(len(texts))]
        write(pa.table({"id": ids, "text": texts}), folder / f"generated-{number}.parquet")


def sample_texts() -> list[str]:
    """The usable texts of the package's sample."""
    texts = []
    for line in documents_path().read_bytes().splitlines():
        try:
            document = json.loads(line)
            texts.append(document["text"].encode().decode())
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # the sample has lines that are broken on purpose
    return [text for text in texts if text]


def read(folder: Path) -> pa.Table:
    """The columns id and text of all Parquet files of a folder, in the order of their names."""
    files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else [folder]
    if not files:
        raise FileNotFoundError(f"{folder}: no Parquet file is there (BENCH_INPUT)")
    tables = []
    for file in files:
        names = pq.read_schema(file).names
        table = pq.read_table(file, columns=[name for name in ("id", "text") if name in names])
        if "id" not in names:
            table = table.append_column("id", pa.array([f"{file.stem}/{row}" for row in range(len(table))]))
        tables.append(table.select(["id", "text"]).cast(pa.schema([("id", pa.string()), ("text", pa.string())])))
    return pa.concat_tables(tables).filter(pc.field("text").is_valid())


def grown(table: pa.Table, size: int) -> pa.Table:
    """About ``size`` bytes of text: the documents, and others that have one's first half and another's second half.

    These are natural text, and few are duplicates: two that have a half in common are about one third alike.

    Raises:
      ValueError: it would take more copies than there are other documents.
    """
    copies = max(0, round(size / max(1, text_bytes(table))) - 1)
    if copies >= max(1, len(table)):
        raise ValueError(f"{len(table)} documents can't become {size / 1e6:.0f} MB (BENCH_MB): give more of them")
    texts: list[str] = table["text"].to_pylist()
    halves = [_halves(text) for text in texts]
    tables = [table]
    for copy in range(1, copies + 1):
        mixed = [halves[row][0] + halves[(row + copy) % len(halves)][1] for row in range(len(halves))]
        ids = [f"{copy}/{row}" for row in range(len(mixed))]
        tables.append(pa.table({"id": ids, "text": mixed}, schema=table.schema))
    return pa.concat_tables(tables)


def _halves(text: str) -> tuple[str, str]:
    """The text cut at the blank before its middle, or at its middle."""
    cut = text.rfind(" ", 0, len(text) // 2 + 1)
    cut = len(text) // 2 if cut < 0 else cut
    return text[:cut], text[cut:]


def evenly_spread(table: pa.Table, size: int) -> pa.Table:
    """Every n-th document, so that about ``size`` bytes of text are left."""
    step = max(1, round(text_bytes(table) / size))
    return table.take(np.arange(0, len(table), step))


def text_bytes(table: pa.Table) -> int:
    """Bytes of UTF-8 in the column text."""
    return int(pc.sum(pc.binary_length(table["text"]).cast(pa.int64())).as_py() or 0)


def write(table: pa.Table, path: Path) -> None:
    """As corpora are published: zstd, row groups of some MB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP_ROWS)
