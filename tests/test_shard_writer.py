"""A shard is written whole and in order or not at all, whatever a runner does with its batches."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from schemas.shards import Shard, Source
from transforms.batches import Batch
from transforms.io.readers import ReadOptions
from transforms.read_documents import no_documents
from transforms.shard_writer import BrokenShard, ShardWriter


class Collector(ShardWriter[list[int]]):
    """Writes down what happens."""

    def __init__(self) -> None:
        super().__init__("a run", "numbers")
        self.abandoned: list[list[int]] = []

    def begin(self, batch: Batch) -> list[int]:
        return []

    def add(self, work: list[int], batch: Batch) -> None:
        work.append(batch.index)

    def finish(self, work: list[int], batch: Batch) -> Iterator[tuple[str, list[int]]]:
        yield batch.shard.name, work

    def abandon(self, work: list[int]) -> None:
        self.abandoned.append(work)


def batch(shard: int, index: int, last: bool = False) -> Batch:
    return Batch(Shard(Source(shard, f"/{shard}", "", 1)), index, last, no_documents(ReadOptions()))


def test_shards_come_out_whole_one_after_the_other() -> None:
    writer = Collector()
    written = [
        out for each in (batch(0, 0), batch(0, 1, last=True), batch(1, 0, last=True)) for out in writer.process(each)
    ]
    writer.finish_bundle()
    assert written == [("0000000-00000", [0, 1]), ("0000001-00000", [0])]
    assert writer.abandoned == []


@pytest.mark.parametrize("wrong", [batch(0, 2), batch(0, 0), batch(1, 1), batch(1, 0)])
def test_a_gap_a_repetition_or_another_shard_is_refused(wrong: Batch) -> None:
    writer = Collector()
    list(writer.process(batch(0, 0)))
    with pytest.raises(BrokenShard, match="expected batch 1 of shard 0000000-00000"):
        list(writer.process(wrong))


def test_a_bundle_that_ends_within_a_shard_is_refused() -> None:
    writer = Collector()
    list(writer.process(batch(0, 0)))
    with pytest.raises(BrokenShard, match="0000000-00000"):
        writer.finish_bundle()
    assert writer.abandoned == [[0]]


def test_what_a_failed_bundle_left_is_abandoned_and_the_shard_begins_anew() -> None:
    writer = Collector()
    list(writer.process(batch(0, 0)))
    writer.start_bundle()
    assert writer.abandoned == [[0]]
    assert list(writer.process(batch(0, 0, last=True))) == [("0000000-00000", [0])]


def test_empty_batches_have_the_schema_of_documents() -> None:
    empty = no_documents(ReadOptions())
    assert empty.num_rows == 0
    assert empty.schema.field("text").type == pa.string()
