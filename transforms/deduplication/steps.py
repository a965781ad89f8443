"""What each shard and each partition does in pass 2: (shard or key, blocks sent to it) -> (key, block) for others.

``transforms.deduplication.deduplicate`` says who sends what to whom; the logic is in
``transforms.kernels.deduplication.candidates`` and ``transforms.kernels.deduplication.resolution``. Here blocks become
arrays, arrays become blocks, and things are counted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics

from schemas.shards import Shard
from transforms.deduplication.stored_fingerprints import StoredFingerprints
from transforms.io.fingerprint_objects import read_fingerprints
from transforms.kernels.deduplication import auditing, resolution
from transforms.kernels.deduplication import candidates as deduplication
from transforms.kernels.deduplication.blocks import (
    ANSWERS,
    AUDITED,
    CONTENT_HASHES,
    DECISIONS,
    DUPLICATES,
    EDGES,
    FATES,
    FOLLOWERS,
    KEPT_EDGES,
    KNOWN,
    PAIRS,
    QUESTIONS,
    WANTED,
    WITNESSES,
    SignatureBlock,
    partition_of,
    run_starts,
)
from transforms.kernels.deduplication.options import Deduplication
from transforms.kernels.deduplication.sketches import Sketches

Keyed = tuple[int, bytes]
PAIRS_AT_ONCE = 16_384
"""Pairs, or documents, whose sketches are compared together: at most 20 MiB with signatures of 256 bytes."""
PAIRS_HELD = 2 << 20
"""Pairs that are held until those that were found in several bands are thrown out: 32 MiB."""
HIGHEST = np.uint32(2**32 - 1)
"""Stands for the rank of a document of an earlier run: of a pair, it stays."""
_LOG = logging.getLogger(__name__)


class TooManyOpenEdgesError(Exception):
    """The last step of the resolution would need more memory than ``max_open_edges`` allows."""


def count(name: str, number: int) -> None:
    """Adds to one of the few counters of pass 2."""
    Metrics.counter("deduplicate", name).inc(number)


def read_columns(shard: Shard, fingerprints: StoredFingerprints, columns: list[str]) -> list[pa.Array]:
    """The named columns of a shard's fingerprints.

    Raises:
      ValueError: the object doesn't have the shard's number of documents.
    """
    uri = fingerprints.uri_of(shard)
    table = read_fingerprints(uri, columns).table
    if len(table) != shard.rows:
        raise ValueError(
            f"{uri} has {len(table)} documents, but shard {shard.name} of {shard.source.uri} has {shard.rows}: "
            f"delete the object and run again"
        )
    return [table[name].chunk(0) for name in columns]


def tags_of(languages: list[pa.Array]) -> np.ndarray | None:
    """What may not differ between duplicates, from the columns of ``scope_columns``; None if nothing."""
    return deduplication.language_tags(languages[0]) if languages else None


def scope_columns(options: Deduplication) -> list[str]:
    """The stored columns that say which documents may be duplicates of each other."""
    return ["language"] if options.duplicates_within == "language" else []


def content_hashes(shard: Shard, fingerprints: StoredFingerprints, options: Deduplication) -> Iterator[Keyed]:
    """CONTENT_HASHES to partitions, DUPLICATES within the shard to itself."""
    columns = ["content_hash", *scope_columns(options)]
    content_hash, *languages = read_columns(shard, fingerprints, columns)
    there = fingerprints.taking_part(shard)
    if there is not None:
        content_hash = pc.if_else(pa.array(there), content_hash, pa.scalar(None, content_hash.type))
    records, duplicates = deduplication.content_hash_records(content_hash, tags_of(languages), shard.key)
    count("documents", len(content_hash) - content_hash.null_count)
    count("exact_duplicates", len(duplicates))
    yield from DUPLICATES.to(shard.key, shard.key, duplicates)
    yield from CONTENT_HASHES.split(shard.key, records, partition_of(records["high"], options.partitions))


def exact_duplicates(partition: int, blocks: Iterable[bytes]) -> Iterator[Keyed]:
    """CONTENT_HASHES -> DUPLICATES and FOLLOWERS to shards."""
    found = deduplication.exact_duplicates(*CONTENT_HASHES.unpack(blocks))
    count("exact_duplicates", len(found.duplicates))
    yield from DUPLICATES.split(partition, found.duplicates, found.duplicate_shards)
    yield from FOLLOWERS.split(partition, found.followers, found.follower_shards)


def band_records(
    shard: Shard, blocks: Iterable[bytes], fingerprints: StoredFingerprints, options: Deduplication
) -> Iterator[Keyed]:
    """DUPLICATES -> BANDS of all other documents to partitions."""
    column = deduplication.rank_column(options.keep_duplicate)
    columns = ["bands", *([column] if column else []), *scope_columns(options)]
    arrays = dict(zip(columns, read_columns(shard, fingerprints, columns), strict=True))
    ranks = deduplication.ranks_of(arrays[column]) if column else None
    left_out = DUPLICATES.unpack(blocks)[0]["row"]
    there = fingerprints.taking_part(shard)
    if there is not None:
        left_out = np.concatenate([left_out, np.flatnonzero(~there)])
    if ranks is not None and fingerprints.is_earlier(shard):
        ranks = np.full_like(ranks, HIGHEST)
    tags = tags_of([arrays[name] for name in scope_columns(options)])
    records = deduplication.band_records(arrays["bands"], tags, ranks, left_out)
    layout = deduplication.bands_layout(options.keep_duplicate)
    yield from layout.split(shard.key, records, partition_of(records["bucket"], options.partitions))


def candidate_pairs(partition: int, blocks: Iterable[bytes], options: Deduplication) -> Iterator[Keyed]:
    """BANDS -> PAIRS to the shard of the later end."""
    records, shards = deduplication.bands_layout(options.keep_duplicate).unpack(blocks)
    found = deduplication.candidate_pairs(records, shards, options.bucket_cap, options.always_kept)
    if found.large_buckets:
        count("large_buckets", found.large_buckets)
        _LOG.warning(
            "partition %d: %d buckets have more than %d documents (bucket_cap), the largest %d: many documents share a "
            "template, or more rows in a band are needed",
            *(partition, found.large_buckets, options.bucket_cap, found.largest_bucket),
        )
    for pairs, to in found.pairs:
        yield from PAIRS.split(partition, pairs, to)


def read_sketches_of(shard: Shard, fingerprints: StoredFingerprints) -> Sketches:
    """What is compared of a shard's documents, by row."""
    return Sketches.of_columns(*read_columns(shard, fingerprints, ["signature", "shingles"]))


def _distinct(shard: int, blocks: Iterable[bytes]) -> np.ndarray:
    """PAIRS of a shard, each once; never much more than that is held, in however many bands they were found."""
    pairs, held, total, most = PAIRS.empty(0), [], 0, PAIRS_HELD
    for _, more in PAIRS.each(blocks):
        held.append(more)
        total += len(more)
        if total > most:
            pairs, held = _merged(shard, [pairs, *held]), []
            total, most = len(pairs), max(PAIRS_HELD, 2 * len(pairs))
    return _merged(shard, [pairs, *held])


def _merged(shard: int, parts: list[np.ndarray]) -> np.ndarray:
    pairs = np.concatenate(parts)
    return deduplication.distinct_pairs(pairs, np.full(len(pairs), shard, np.uint64))[0]


def ask_for_sketches(shard: int, blocks: Iterable[bytes]) -> Iterator[Keyed]:
    """PAIRS -> PAIRS of the shard, each once; WANTED, the earlier ends, to their shards."""
    pairs = _distinct(shard, blocks)
    count("candidate_pairs", len(pairs))
    yield from PAIRS.to(shard, shard, pairs)
    wanted = pairs[run_starts(pairs["earlier"])]
    shards = wanted["earlier"] - wanted["earlier_row"]
    elsewhere = shards != shard
    rows = WANTED.empty(int(elsewhere.sum()))
    rows["row"] = wanted["earlier_row"][elsewhere]
    yield from WANTED.split(shard, rows, shards[elsewhere])


def send_sketches(
    shard: Shard, blocks: Iterable[bytes], fingerprints: StoredFingerprints, options: Deduplication
) -> Iterator[Keyed]:
    """WANTED -> SignatureBlock to the shard that asks."""
    sketches = None
    for destination, wanted in WANTED.each(blocks):
        if sketches is None:
            sketches = read_sketches_of(shard, fingerprints)
        for block in SignatureBlock.of(shard.key, wanted["row"], sketches):
            yield destination, block.pack()


def _compare(
    shard: Shard, pairs: np.ndarray, earlier: Sketches, at: np.ndarray, own: Sketches, options: Deduplication
) -> tuple[np.ndarray, np.ndarray]:
    """EDGES of the verified pairs, and a sample of the near misses as AUDITED; the later ends are in this shard.

    Args:
      pairs: ``PAIRS`` (n,).
      earlier, at: sketches, and int64 (n,), where that of each pair's earlier end is in them.
      own: of the shard.
    """
    found, similarity = deduplication.verify(earlier, at, own, pairs["row"], options)
    count("verified_pairs", len(found))
    later = np.uint64(shard.key) + pairs["row"]
    missed = auditing.near_misses(later, pairs["earlier"], similarity, options.min_similarity, found)
    kept = pairs[found]
    edges = resolution.edges(kept["earlier"], kept["earlier_row"], later[found], kept["row"], similarity[found])
    return edges, auditing.sample(missed)


def _compared(shard: Shard, found: list[tuple[np.ndarray, np.ndarray]], options: Deduplication) -> Iterator[Keyed]:
    """EDGES to the partition of the later end, and AUDITED."""
    missed = np.concatenate([AUDITED.empty(0), *(missed for _, missed in found)])
    yield from AUDITED.to(shard.key, shard.key, auditing.sample(missed))
    edges = np.concatenate([EDGES.empty(0), *(edges for edges, _ in found)])
    yield from EDGES.split(shard.key, edges, partition_of(edges["later"], options.partitions))


def verify_pairs(
    shard: Shard, blocks: Iterable[bytes], fingerprints: StoredFingerprints, options: Deduplication
) -> Iterator[Keyed]:
    """PAIRS, SignatureBlock -> EDGES to the partition of the later end; AUDITED, the near misses.

    Many shards send a few sketches each, so blocks are compared some thousand pairs at a time.

    Raises:
      ValueError: a sketch hasn't come that was asked for.
    """
    pairs, _ = PAIRS.unpack(blocks)
    if not len(pairs):
        return
    pairs = pairs[np.argsort(pairs["earlier"], kind="stable")]
    own = read_sketches_of(shard, fingerprints)
    within = pairs[pairs["earlier"] - pairs["earlier_row"] == np.uint64(shard.key)]
    found = [
        _compare(shard, piece, own, piece["earlier_row"], own, options)
        for piece in (within[start : start + PAIRS_AT_ONCE] for start in range(0, len(within), PAIRS_AT_ONCE))
    ]
    compared = len(within)
    for sketches, ids in _held_sketches(blocks):
        starts, stops = (np.searchsorted(pairs["earlier"], ids, side) for side in ("left", "right"))
        counts = stops - starts
        at = np.repeat(np.arange(len(ids)), counts)
        chosen = np.arange(len(at)) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
        found.append(_compare(shard, pairs[chosen], sketches, at, own, options))
        compared += len(at)
    if compared != len(pairs):
        raise ValueError(f"shard {shard.name} of {shard.source.uri}: {compared} of {len(pairs)} pairs were compared")
    yield from _compared(shard, found, options)


def _held_sketches(blocks: Iterable[bytes]) -> Iterator[tuple[Sketches, np.ndarray]]:
    """The documents of all SignatureBlocks, some thousand at a time: their sketches and ids."""
    held: list[SignatureBlock] = []
    documents = 0

    def together() -> tuple[Sketches, np.ndarray]:
        ids = [np.uint64(block.shard) + block.rows for block in held]
        return Sketches.concatenate([block.sketches for block in held]), np.concatenate(ids)

    for block in blocks:
        if block[:1] == SignatureBlock.KIND:
            held.append(SignatureBlock.unpack(block))
            documents += len(held[-1].rows)
            if documents >= PAIRS_AT_ONCE:
                yield together()
                held, documents = [], 0
    if held:
        yield together()


def _ask(partition: int, edges: np.ndarray, partitions: int) -> Iterator[Keyed]:
    """QUESTIONS about the earlier ends of a partition's edges to their partitions."""
    earlier = np.unique(edges["earlier"])
    questions = QUESTIONS.empty(len(earlier))
    questions["document"] = earlier
    yield from QUESTIONS.split(partition, questions, partition_of(earlier, partitions))


def _know(partition: int, documents: np.ndarray) -> Iterator[Keyed]:
    """KNOWN documents of a partition, to itself."""
    known = KNOWN.empty(len(documents))
    known["document"] = documents
    yield from KNOWN.to(partition, partition, known)


def ask_who_is_kept(partition: int, block: bytes, partitions: int) -> Iterator[Keyed]:
    """EDGES -> KNOWN: the documents that have earlier neighbours; QUESTIONS: have the others?"""
    edges, _ = EDGES.unpack([block])
    yield from _know(partition, np.unique(edges["later"]))
    yield from _ask(partition, edges, partitions)


def answer(partition: int, blocks: Iterable[bytes], if_known: bool) -> Iterator[Keyed]:
    """KNOWN, QUESTIONS -> ANSWERS: the documents asked about that are known, or those that aren't."""
    blocks = list(blocks)
    known = np.unique(KNOWN.unpack(blocks)[0]["document"])
    questions, askers = QUESTIONS.unpack(blocks)
    answered = np.isin(questions["document"], known, invert=not if_known)
    yield from ANSWERS.split(partition, questions[answered], askers[answered])


def settle(partition: int, blocks: Iterable[bytes], partitions: int) -> Iterator[Keyed]:
    """EDGES, ANSWERS (who is kept) -> KEPT_EDGES to shards; EDGES still open; KNOWN: the dropped; QUESTIONS."""
    blocks = list(blocks)
    edges, _ = EDGES.unpack(blocks)
    kept, _ = ANSWERS.unpack(blocks)
    settled, still_open, dropped = resolution.settle(edges, kept["document"])
    yield from KEPT_EDGES.split(partition, *resolution.kept_edges(settled))
    yield from EDGES.to(partition, partition, still_open)
    yield from _know(partition, dropped)
    yield from _ask(partition, still_open, partitions)


def void(partition: int, blocks: Iterable[bytes]) -> Iterator[Keyed]:
    """EDGES, ANSWERS (who is dropped) -> EDGES that stay open, all to one key."""
    blocks = list(blocks)
    edges, _ = EDGES.unpack(blocks)
    dropped, _ = ANSWERS.unpack(blocks)
    still_open = edges[np.isin(edges["earlier"], dropped["document"], invert=True)]
    count("open_edges", len(still_open))
    yield from EDGES.to(0, partition, still_open)


def finish(partition: int, blocks: Iterable[bytes], max_open_edges: int) -> Iterator[Keyed]:
    """EDGES, all that are open -> KEPT_EDGES to shards.

    Raises:
      TooManyOpenEdgesError: before more than the limit are held.
    """
    held, total = [], 0
    for block in blocks:
        total += EDGES.size(block)
        if total > max_open_edges:
            need = max_open_edges * resolution.BYTES_PER_OPEN_EDGE / 2**30
            raise TooManyOpenEdgesError(
                f"more than {max_open_edges} verified pairs are open after two rounds of the resolution "
                f"(max_open_edges; one worker needs {resolution.BYTES_PER_OPEN_EDGE} bytes for each, {need:.1f} GiB at "
                f"this limit): raise max_open_edges and the memory of the workers, or raise min_similarity"
            )
        held.append(block)
    edges, _ = EDGES.unpack(held)
    yield from KEPT_EDGES.split(partition, *resolution.kept_edges(resolution.resolve(edges)))


def decide(shard: int, blocks: Iterable[bytes]) -> Iterator[Keyed]:
    """KEPT_EDGES, FOLLOWERS -> DECISIONS for the shard, WITNESSES and FATES for others."""
    blocks = list(blocks)
    decided = resolution.decide(shard, KEPT_EDGES.unpack(blocks)[0], FOLLOWERS.unpack(blocks)[0])
    count("near_duplicates", len(decided.decisions))
    yield from DECISIONS.to(shard, shard, decided.decisions)
    yield from WITNESSES.split(shard, decided.witnesses, decided.witness_shards)
    yield from FATES.split(shard, decided.fates, decided.fate_shards)


def follow(shard: int, blocks: Iterable[bytes]) -> Iterator[Keyed]:
    """DUPLICATES, FATES -> DECISIONS for the shard."""
    blocks = list(blocks)
    followed = resolution.follow(shard, DUPLICATES.unpack(blocks)[0], FATES.unpack(blocks)[0])
    yield from DECISIONS.to(shard, shard, followed)
