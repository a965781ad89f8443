"""No block exceeds the bound, and nothing is lost by cutting: any documents, over any shards and hashes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.deduplication import blocks as deduplication_blocks
from transforms.kernels.deduplication.blocks import (
    BANDS,
    BANDS_AND_RANKS,
    BLOCK_BYTES,
    CONTENT_HASHES,
    DECISIONS,
    EDGES,
    WITNESSES,
    BlockLayout,
    SignatureBlock,
    mix,
    partition_of,
    runs_within,
)
from transforms.kernels.deduplication.sketches import Sketches, word_count

LAYOUTS = [found for found in vars(deduplication_blocks).values() if isinstance(found, BlockLayout)]


def test_every_kind_has_a_letter_of_its_own():
    assert len({layout.kind for layout in LAYOUTS} | {SignatureBlock.KIND}) == len(LAYOUTS) + 1 > 10


@st.composite
def destinations(draw) -> np.ndarray:
    """Where up to 400,000 records go: evenly, nearly all to one place, or to few."""
    count = draw(st.integers(0, 400_000))
    partitions = draw(st.sampled_from([1, 8, 1000, 65_536]))
    distinct = draw(st.sampled_from([1, 2, 50, 400_000]))
    values = mix(np.arange(count, dtype=np.uint64) % np.uint64(distinct) + np.uint64(draw(st.integers(0, 2**32))))
    share = draw(st.sampled_from([0, 0.5, 0.99]))
    values[: int(share * count)] = draw(st.integers(0, 2**63))
    return partition_of(values, partitions)


@settings(deadline=None, max_examples=25)
@given(destinations(), st.sampled_from([BANDS, BANDS_AND_RANKS, CONTENT_HASHES, EDGES, DECISIONS, WITNESSES]))
def test_any_distribution_of_records_gives_blocks_under_the_bound(to, layout):
    records = layout.empty(len(to))
    records.view(np.uint8)[:] = np.arange(records.nbytes, dtype=np.uint64).astype(np.uint8)
    name = layout.records.names[0]
    numbers = np.arange(len(to)).astype(layout.records[name])
    records[name] = numbers
    found: dict[int, list[bytes]] = {}
    for key, block in layout.split(7, records, to):
        assert layout.size(block) > 0
        assert len(block) <= BLOCK_BYTES
        found.setdefault(key, []).append(block)
    for key, blocks in found.items():
        assert len(blocks) == -(-np.count_nonzero(to == key) // layout.most)
        got, origins = layout.unpack(blocks)
        assert (got[name] == numbers[to == key]).all()
        assert (origins == 7).all()
    assert sum(layout.size(block) for blocks in found.values() for block in blocks) == len(to)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind.decode())
def test_a_block_that_is_too_large_is_never_made(layout):
    records = layout.empty(layout.most + 1)
    assert len(layout.pack(0, records[1:])) <= BLOCK_BYTES
    with pytest.raises(ValueError, match="don't fit in a block"):
        layout.pack(0, records)
    assert [layout.size(block) for _, block in layout.to(0, 0, records)] == [layout.most, 1]


@given(st.lists(st.integers(0, 40)), st.integers(1, 100))
def test_runs_are_within_their_bytes_and_as_long_as_can_be(weights, most):
    runs = list(runs_within(np.array(weights, np.int64), most))
    assert [start for start, _ in runs] == [0, *(stop for _, stop in runs)][: len(runs)]
    assert (runs[-1][1] if runs else 0) == len(weights)
    for start, stop in runs:
        assert stop == start + 1 or sum(weights[start:stop]) <= most
        assert stop == len(weights) or sum(weights[start : stop + 1]) > most


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from([1, 3, 2000, 40_000]), st.sampled_from([1, 0.3]), st.sampled_from([32, 256, 1024]),
    st.sampled_from([0, 0.5, 1]),
)  # fmt: skip
def test_sketches_go_in_blocks_under_the_bound_whoever_is_asked_for(rows, wanted, size, short):
    random = np.random.default_rng(rows)
    counts = np.where(random.random(rows) < short, random.integers(1, size * 5 // 4, rows), 0).astype(np.uint32)
    words = random.integers(0, 2**32, word_count(counts, size), np.uint32)
    sketches = Sketches.in_order(counts, words, size)
    asked = np.flatnonzero(random.random(rows) <= wanted).astype(np.uint32)
    found = []
    for block in SignatureBlock.of(3 << 32, asked, sketches):
        packed = block.pack()
        assert len(packed) <= BLOCK_BYTES
        block = SignatureBlock.unpack(packed)
        assert block.shard == 3 << 32
        assert (block.sketches.counts == counts[block.rows]).all()
        assert (block.sketches.words == sketches.take(block.rows).words).all()
        found += block.rows.tolist()
    assert found == asked.tolist()
    with pytest.raises(ValueError, match="don't fit in a block"):
        SignatureBlock(
            0,
            np.zeros(2000, np.uint32),
            Sketches.in_order(np.zeros(2000, np.uint32), np.zeros(2000 * 256, "<u4"), 1024),
        ).pack()
