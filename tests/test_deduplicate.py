from __future__ import annotations

import dataclasses
import uuid
from collections import defaultdict
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given, settings

from schemas.shards import Shard, Source, document_id
from tests.deduplication_worlds import Document, deduplicate_reference, document, random_world, write_shards
from tests.kernels.test_deduplication import as_edges, graphs
from transforms.deduplication import steps as steps
from transforms.deduplication.deduplicate import Deduplicate, Deduplication, TooManyOpenEdgesError, decisions, witnesses
from transforms.deduplication.stored_fingerprints import StoredFingerprints, StoredRun
from transforms.io.block_files import NOWHERE, BlockFiles
from transforms.kernels.deduplication import blocks as deduplication_blocks
from transforms.kernels.deduplication.blocks import (
    DECISIONS,
    EDGES,
    FATES,
    KEPT_EDGES,
    KNOWN,
    QUESTIONS,
    WITNESSES,
    partition_of,
)
from transforms.kernels.deduplication.resolution import resolve_reference


class Collect(beam.DoFn):
    """Writes every block to a file of its own: outputs leave the workers that way only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def process(self, keyed):
        (self._folder / f"{keyed[0]}.{uuid.uuid4().hex}").write_bytes(keyed[1])
        return []


def run(
    shards: list[Shard],
    folder: Path,
    options: Deduplication,
    workers: int = 1,
    fingerprints: StoredFingerprints | None = None,
    files: BlockFiles = NOWHERE,
) -> dict[int, list[bytes]]:
    """Pass 2 through Beam: the blocks by shard key."""
    stored = fingerprints or StoredFingerprints.of(str(folder))
    output = folder / uuid.uuid4().hex
    output.mkdir()
    beam_options = PipelineOptions(
        [], direct_running_mode="multi_threading" if workers > 1 else "in_memory", direct_num_workers=workers
    )
    with beam.Pipeline(options=beam_options) as pipeline:
        blocks = pipeline | beam.Create(shards, reshuffle=False) | Deduplicate(stored, options, files)
        blocks | beam.ParDo(Collect(output))
    found = defaultdict(list)
    for file in output.iterdir():
        found[int(file.name.partition(".")[0])].append(file.read_bytes())
    return found


def check_against_reference(
    blocks: dict[int, list[bytes]], shards: list[Shard], contents: list[list[Document]], options: Deduplication
) -> None:
    expected = deduplicate_reference(shards, contents, options)
    dropped, stand_for = {}, {}
    for shard in shards:
        here = range(shard.key, shard.key + shard.rows)
        mine = blocks.pop(shard.key, []) if shard.rows else []
        for decision in decisions(mine):
            assert int(decision["document"]) in here
            dropped[int(decision["document"])] = (
                int(decision["witness"]),
                float(decision["similarity"]),
                bool(decision["exact"]),
            )
        for witness in witnesses(mine):
            assert int(witness["witness"]) in here
            stand_for[int(witness["witness"])] = int(witness["documents"])
    assert not blocks
    assert dropped == expected.dropped
    assert stand_for == expected.witnesses
    assert not set(dropped) & set(stand_for)


def canonical(blocks: dict[int, list[bytes]]) -> dict[int, tuple[bytes, bytes]]:
    return {key: (decisions(found).tobytes(), witnesses(found).tobytes()) for key, found in blocks.items()}


def test_random_worlds_get_the_reference_answer_however_the_work_is_cut(tmp_path):
    contents = [shard for seed in range(4) for shard in random_world(seed, 60, 3)]
    shards = write_shards(tmp_path, contents)
    once = Deduplication(partitions=1)
    plain = run(shards, tmp_path, once)
    cut = run(shards[::-1], tmp_path, dataclasses.replace(once, partitions=7), workers=2)
    assert canonical(plain) == canonical(cut)
    exact = sum(decisions(found)["exact"].sum() for found in plain.values())
    assert 50 < exact < sum(len(decisions(found)) for found in plain.values()) - 50  # both kinds are there to compare
    check_against_reference(plain, shards, contents, once)


def test_the_answer_is_the_same_in_many_small_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(deduplication_blocks, "BLOCK_BYTES", 150)  # a block that is larger is refused where it is made
    contents = [shard for seed in range(2) for shard in random_world(seed, 60, 3)]
    shards = write_shards(tmp_path, contents)
    options = Deduplication(partitions=2)
    blocks = run(shards, tmp_path, options)
    assert max(len(found) for found in blocks.values()) > 5
    check_against_reference(blocks, shards, contents, options)


def test_the_longest_stays_and_languages_dont_meet(tmp_path):
    contents = [shard for seed in range(4) for shard in random_world(seed, 60, 3)]
    shards = write_shards(tmp_path, contents)
    options = Deduplication(partitions=4, keep_duplicate="longest", duplicates_within="language", bucket_cap=2)
    check_against_reference(run(shards, tmp_path, options), shards, contents, options)


@pytest.mark.parametrize(("keep", "scope"), [("first", "global"), ("longest", "language")])
def test_what_earlier_runs_kept_stays_and_drops_what_is_like_it(tmp_path, keep, scope):
    contents = [shard for seed in range(6) for shard in random_world(seed % 3, 60, 2)]  # 3 worlds, each in two runs
    earlier, own = contents[:6], contents[6:]
    shards = write_shards(tmp_path / "earlier", earlier)
    own_shards = write_shards(tmp_path / "own", own)
    random = np.random.default_rng(3)
    (tmp_path / "kept").mkdir()
    for shard, documents in zip(shards, earlier, strict=True):
        kept = random.random(len(documents)) < 0.7
        ids = document_id(shard.source.number, shard.first_row + np.flatnonzero(kept))
        pq.write_table(pa.table({"id": ids}), tmp_path / "kept" / f"{shard.name}.parquet")
        documents[:] = [d if k else dataclasses.replace(d, content=None) for d, k in zip(documents, kept, strict=True)]
    fingerprints = StoredFingerprints(
        (
            StoredRun(str(tmp_path / "earlier"), 0, kept_uri=str(tmp_path / "kept")),
            StoredRun(str(tmp_path / "own"), first_source=100),
        )
    )
    own_shards = [
        dataclasses.replace(s, source=dataclasses.replace(s.source, number=s.source.number + 100)) for s in own_shards
    ]
    options = Deduplication(
        partitions=3, keep_duplicate=keep, duplicates_within=scope, always_kept=fingerprints.always_kept
    )
    blocks = run([*shards, *own_shards], tmp_path, options, fingerprints=fingerprints)
    expected = deduplicate_reference([*shards, *own_shards], [*earlier, *own], options)
    found = {
        int(d["document"]): (int(d["witness"]), float(d["similarity"]), bool(d["exact"]))
        for shard in own_shards
        for d in decisions(blocks.get(shard.key, []))
    }
    assert found == expected.dropped
    witnesses_kept_before = {witness for witness, _, _ in found.values() if witness < options.always_kept}
    assert len(witnesses_kept_before) > 5
    near = [found_ for found_ in found.values() if found_[0] < options.always_kept and not found_[2]]
    assert len(near) > 5


def planted() -> tuple[list[list[Document]], dict[tuple[int, int], tuple[int, int]]]:
    """Clusters of known shape over shards, and who is dropped for whom: (shard, row) -> (shard, row)."""
    shards: list[list[Document]] = [[] for _ in range(8)]
    expected: dict[tuple[int, int], tuple[int, int]] = {}

    def put(shard: int, found: Document, witness: tuple[int, int] | None = None) -> tuple[int, int]:
        shards[shard].append(found)
        place = (shard, len(shards[shard]) - 1)
        if witness:
            expected[place] = witness
        return place

    # A chain: neighbours share 26 of 32 bytes, others 23 at most: A drops B; C is unlike A and stays, though like B.
    base = np.frombuffer(document(1, 1).signature, np.uint8)
    for number in range(5):
        signature = base.copy()
        signature[3 * number : 3 * number + 3] = 255
        signature[: 3 * number] = 254
        link = dataclasses.replace(
            document(100 + number), signature=signature.tobytes(), bands=(5000 + number, 5001 + number, 9000 + number)
        )
        put(number, link, (number - 1, len(shards[number - 1]) - 1) if number % 2 else None)
    # A clique over four shards and a bucket of one template; their first documents witness all.
    for like, count, start in ((2, 8, 4), (3, 300, 0)):
        first = put(start, document(like * 1000, like, 0, (like, like, like)))
        for number in range(1, count):
            place = start + number % 4 if like == 2 else number % 7
            put(place, document(like * 1000 + number, like, 0, (like, like, like)), first)
    # One text everywhere, and short texts of which only the equal ones are duplicates.
    first = put(0, document(7))
    for number in range(50):
        put(number % 8, document(7), first)
    put(3, document(8))
    put(3, Document(None))
    # Exact copies of a near-duplicate follow its witness.
    first = put(1, document(4000, 4, 0, (4,)))
    for shard in (2, 5, 5, 6):
        put(shard, document(4001, 4, 2, (4,)), first)
    return shards, expected


def test_planted_clusters_end_as_their_shapes_say(tmp_path):
    contents, expected = planted()
    contents += [[], [document(7)], [Document(None)], [document(9_999_999, 5)]]  # shards of no row and of one
    expected[(9, 0)] = next(
        witness for place, witness in expected.items() if contents[place[0]][place[1]] == document(7)
    )
    shards = write_shards(tmp_path, contents)
    unreadable = Shard(Source(99, "file:///broken.parquet", "etag", 1), error="not a Parquet file")
    options = Deduplication(partitions=3)
    blocks = run([*shards, unreadable], tmp_path, options, workers=2)
    found = {}
    for shard in shards:
        found |= {int(d["document"]): int(d["witness"]) for d in decisions(blocks.get(shard.key, []))}
    ids = {(number, row): shard.key + row for number, shard in enumerate(shards) for row in range(shard.rows)}
    assert found == {ids[place]: ids[witness] for place, witness in expected.items()}
    check_against_reference(blocks, shards, contents, options)


def test_nothing_gives_nothing(tmp_path):
    empty = write_shards(tmp_path, [[]])
    assert run([], tmp_path, Deduplication()) == {}
    assert run(empty, tmp_path, Deduplication()) == {}


def test_a_shard_whose_rows_are_unknown_or_wrong_is_an_error_that_names_it(tmp_path):
    (shard,) = write_shards(tmp_path, [[document(1), document(2)]])
    wrong = dataclasses.replace(shard, rows=3)
    with pytest.raises(ValueError, match=r"0000000-00000.parquet has 2 documents, but .*source-0.parquet has 3"):
        list(steps.content_hashes(wrong, StoredFingerprints.of(str(tmp_path)), Deduplication()))
    with pytest.raises(Exception, match=r"source-0.parquet: .* rows are unknown"):
        run([dataclasses.replace(shard, rows=-1)], tmp_path, Deduplication())


def test_large_buckets_are_logged(caplog):
    layout = steps.deduplication.bands_layout("first")
    records = layout.empty(5)
    records["bucket"], records["row"] = 1, range(5)
    list(steps.candidate_pairs(0, [layout.pack(0, records)], Deduplication(bucket_cap=4)))
    assert "1 buckets have more than 4 documents (bucket_cap), the largest 5" in caplog.text


def test_too_many_open_edges_are_an_error_that_names_the_setting():
    edges = as_edges([(1, 2, 0.9), (2, 3, 0.9), (3, 4, 0.9)], {n: n for n in range(5)})
    blocks = [EDGES.pack(0, edges[:2]), EDGES.pack(1, edges[2:])]
    assert list(steps.finish(0, blocks, 3))
    with pytest.raises(TooManyOpenEdgesError, match=r"more than 2 verified pairs .*max_open_edges"):
        list(steps.finish(0, blocks, 2))


def group(keyed, *layouts):
    """What GroupByKey does: blocks of these kinds by key, here latest first, since no order is promised."""
    groups = defaultdict(list)
    for key, block in keyed:
        if block[:1] in {layout.kind for layout in layouts}:
            groups[key].insert(0, block)
    return groups.items()


def resolve_in_partitions(edges, partitions):
    """The steps of ResolveDuplicates: the decisions by shard, and how many edges were open at the end."""
    every = list(EDGES.split(0, edges, partition_of(edges["later"], partitions)))
    asked = [out for key, block in every for out in steps.ask_who_is_kept(key, block, partitions)]
    kept = [out for key, b in group(asked, KNOWN, QUESTIONS) for out in steps.answer(key, b, False)]
    settled = [out for key, b in group(every + kept, EDGES, steps.ANSWERS) for out in steps.settle(key, b, partitions)]
    dropped = [out for key, b in group(settled, KNOWN, QUESTIONS) for out in steps.answer(key, b, True)]
    still_open = [
        out
        for key, b in group(settled + dropped, EDGES, steps.ANSWERS)
        if any(block[:1] == EDGES.kind for block in b)
        for out in steps.void(key, b)
    ]
    finished = [out for key, b in group(still_open, EDGES) for out in steps.finish(key, b, 10**6)]
    decided = [out for key, b in group(settled + finished, KEPT_EDGES) for out in steps.decide(key, b)]
    assert not list(group(decided, FATES))
    return dict(group(decided, DECISIONS, WITNESSES)), sum(EDGES.size(block) for _, block in still_open)


@settings(deadline=None)
@given(graphs())
def test_the_rounds_keep_the_three_promises_for_any_partitions(graph):
    pairs, ranks = graph
    edges = as_edges(pairs, ranks)
    expected = resolve_reference(pairs, ranks)
    answers = []
    for partitions in range(1, 8):
        found, _ = resolve_in_partitions(edges[::-1] if partitions % 2 else edges, partitions)
        answers.append(canonical(found))
    assert all(answer == answers[0] for answer in answers)
    dropped = {
        int(d["document"]): (int(d["witness"]), float(d["similarity"])) for f in found.values() for d in decisions(f)
    }
    assert dropped == {document: (w, float(np.float32(s))) for document, (w, s) in expected.items()}
    similarities = {frozenset((a, b)): float(np.float32(similarity)) for a, b, similarity in pairs}
    for name, (witness, similarity) in dropped.items():
        assert witness not in dropped
        assert similarities[frozenset((name, witness))] == similarity
    assert all(a in dropped or b in dropped for a, b, _ in pairs)
    counted = {int(w["witness"]): int(w["documents"]) for f in found.values() for w in witnesses(f)}
    assert sum(counted.values()) == len(dropped)


def test_two_rounds_settle_what_hangs_on_one_document():
    star = [(0, n, 0.9) for n in range(1, 50)] + [(n, n + 1, 0.85) for n in range(1, 49)]
    _, still_open = resolve_in_partitions(as_edges(star, {n: n for n in range(50)}), 3)
    assert still_open == 0
    chain = [(n, n + 1, 0.9) for n in range(9)]
    _, still_open = resolve_in_partitions(as_edges(chain, {n: n for n in range(10)}), 3)
    assert 0 < still_open < 9
