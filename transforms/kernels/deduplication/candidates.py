"""Which documents are candidates for being duplicates, and which of those are: functions on arrays.

Exact duplicates share the 128-bit hash of their normalized text. Near-duplicates share a bucket (one band of the
MinHash
signature: Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", 3.4) and have an estimated Jaccard similarity of
at least ``min_similarity``. Which of the verified pairs' documents stay is decided in
``transforms.kernels.deduplication.resolution``.

The *rank* decides which of a pair stays: the smaller id; or with ``keep_duplicate="longest"`` the one with more bytes
of text, with ``keep_duplicate="best: NAME"`` the one with the higher attribute, and of equal ones the smaller id. Of
exact duplicates the first stays in any case.

No function depends on the order in which records come: all sort by keys that are unique.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from transforms.kernels.deduplication.blocks import (
    BANDS,
    BANDS_AND_RANKS,
    CONTENT_HASHES,
    DUPLICATES,
    FOLLOWERS,
    PAIRS,
    BlockLayout,
    mix,
    run_starts,
)
from transforms.kernels.deduplication.options import BEST, Deduplication
from transforms.kernels.deduplication.sketches import Sketches, similarities

_LATER_ENDS_AT_ONCE = 1 << 20  # two pairs each, 130 bytes a pair while they are sorted
_ROUNDING = np.float32(1e-6)  # far below the estimate's step: the rounding of float32 must not decide


def rank_column(keep: str) -> str | None:
    """The stored column that decides, before the id, which of a pair stays."""
    return {"first": None, "longest": "text_bytes"}.get(keep, keep.removeprefix(BEST))


def ranks_of(column: pa.Array) -> np.ndarray:
    """uint32 (n,): numbers in the order of a numeric column; nulls and NaN come before all others.

    Unsigned integers of 32 bits or less as they are, all else as float32. The highest possible number is left for
    documents that stay whatever they have.
    """
    if pa.types.is_unsigned_integer(column.type) and column.type.bit_width <= 32:
        return np.minimum(column.fill_null(0).to_numpy().astype(np.uint32), np.uint32(2**32 - 2))
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float32)
    values = values + np.float32(0)  # -0 is 0
    bits = values.view(np.uint32)
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return np.where(np.isnan(values), np.uint32(0), ordered)


def fixed_bytes(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The values of a fixed-size binary column without its nulls: uint8 (m, width), and their rows: uint32 (m,)."""
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).astype(np.uint32)
    width = column.type.byte_width
    present = column if len(rows) == len(column) else column.drop_null()
    if not len(rows):
        return np.empty((0, width), np.uint8), rows
    values = np.frombuffer(present.buffers()[1], np.uint8, len(rows) * width, present.offset * width)
    return values.reshape(len(rows), width), rows


def language_tags(languages: pa.Array) -> np.ndarray:
    """uint64 (n,): a hash of each document's language, to be mixed into its hashes; null counts as a language."""
    coded = languages.cast(pa.string()).fill_null("").dictionary_encode()
    tags = [hashlib.blake2b(label.encode(), digest_size=8).digest() for label in coded.dictionary.to_pylist()]
    return np.frombuffer(b"".join(tags), "<u8")[coded.indices.to_numpy()] if tags else np.empty(0, np.uint64)


def sorted_groups(keys: tuple[np.ndarray, ...], ranks: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Groups of records that agree in all keys, those of one record mostly left out.

    Args:
      keys: arrays (n,), the first of which nearly decides. Most of its values are expected to be unique: only those
        that aren't are sorted by all keys.
      ranks: arrays (n,), what decides the order in a group, the first of them first.

    Returns:
      int64 (m,), positions of the records that share their first key with another, sorted by keys and ranks; and
      int64 (m,), for each of these the position of its group's first record. Some 0.1 µs a record.
    """
    by_key = np.argsort(keys[0])
    starts = run_starts(keys[0][by_key])
    alone = starts & np.append(starts[1:], True)[: len(starts)]
    shared = by_key[~alone]
    order = shared[np.lexsort([key[shared] for key in (*reversed(ranks), *reversed(keys))])]
    starts = run_starts(*(key[order] for key in keys))
    firsts = order[starts]
    return order, firsts[np.cumsum(starts) - 1]


def content_hash_records(content_hash: pa.Array, tags: np.ndarray | None, shard: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct texts of a shard, and its exact duplicates within itself.

    That a shard sends each text once keeps one endlessly repeated text from filling one partition.

    Args:
      content_hash: binary(16) (rows,), null where the document is not active.
      tags: uint64 (rows,), what may not differ between duplicates; None if nothing.
      shard: the shard's key.

    Returns:
      records of ``CONTENT_HASHES`` and of ``DUPLICATES``.
    """
    values, rows = fixed_bytes(content_hash)
    halves = np.ascontiguousarray(values).view("<u8")
    high = halves[:, 0] if tags is None else halves[:, 0] ^ tags[rows]
    low = halves[:, 1]
    order, firsts = sorted_groups((high, low), (rows,))
    documents = np.ones(len(rows), np.uint32)
    np.add.at(documents, firsts, (order != firsts).astype(np.uint32))
    later, first = order[order != firsts], firsts[order != firsts]
    documents[later] = 0
    there = documents > 0
    records = CONTENT_HASHES.empty(int(there.sum()))
    for name, column in (("high", high), ("low", low), ("row", rows), ("documents", documents)):
        records[name] = column[there]
    duplicates = DUPLICATES.empty(len(later))
    duplicates["row"] = rows[later]
    duplicates["representative"] = np.uint64(shard) + rows[first]
    return records, duplicates


@dataclasses.dataclass(frozen=True)
class ExactDuplicateRecords:
    """What a hash range says to the shards: records, and each record's shard.

    Attributes:
      duplicates, duplicate_shards: ``DUPLICATES`` to the shard that holds the duplicate.
      followers, follower_shards: ``FOLLOWERS`` to the shard that holds the representative.
    """

    duplicates: np.ndarray
    duplicate_shards: np.ndarray
    followers: np.ndarray
    follower_shards: np.ndarray


def exact_duplicates(records: np.ndarray, shards: np.ndarray) -> ExactDuplicateRecords:
    """Who has the same text, in one hash range: the first in rank represents all others.

    Args:
      records: ``CONTENT_HASHES`` (n,), from any number of shards in any order.
      shards: uint64 (n,), key of the shard of each record.
    """
    ids = shards + records["row"]
    order, firsts = sorted_groups((records["high"], records["low"]), (ids,))
    representatives = np.arange(len(records))
    representatives[order] = firsts
    later = np.flatnonzero(representatives != np.arange(len(records)))
    duplicates = DUPLICATES.empty(len(later))
    duplicates["row"] = records["row"][later]
    duplicates["representative"] = ids[representatives[later]]

    followers = FOLLOWERS.empty(len(records))
    followers["row"] = records["row"][representatives]
    followers["shard"] = shards
    followers["documents"] = records["documents"]
    followers["documents"][representatives == np.arange(len(records))] -= np.uint32(1)
    there = followers["documents"] > 0
    return ExactDuplicateRecords(duplicates, shards[later], followers[there], shards[representatives][there])


def bands_layout(keep: str) -> BlockLayout:
    """The layout of band records: with a number where one belongs to the rank."""
    return BANDS if keep == "first" else BANDS_AND_RANKS


def band_records(
    bands: pa.Array, tags: np.ndarray | None, ranks: np.ndarray | None, duplicate_rows: np.ndarray
) -> np.ndarray:
    """One record a band of every document of a shard that may have near-duplicates.

    Args:
      bands: binary(8 * bands) (rows,), little-endian 64-bit hashes; null: not active or too short.
      tags: uint64 (rows,), what may not differ between duplicates; None if nothing.
      ranks: uint32 (rows,), the higher stays, where more than the id decides; else None.
      duplicate_rows: rows of the exact duplicates, which are left out.

    Returns:
      records of ``BANDS``, or of ``BANDS_AND_RANKS`` if ``ranks`` are given.
    """
    values, rows = fixed_bytes(bands)
    distinct = np.ones(len(bands), np.bool_)
    distinct[duplicate_rows] = False
    chosen = distinct[rows]
    buckets, rows = np.ascontiguousarray(values[chosen]).view("<u8"), rows[chosen]
    count = buckets.shape[1]
    layout = BANDS if ranks is None else BANDS_AND_RANKS
    records = layout.empty(buckets.size)
    if tags is not None:
        buckets = mix(buckets ^ tags[rows][:, None])
    records["bucket"] = buckets.reshape(-1)
    records["row"] = np.repeat(rows, count)
    if ranks is not None:
        records["rank"] = np.repeat(ranks[rows], count)
    return records


@dataclasses.dataclass(frozen=True)
class CandidatePairs:
    """The candidates of one hash range.

    Attributes:
      pairs: ``PAIRS``, and uint64, the key of the shard of each pair's later end: some million pairs at a time, each
        pair once in a piece.
      large_buckets: number of buckets over the cap.
      largest_bucket: documents in the largest.
    """

    pairs: Iterator[tuple[np.ndarray, np.ndarray]]
    large_buckets: int
    largest_bucket: int


def candidate_pairs(records: np.ndarray, shards: np.ndarray, bucket_cap: int, always_kept: int = 0) -> CandidatePairs:
    """The candidates of one hash range: each document with its bucket's first in rank and with its predecessor.

    At most two pairs a record, so linear in the records whatever the buckets' sizes.

    Args:
      records: ``BANDS`` or ``BANDS_AND_RANKS`` (n,), from any number of shards in any order.
      shards: uint64 (n,), key of the shard of each record.
      bucket_cap: from which size on buckets are counted as large.
      always_kept: documents with a smaller id aren't the later end of a pair.
    """
    ids = shards + records["row"]
    has_rank = "rank" in (records.dtype.names or ())
    ranks = (~records["rank"], ids) if has_rank else (ids,)
    order, firsts = sorted_groups((np.ascontiguousarray(records["bucket"]),), ranks)
    positions = np.flatnonzero(order == firsts)
    sizes = np.diff(positions, append=len(order))
    later = np.flatnonzero((order != firsts) & (ids[order] >= np.uint64(always_kept)))

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(later), _LATER_ENDS_AT_ONCE):
            piece = later[start : start + _LATER_ENDS_AT_ONCE]
            earlier_ends = np.concatenate([firsts[piece], order[piece - 1]])
            later_ends = np.concatenate([order[piece], order[piece]])
            found = PAIRS.empty(len(later_ends))
            found["row"] = records["row"][later_ends]
            found["earlier"] = ids[earlier_ends]
            found["earlier_row"] = records["row"][earlier_ends]
            yield distinct_pairs(found, shards[later_ends])

    return CandidatePairs(pairs(), int((sizes > bucket_cap).sum()), int(sizes.max()) if len(sizes) else 0)


def distinct_pairs(pairs: np.ndarray, shards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair once, sorted by its earlier and later end; and no document with itself.

    Args:
      pairs: ``PAIRS`` (n,).
      shards: uint64 (n,), key of the shard of each pair's later end.
    """
    later = shards + pairs["row"]
    order = np.lexsort((later, pairs["earlier"]))
    order = order[run_starts(pairs["earlier"][order], later[order])]
    order = order[pairs["earlier"][order] != later[order]]
    return pairs[order], shards[order]


def verify(
    earlier: Sketches, earlier_rows: np.ndarray, later: Sketches, later_rows: np.ndarray, options: Deduplication
) -> tuple[np.ndarray, np.ndarray]:
    """Which candidate pairs are similar enough.

    Args:
      earlier, later: what is compared.
      earlier_rows, later_rows: (n,), the rows in them of each pair.

    Returns:
      int64 (m,), positions of the verified pairs, and float32 (n,), the similarity of each pair: exact where both are
      short, else estimated.
    """
    similarity, _ = similarities(earlier, earlier_rows, later, later_rows, options.band_bins)
    verified = np.flatnonzero(similarity >= np.float32(options.min_similarity) - _ROUNDING)
    return verified, similarity
