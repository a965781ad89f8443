"""No element between two stages of the DAG holds a text: only ids, hashes, signatures and shards' descriptions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import execution

from beam_pipeline import pipeline, running
from beam_pipeline.sample import tokenizer_path
from beam_pipeline.settings import Settings
from schemas.shards import Shard, Source
from transforms.batches import Batch, BatchCoder
from transforms.io import storage
from transforms.io.readers import ReadOptions, split
from transforms.read_documents import ReadShards, no_documents

MARKER = "zwanzigfarbig"
DOCUMENTS = 400
WORDS_EACH = 600


@pytest.fixture
def crossing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Everything that the local runner carries from one stage to another, as encoded."""
    seen: list[bytes] = []
    for buffer in (execution.ListBuffer, execution.GroupingBuffer):

        def append(self: object, elements: bytes, original: object = buffer.append) -> None:
            seen.append(elements)
            original(self, elements)  # type: ignore[operator]

        monkeypatch.setattr(buffer, "append", append)
    yield seen


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Long documents with the marker in them, of which a few are duplicates."""
    file = tmp_path / "documents.jsonl"
    with file.open("w") as lines:
        for number in range(DOCUMENTS):
            like = number // 2 if number % 10 == 0 else number
            words = " ".join(f"{MARKER} w{like}x{word}" for word in range(WORDS_EACH))
            lines.write(json.dumps({"id": f"id-{number}", "text": words}) + "\n")
    return file


def whole_run(source: Path, output: Path) -> None:
    settings = Settings(input=[str(source)], output=str(output), tokenizer=str(tokenizer_path()))
    prepared = running.prepare(settings)
    with beam.Pipeline(options=PipelineOptions(["--direct_num_workers=1"])) as root:
        pipeline.build(root, prepared.plan)
    prepared.lineage.close()
    assert (output / "tokens" / "0000000-00000.parquet").exists()


def test_a_run_carries_no_text_between_stages(crossing: list[bytes], source: Path, tmp_path: Path) -> None:
    whole_run(source, tmp_path / "out")
    assert crossing
    assert not any(MARKER.encode() in elements for elements in crossing)
    # A text is 15 kB; 14 bands, a hash and the signatures of candidates are under 700 bytes.
    assert sum(map(len, crossing)) < 700 * DOCUMENTS


def test_the_probe_sees_texts_where_there_are_some(crossing: list[bytes], source: Path) -> None:
    options, [info] = ReadOptions(), storage.list_objects(str(source))
    shards = split(Source(0, info.uri, info.etag, info.size), options)
    with beam.Pipeline(options=PipelineOptions(["--direct_num_workers=1"])) as root:
        root | beam.Create(shards) | ReadShards(options) | beam.Reshuffle()
    assert any(MARKER.encode() in elements for elements in crossing)


def test_a_run_pickles_no_batch_not_even_to_learn_its_size(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled: list[Batch] = []
    state_of = Batch.__getstate__

    def get_state(batch: Batch) -> object:
        pickled.append(batch)
        return state_of(batch)

    monkeypatch.setattr(Batch, "__getstate__", get_state)
    whole_run(source, tmp_path / "out")
    assert pickled == []
    batch = Batch(Shard(Source(0, "/0", "", 1)), 0, True, no_documents(ReadOptions()))
    assert BatchCoder().decode(BatchCoder().encode(batch)) == batch
    assert pickled == [batch]  # the probe works
