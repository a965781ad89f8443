"""How many documents are expected follows from a few footers and first lines, whatever their length."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline.document_estimate import BYTES_PER_DOCUMENT, LOOKED_AT, estimate_documents, spread
from schemas.shards import Source
from transforms.io import storage
from transforms.io.readers import ReadOptions

WORDS = 25


def write(folder: Path, kind: str, number: int, documents: int) -> Source:
    texts = [
        " ".join(f"{(number * documents + row) * WORDS + word:x}" for word in range(WORDS)) for row in range(documents)
    ]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    path = folder / f"{number}.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=1000)
    else:
        path.write_bytes(gzip.compress(lines) if kind == "gz" else lines)
    info = next(iter(storage.list_objects(str(path))))
    return Source(number, info.uri, info.etag, info.size)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "gz"])
def test_short_documents_are_counted_and_not_taken_for_long_ones(tmp_path, kind):
    sources = [write(tmp_path, kind, number, 500 + 2000 * (number % 3)) for number in range(12)]
    documents = sum(500 + 2000 * (number % 3) for number in range(12))
    assert estimate_documents(sources, ReadOptions()) == pytest.approx(documents, rel=0.15)


def test_what_cant_be_read_is_guessed_from_its_size(tmp_path):
    for number, content in enumerate([b"PAR1 cut short", b"\x1f\x8b broken" * 1000]):
        (tmp_path / f"{number}").write_bytes(content)
    sources = [
        Source(number, info.uri, info.etag, info.size)
        for number, info in enumerate(storage.list_objects(str(tmp_path)))
    ]
    size = sum(source.size for source in sources)
    assert estimate_documents(sources, ReadOptions()) == size // BYTES_PER_DOCUMENT
    whole = write(tmp_path, "parquet", 7, 3000)
    assert estimate_documents([*sources, whole], ReadOptions()) >= 3000


def test_few_of_many_sources_are_looked_into():
    assert spread(range(5), 8) == list(range(5))
    chosen = spread(range(1001), LOOKED_AT)
    assert (len(chosen), chosen[-1]) == (LOOKED_AT, 1000)
