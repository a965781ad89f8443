"""Pass 2: from stored fingerprints, without text, to what every shard has to drop.

    ExactDuplicates -> BandRecords -> VerifyPairs -> ResolveDuplicates

What goes from box to box is ``tuple[int, bytes]``: the key of a shard, or a partition's number, and a packed block of
1 MiB at most (``transforms.kernels.deduplication.blocks`` has every kind). A block is about one (origin, destination),
so with S shards and P partitions a shuffle has at most S * P elements and those that its bytes need. On a runner that
keeps everything in memory the blocks lie in files, and their places are grouped (``transforms.io.block_files``). The
logic is in ``transforms.kernels.deduplication.candidates`` and ``transforms.kernels.deduplication.resolution``, what a
shard or a partition does with it in ``transforms.deduplication.steps``; here is who sends what to whom.

A shard's fingerprints are where ``transforms.deduplication.stored_fingerprints`` says
(``schemas.columns.fingerprints``), and each column is read by the one box that needs it: hashes by ``ExactDuplicates``,
bands by ``BandRecords``, signatures by ``VerifyPairs`` (twice, and only where there are candidates). Shards without
documents, or with an error, have no part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam

from schemas.shards import Shard
from transforms.counters import metered
from transforms.deduplication import steps as steps
from transforms.deduplication.steps import Keyed, TooManyOpenEdgesError
from transforms.deduplication.stored_fingerprints import StoredFingerprints
from transforms.io.block_files import NOWHERE, BlockFiles
from transforms.kernels.deduplication.blocks import (
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
    BlockLayout,
)
from transforms.kernels.deduplication.options import Deduplication, partitions_for
from transforms.kernels.deduplication.resolution import decisions, witnesses

__all__ = [
    "BandRecords",
    "Deduplicate",
    "Deduplication",
    "ExactDuplicates",
    "ForEachKey",
    "ResolveDuplicates",
    "TooManyOpenEdgesError",
    "VerifyPairs",
    "decisions",
    "has_documents",
    "partitions_for",
    "sent",
    "witnesses",
]

Step = Callable[..., Iterator[Keyed]]  # transforms.deduplication.steps


def _is_kind(keyed: Keyed, kinds: frozenset[bytes]) -> bool:
    return keyed[1][:1] in kinds


def _only(*layouts: BlockLayout) -> beam.PTransform:
    """The blocks of these kinds."""
    return beam.Filter(_is_kind, frozenset(layout.kind for layout in layouts))


def _for_block(keyed: Keyed, function: Step, arguments: tuple[object, ...]) -> Iterator[Keyed]:
    return metered(keyed[0], function, (keyed[1], *arguments))


def _for_key(
    grouped: tuple[int, Iterable[bytes]], function: Step, arguments: tuple[object, ...], files: BlockFiles
) -> Iterator[Keyed]:
    return metered(grouped[0], function, (files.read(grouped[1]), *arguments))


def _send(keyed: Keyed, files: BlockFiles) -> Keyed:
    steps.count("shuffled_bytes", len(keyed[1]))
    return keyed[0], files.left(keyed[1])


def sent(blocks: Iterable[beam.PCollection[Keyed]], files: BlockFiles) -> beam.PCollection[Keyed]:
    """All of these on their way to a GroupByKey, each sent where it is made: a runner may keep what it flattens."""
    sending = [
        each | f"Send[{number}]" >> beam.Map(_send, files).with_output_types(Keyed)
        for number, each in enumerate(blocks)
    ]
    return sending[0] if len(sending) == 1 else sending | beam.Flatten()


@dataclasses.dataclass
class ForEachKey(beam.PTransform):
    """From one or more collections of (key, block): ``function(key, blocks)`` for every key that has any."""

    function: Step
    files: BlockFiles
    arguments: tuple[object, ...] = ()

    def expand(self, blocks: tuple[beam.PCollection[Keyed], ...]) -> beam.PCollection[Keyed]:
        """Groups by key."""
        return (
            sent(blocks, self.files)
            | beam.GroupByKey()
            | beam.FlatMap(_for_key, self.function, self.arguments, self.files).with_output_types(Keyed)
        )


def _for_shard(
    grouped: tuple[int, tuple[Iterable[Shard], Iterable[bytes]]],
    function: Step,
    fingerprints: StoredFingerprints,
    options: Deduplication,
    files: BlockFiles,
) -> Iterator[Keyed]:
    _, (shards, blocks) = grouped
    for shard in shards:
        yield from metered(shard, function, (files.read(blocks), fingerprints, options))


@dataclasses.dataclass
class _ForEachShard(beam.PTransform):
    """From shards, and one or more collections of (shard key, block): ``function(shard, blocks)`` for every shard."""

    function: Step
    fingerprints: StoredFingerprints
    options: Deduplication
    files: BlockFiles

    def expand(self, inputs: tuple[beam.PCollection, ...]) -> beam.PCollection[Keyed]:
        shards, *blocks = inputs
        keyed = shards | beam.Filter(has_documents) | beam.WithKeys(_key).with_output_types(tuple[int, Shard])
        return (
            (keyed, sent(blocks, self.files))
            | beam.CoGroupByKey()
            | beam.FlatMap(_for_shard, self.function, self.fingerprints, self.options, self.files).with_output_types(
                Keyed
            )
        )


def _key(shard: Shard) -> int:
    return shard.key


def has_documents(shard: Shard) -> bool:
    """False for a shard without fingerprints: unreadable, or empty.

    Raises:
      ValueError: nobody has counted its documents.
    """
    if shard.error or not shard.rows:
        return False
    if shard.rows < 0:
        raise ValueError(f"shard {shard.name} of {shard.source.uri}: fingerprint it first, its rows are unknown")
    return True


@dataclasses.dataclass
class ExactDuplicates(beam.PTransform):
    """From ``Shard``: the exact duplicates, as ``DUPLICATES`` and ``FOLLOWERS`` blocks by shard key.

    A text goes to the shuffle once a shard: 24 bytes.
    """

    fingerprints: StoredFingerprints
    options: Deduplication
    files: BlockFiles = NOWHERE

    def expand(self, shards: beam.PCollection[Shard]) -> beam.PCollection[Keyed]:
        """Within shards, then within hash ranges."""
        hashed = (
            shards
            | beam.Filter(has_documents)
            | beam.FlatMap(metered, steps.content_hashes, (self.fingerprints, self.options)).with_output_types(Keyed)
        )
        within = hashed | "OfShard" >> _only(DUPLICATES)
        across = (hashed | "OfPartition" >> _only(CONTENT_HASHES),) | ForEachKey(steps.exact_duplicates, self.files)
        return (within, across) | beam.Flatten()


@dataclasses.dataclass
class BandRecords(beam.PTransform):
    """From shards and their exact duplicates: candidate pairs, as ``PAIRS`` blocks by key of the later end's shard.

    12 bytes a band in the shuffle, 16 where more than the id decides who stays; exact duplicates have none.
    """

    fingerprints: StoredFingerprints
    options: Deduplication
    files: BlockFiles = NOWHERE

    def expand(self, inputs: tuple[beam.PCollection[Shard], beam.PCollection[Keyed]]) -> beam.PCollection[Keyed]:
        """Bands of what is distinct to hash ranges, candidates from there."""
        shards, exact = inputs
        bands = (shards, exact | _only(DUPLICATES)) | "Bands" >> _ForEachShard(
            steps.band_records, self.fingerprints, self.options, self.files
        )
        return (bands,) | "Buckets" >> ForEachKey(steps.candidate_pairs, self.files, (self.options,))


@dataclasses.dataclass
class VerifyPairs(beam.PTransform):
    """From shards and candidates: the pairs that are similar enough, as ``EDGES`` blocks by partition of the later end.

    And a sample of those that nearly are, as ``AUDITED`` blocks, for ``transforms.deduplication.audit_duplicates``.

    The later end's shard, which compares, asks the earlier end's shard for the sketch, once a (document, asker).
    """

    fingerprints: StoredFingerprints
    options: Deduplication
    files: BlockFiles = NOWHERE

    def expand(self, inputs: tuple[beam.PCollection[Shard], beam.PCollection[Keyed]]) -> beam.PCollection[Keyed]:
        """Later end, earlier end, later end."""
        shards, candidates = inputs
        stored = (self.fingerprints, self.options, self.files)
        asked = (candidates,) | "Ask" >> ForEachKey(steps.ask_for_sketches, self.files)
        sketches = (shards, asked | "Wanted" >> _only(WANTED)) | "Send" >> _ForEachShard(steps.send_sketches, *stored)
        return (shards, asked | "Pairs" >> _only(PAIRS), sketches) | "Compare" >> _ForEachShard(
            steps.verify_pairs, *stored
        )


@dataclasses.dataclass
class ResolveDuplicates(beam.PTransform):
    """From verified pairs, if there are any, and exact duplicates: ``DECISIONS`` and ``WITNESSES`` blocks by shard key.

    Read them with ``decisions`` and ``witnesses``.
    """

    options: Deduplication
    files: BlockFiles = NOWHERE

    def expand(self, inputs: tuple[beam.PCollection[Keyed], ...]) -> beam.PCollection[Keyed]:
        """Who is kept of verified pairs, and what depends on that."""
        *pairs, exact = inputs
        kept_edges = self._resolved(pairs[0]) if pairs else ()
        followers = exact | "Followers" >> _only(FOLLOWERS)
        decided = (*kept_edges, followers) | "Decide" >> ForEachKey(steps.decide, self.files)
        fates, duplicates = decided | "Fates" >> _only(FATES), exact | "Duplicates" >> _only(DUPLICATES)
        followed = (fates, duplicates) | "Follow" >> ForEachKey(steps.follow, self.files)
        return (decided | "Decided" >> _only(DECISIONS, WITNESSES), followed) | beam.Flatten()

    def _resolved(self, pairs: beam.PCollection[Keyed]) -> tuple[beam.PCollection[Keyed], ...]:
        """KEPT_EDGES to shards: two rounds of question and answer, and the remainder."""
        edges = pairs | "Verified" >> _only(EDGES)
        options, partitions = self.options, (self.options.partitions,)

        # Round 1: a document without earlier neighbours is kept.
        asked = edges | "AskKept" >> beam.FlatMap(_for_block, steps.ask_who_is_kept, partitions).with_output_types(
            Keyed
        )
        kept = (asked,) | "AnswerKept" >> ForEachKey(steps.answer, self.files, (False,))
        settled = (edges, kept) | "Settle" >> ForEachKey(steps.settle, self.files, partitions)

        # Round 2: a pair whose earlier end is dropped is void.
        asked = settled | "AskDropped" >> _only(KNOWN, QUESTIONS)
        dropped = (asked,) | "AnswerDropped" >> ForEachKey(steps.answer, self.files, (True,))
        still_open = (settled | "Open" >> _only(EDGES), dropped) | "Void" >> ForEachKey(steps.void, self.files)

        finished = (still_open,) | "Finish" >> ForEachKey(steps.finish, self.files, (options.max_open_edges,))
        return settled | "Settled" >> _only(KEPT_EDGES), finished


@dataclasses.dataclass
class Deduplicate(beam.PTransform):
    """From ``Shard``: ``DECISIONS`` and ``WITNESSES`` blocks by shard key; the whole of pass 2."""

    fingerprints: StoredFingerprints
    options: Deduplication
    files: BlockFiles = NOWHERE

    def expand(self, shards: beam.PCollection[Shard]) -> beam.PCollection[Keyed]:
        """The four boxes; of exact copies alone, the first and the last."""
        exact = shards | ExactDuplicates(self.fingerprints, self.options, self.files)
        if not self.options.near_duplicates:
            return (exact,) | ResolveDuplicates(self.options, self.files)
        candidates = (shards, exact) | BandRecords(self.fingerprints, self.options, self.files)
        pairs = (shards, candidates) | VerifyPairs(self.fingerprints, self.options, self.files)
        return (pairs, exact) | ResolveDuplicates(self.options, self.files)
