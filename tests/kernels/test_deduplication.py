from __future__ import annotations

import itertools
import math
import time
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.deduplication import candidates as deduplication
from transforms.kernels.deduplication import resolution
from transforms.kernels.deduplication.blocks import (
    BANDS,
    CONTENT_HASHES,
    DECISIONS,
    EDGES,
    FOLLOWERS,
    WITNESSES,
    SignatureBlock,
    partition_of,
)
from transforms.kernels.deduplication.fingerprinting import estimate_similarity
from transforms.kernels.deduplication.options import Deduplication, partitions_for
from transforms.kernels.deduplication.sketches import Sketches

settings.register_profile("deduplication", deadline=None)
settings.load_profile("deduplication")

PROTOTYPE = 1 << 32  # shards in these tests are sources: documents of shard s have ids s << 32 and up


def u64(values) -> np.ndarray:
    return np.array(values, np.uint64)


def u32(values) -> np.ndarray:
    return np.array(values, "<u4")


def of_signatures(signatures: np.ndarray) -> Sketches:
    """Of long documents."""
    column = pa.array([signature.tobytes() for signature in signatures], pa.binary(signatures.shape[1]))
    return Sketches.of_columns(column, pa.nulls(len(column), pa.large_binary()))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("min_similarity", 0),
        ("min_similarity", 1.01),
        ("min_similarity", float("nan")),
        ("partitions", 0),
        ("partitions", 65_537),
        ("duplicates_within", "shard"),
        ("keep_duplicate", "last"),
        ("bucket_cap", 1),
        ("max_open_edges", 0),
    ],
)
def test_wrong_options_are_refused_by_name(option, value):
    with pytest.raises(ValueError, match=option):
        Deduplication(**{option: value})


def test_partitions_grow_with_the_documents_and_are_always_valid():
    assert [partitions_for(n) for n in (0, 1, 1_600_001, 10**9, 10**12)] == [8, 8, 9, 5000, 65_536]
    for documents in (0, 10**12):
        Deduplication(partitions=partitions_for(documents))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.integers(1, 65_536))
def test_every_hash_has_a_partition(values, partitions):
    found = partition_of(u64(values), partitions)
    assert found.max() < partitions
    assert found.tolist() == partition_of(u64(values[::-1]), partitions).tolist()[::-1]


def test_partitions_are_even_even_for_consecutive_ids():
    counts = np.bincount(partition_of(np.arange(70_000, dtype=np.uint64), 7), minlength=7)
    assert counts.min() > 9_500


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**32 - 1))), st.integers(0, 2**63 - 1))
def test_blocks_give_back_what_was_packed(rows, origin):
    records = BANDS.empty(len(rows))
    records["bucket"], records["row"] = np.arange(len(rows)), [row for _, row in rows]
    blocks = dict(BANDS.split(origin, records, u64([to for to, _ in rows])))
    assert set(blocks) == {to for to, _ in rows}
    for to, block in blocks.items():
        assert len(block) == 9 + 12 * BANDS.size(block)
        found, origins = BANDS.unpack([b"?", block])
        assert set(origins.tolist()) == {origin}
        assert found["bucket"].tolist() == [i for i, (there, _) in enumerate(rows) if there == to]
    assert EDGES.size(BANDS.pack(0, records)) == 0
    assert len(BANDS.unpack([BANDS.pack(0, records[:0])])[0]) == 0


def test_signature_blocks_give_back_what_was_packed():
    signatures = pa.array([bytes(range(10)), None, None, b"0123456789"], pa.binary(10))
    shingles = pa.array([None, u32([1, 2, 2**32 - 1]).tobytes(), None, None], pa.large_binary())
    sketches = Sketches.of_columns(signatures, shingles).take(np.array([1, 3]))
    block = SignatureBlock.unpack(SignatureBlock(5 << 32, u64([3, 4]), sketches).pack())
    assert (block.shard, block.rows.tolist()) == (5 << 32, [3, 4])
    assert block.sketches.counts.tolist() == [3, 0]
    assert block.sketches.words.tolist() == [1, 2, 2**32 - 1, *u32(np.frombuffer(b"0123456789\0\0", "<u4"))]
    assert block.sketches.starts.tolist() == [0, 3]


def test_fixed_bytes_of_slices_and_nulls():
    column = pa.array([b"ab", None, b"cd", b"ef", None], pa.binary(2))
    for array in (column, column.slice(1), column.slice(2, 2), column.slice(4), column.slice(5)):
        values, rows = deduplication.fixed_bytes(array)
        assert [bytes(value) for value in values] == [value for value in array.to_pylist() if value]
        assert rows.tolist() == [row for row, value in enumerate(array.to_pylist()) if value]


def test_language_tags_are_the_same_whatever_the_dictionary():
    first = deduplication.language_tags(pa.array(["de", "en", None, "de"]).dictionary_encode())
    second = deduplication.language_tags(pa.array(["en", None, "de"]))
    assert first[[1, 2, 0]].tolist() == second.tolist()
    assert len(set(second.tolist())) == 3
    assert len(deduplication.language_tags(pa.array([], pa.string()))) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2))))
def test_groups_are_those_that_agree_in_all_keys(keys):
    ranks = np.random.default_rng(0).permutation(len(keys))
    first, second = (np.array([key[i] for key in keys], np.uint64) for i in (0, 1))
    order, firsts = deduplication.sorted_groups((first, second), (ranks,))
    groups = defaultdict(list)
    for position in np.argsort(ranks).tolist():
        groups[keys[position]].append(position)
    expected = {position: group[0] for group in groups.values() for position in group if len(group) > 1}
    found = dict(zip(order.tolist(), firsts.tolist(), strict=True))
    assert {position: f for position, f in found.items() if position in expected} == expected
    assert all(position == f for position, f in found.items() if position not in expected)
    assert [keys[position] for position in order] == sorted(keys[position] for position in order)


@given(st.lists(st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=8), max_size=5), st.randoms())
def test_exact_duplicates_follow_the_smallest_id(shards, random):
    packed, follows, totals = [], {}, defaultdict(int)
    for number, contents in enumerate(shards):
        # The halves of a hash are tried separately: 6 and 5 differ in the second only.
        hashes = [None if c is None else bytes([min(c, 5)] * 8 + [c] * 8) for c in contents]
        records, duplicates = deduplication.content_hash_records(
            pa.array(hashes, pa.binary(16)), None, number * PROTOTYPE
        )
        assert len(records) == len(set(contents) - {None})
        packed.append(CONTENT_HASHES.pack(number * PROTOTYPE, records))
        follows |= {number * PROTOTYPE + int(d["row"]): int(d["representative"]) for d in duplicates}
    random.shuffle(packed)
    found = deduplication.exact_duplicates(*CONTENT_HASHES.unpack(packed))
    for duplicate, shard in zip(found.duplicates, found.duplicate_shards, strict=True):
        follows[int(shard + duplicate["row"])] = int(duplicate["representative"])
    for follower, shard in zip(found.followers, found.follower_shards, strict=True):
        totals[int(shard + follower["row"])] += int(follower["documents"])

    documents = [(n * PROTOTYPE + row, c) for n, contents in enumerate(shards) for row, c in enumerate(contents)]
    first = {}
    for identifier, content in documents:
        first.setdefault(content, identifier)
    expected = {identifier: first[c] for identifier, c in documents if c is not None and first[c] != identifier}
    assert {
        identifier: follows.get(representative, representative) for identifier, representative in follows.items()
    } == expected
    assert dict(totals) == {r: sum(r == other for other in expected.values()) for r in set(expected.values())}


def bucket_records(entries, longest):
    layout = deduplication.bands_layout("longest" if longest else "first")
    records = layout.empty(len(entries))
    records["bucket"], records["row"] = [e[0] for e in entries], [e[2] for e in entries]
    if longest:
        records["rank"] = [e[2] % 3 for e in entries]  # a document's length is the same in all its buckets
    return records, u64([e[1] * PROTOTYPE for e in entries])


def joined(candidates):
    """All candidates: pairs, and the shard of each one's later end."""
    found = [(deduplication.PAIRS.empty(0), u64([])), *candidates.pairs]
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 9))), st.booleans(), st.randoms())
def test_candidates_are_the_buckets_first_and_the_predecessor(entries, longest, random):
    found = deduplication.candidate_pairs(*bucket_records(entries, longest), 3)
    buckets = defaultdict(set)
    for bucket, shard, row in entries:
        buckets[bucket].add((-(row % 3) if longest else 0, shard * PROTOTYPE + row))
    expected = set()
    for bucket in buckets.values():
        ids = [identifier for _, identifier in sorted(bucket)]
        expected |= {(ids[0], other) for other in ids[1:]} | set(itertools.pairwise(ids))
    found, shards = joined(found)
    pairs = [(int(p["earlier"]), int(shard + p["row"])) for p, shard in zip(found, shards, strict=True)]
    assert sorted(pairs) == sorted(expected)
    assert (found["earlier"] % PROTOTYPE == found["earlier_row"]).all()

    random.shuffle(entries)
    again, _ = joined(deduplication.candidate_pairs(*bucket_records(entries, longest), 3))
    assert again.tobytes() == found.tobytes()


def test_buckets_over_the_cap_are_counted():
    entries = [(bucket, 0, row) for bucket, size in enumerate((1, 3, 4, 9)) for row in range(size)]
    found = deduplication.candidate_pairs(*bucket_records(entries, False), 3)
    assert (found.large_buckets, found.largest_bucket) == (2, 9)


def test_band_records_leave_out_what_has_no_part():
    bands = [None if row == 2 else np.array([row, row + 100], "<u8").tobytes() for row in range(5)]
    records = deduplication.band_records(pa.array(bands, pa.binary(16)), None, None, np.array([0, 3]))
    assert records.tolist() == [(1, 1), (101, 1), (4, 4), (104, 4)]
    lengths = np.arange(5, dtype=np.uint32) * 10
    records = deduplication.band_records(pa.array(bands, pa.binary(16)), u64(range(5)), lengths, np.array([], int))
    assert records["rank"].tolist() == [0, 0, 10, 10, 30, 30, 40, 40]
    assert not set(records["bucket"].tolist()) & {1, 101, 4, 104}


def test_a_pair_at_the_threshold_is_verified_and_one_below_is_not():
    a = np.zeros((1, 256), np.uint8)
    b = np.repeat(a, 257, axis=0)
    options = Deduplication(min_similarity=0.8)
    for row in range(257):
        b[row, :row] = 1  # row k: 256 - k bytes equal
    rows = np.arange(257)
    found, similarity = deduplication.verify(of_signatures(a), rows * 0, of_signatures(b), rows, options)
    assert found.tolist() == list(range(52))  # 205 of 256 equal: (205 - 1) / 255 = 0.8
    assert similarity[51] == np.float32(0.8)
    assert similarity[0] == 1


def test_estimates_of_many_pairs_are_those_of_the_reference():
    random = np.random.default_rng(0)
    signatures = random.integers(0, 2, (50, 30), dtype=np.uint8)
    a, b = random.integers(0, 50, (2, 40_000))
    sketches = of_signatures(signatures)
    found, similarity = deduplication.verify(sketches, a, sketches, b, Deduplication(min_similarity=0.5))
    expected = estimate_similarity(signatures[a], signatures[b])
    assert found.tolist() == np.flatnonzero(expected >= np.float32(0.5)).tolist()
    np.testing.assert_allclose(similarity, expected, rtol=1e-6)


@st.composite
def graphs(draw):
    """(pairs with their similarities, ranks); ranks are another order than the ids."""
    documents = draw(st.lists(st.integers(0, 2**62), min_size=2, max_size=14, unique=True))
    pair = st.lists(st.sampled_from(documents), min_size=2, max_size=2, unique=True).map(lambda p: tuple(sorted(p)))
    pairs = draw(st.dictionaries(pair, st.sampled_from([0.8, 0.9, 1.0]), max_size=40))
    ranks = dict(zip(documents, draw(st.permutations(range(len(documents)))), strict=True))
    return [(a, b, similarity) for (a, b), similarity in pairs.items()], ranks


def as_edges(pairs, ranks):
    directed = [(*sorted((a, b), key=ranks.get), similarity) for a, b, similarity in pairs]
    earlier, later = u64([p[0] for p in directed]), u64([p[1] for p in directed])
    low = np.uint64(2**32 - 1)
    return resolution.edges(earlier, earlier & low, later, later & low, np.array([p[2] for p in directed], np.float32))


def decided(edges):
    """Dropped document -> (witness, similarity) from edges whose earlier ends are kept."""
    found = {}
    records, shards = resolution.kept_edges(edges)
    for shard in set(shards.tolist()):
        decisions = resolution.decide(shard, records[shards == shard], FOLLOWERS.empty(0))
        found |= {int(d["document"]): (int(d["witness"]), float(d["similarity"])) for d in decisions.decisions}
    return found


@given(graphs())
def test_the_reference_keeps_the_promises(graph):
    pairs, ranks = graph
    dropped = resolution.resolve_reference(pairs, ranks)
    similarities = {frozenset((a, b)): similarity for a, b, similarity in pairs}
    for document, (witness, similarity) in dropped.items():
        assert witness not in dropped
        assert ranks[witness] < ranks[document]
        assert similarities[frozenset((document, witness))] == similarity
    for a, b, _ in pairs:
        assert a in dropped or b in dropped


@given(graphs(), st.booleans())
def test_resolving_is_the_reference(graph, settle_first):
    pairs, ranks = graph
    edges = as_edges(pairs, ranks)
    settled = edges[:0]
    if settle_first:
        kept = np.setdiff1d(edges["earlier"], edges["later"])
        settled, edges, dropped = resolution.settle(edges, kept)
        assert set(dropped.tolist()) == set(settled["later"].tolist())
        edges = edges[~np.isin(edges["earlier"], dropped)]
    found = decided(np.concatenate([settled, resolution.resolve(edges)]))
    expected = resolution.resolve_reference(pairs, ranks)
    assert found == {document: (w, float(np.float32(s))) for document, (w, s) in expected.items()}


def test_a_chain_is_resolved_alternately():
    pairs = [(n, n + 1, 0.9) for n in range(9)]
    found = decided(resolution.resolve(as_edges(pairs, {n: n for n in range(10)})))
    assert {document: witness for document, (witness, _) in found.items()} == {1: 0, 3: 2, 5: 4, 7: 6, 9: 8}


def test_edges_in_a_circle_are_an_error():
    edges = as_edges([(1, 2, 0.9), (2, 3, 0.9)], {1: 1, 2: 2, 3: 3})
    back = edges[:1].copy()
    back["earlier"], back["later"] = 3, 1
    with pytest.raises(ValueError, match="circle"):
        resolution.resolve(np.concatenate([edges, back]))


def test_decisions_and_witnesses_dont_depend_on_their_blocks():
    decisions = np.array([(n, 1, 0.9, 0) for n in (5, 9, 7)], DECISIONS.records)
    witnesses = np.array([(1, 2), (3, 1), (1, 5)], WITNESSES.records)
    blocks = [DECISIONS.pack(n, decisions[n : n + 1]) for n in range(3)]
    blocks += [WITNESSES.pack(n, witnesses[n : n + 1]) for n in range(3)]
    whole = [WITNESSES.pack(0, witnesses), DECISIONS.pack(0, decisions[::-1])]
    assert resolution.decisions(blocks)["document"].tolist() == [5, 7, 9]
    assert resolution.decisions(blocks).tobytes() == resolution.decisions(whole).tobytes()
    assert resolution.witnesses(blocks).tolist() == [(1, 7), (3, 1)]
    assert resolution.witnesses(blocks).tobytes() == resolution.witnesses(whole).tobytes()
    assert len(resolution.decisions([])) == len(resolution.witnesses([])) == 0


def test_one_bucket_of_200_000_documents_is_linear():
    started = time.process_time()
    records = BANDS.empty(200_000)
    records["bucket"], records["row"] = 7, np.arange(200_000)
    found = deduplication.candidate_pairs(records, np.zeros(200_000, np.uint64), 10_000)
    assert found.largest_bucket == 200_000
    pairs, shards = joined(found)
    assert len(pairs) == 2 * 200_000 - 3
    similarity = np.full(len(pairs), 0.9, np.float32)
    edges = resolution.edges(pairs["earlier"], pairs["earlier_row"], shards + pairs["row"], pairs["row"], similarity)
    dropped = decided(resolution.resolve(edges))
    assert len(dropped) == 199_999
    assert {witness for witness, _ in dropped.values()} == {0}
    assert time.process_time() - started < 10


def test_a_million_identical_documents_are_linear():
    started = time.process_time()
    hashes = pa.array([b"0123456789abcdef"] * 100_000, pa.binary(16))
    packed, within = [], 0
    for number in range(10):
        records, duplicates = deduplication.content_hash_records(hashes, None, number * PROTOTYPE)
        packed.append(CONTENT_HASHES.pack(number * PROTOTYPE, records))
        within += len(duplicates)
    found = deduplication.exact_duplicates(*CONTENT_HASHES.unpack(packed))
    assert within + len(found.duplicates) == 999_999
    assert found.followers["documents"].sum() == 999_999
    assert set(found.follower_shards.tolist()) == {0}
    assert time.process_time() - started < 10


@given(st.lists(st.one_of(st.none(), st.floats(width=32)), min_size=1))
def test_ranks_are_in_the_order_of_the_numbers(numbers):
    ranks = deduplication.ranks_of(pa.array(numbers, pa.float32()))
    assert ranks.dtype == np.uint32
    assert ranks.max() < 2**32 - 1
    values = [-math.inf if number is None or math.isnan(number) else number for number in numbers]
    for (first, rank), (second, other) in itertools.product(zip(values, ranks.tolist(), strict=True), repeat=2):
        if first != second:
            assert (first < second) == (rank < other)
    assert all(rank == 0 for rank, number in zip(ranks, numbers, strict=True) if number is None or math.isnan(number))


def test_ranks_of_whole_numbers_are_exact():
    large = [2**24, 2**24 + 1, None, 5, 2**32 - 1]
    assert deduplication.ranks_of(pa.array(large, pa.uint32())).tolist() == [2**24, 2**24 + 1, 0, 5, 2**32 - 2]
    assert np.argsort(deduplication.ranks_of(pa.array([0.5, 0.25, None, 1.0], pa.float16()))).tolist() == [2, 1, 0, 3]
