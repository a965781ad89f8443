"""AuditDuplicates: reads a sample of what was removed, and of what nearly was, again and compares the texts themselves.

What pass 2 knows of a long text is 256 bytes. Here the true Jaccard similarity over all documented shingles of the
whole texts is computed for a few hundred pairs, in plain Python (``transforms.kernels.deduplication.plain_shingles``):
those removed as near-duplicates, with their witness, and near misses, candidates whose similarity lies just under
``min_similarity``. The sample is drawn by a hash of the ids, so it is the same in every run. Texts are read where they
are, at most one row group of a Parquet source a document, and only hashes of their shingles are shuffled, in elements
of 512 KiB at most.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import AUDIT
from schemas.shards import Shard, split_document_id
from transforms.counters import metered
from transforms.deduplication.stored_fingerprints import StoredFingerprints
from transforms.edit import Editing
from transforms.io import storage
from transforms.io.packed_sources import read_any
from transforms.io.readers import ReadOptions
from transforms.kernels.deduplication import auditing
from transforms.kernels.deduplication.blocks import AUDITED
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.text.normalization import Normalization, normalize

Wanted = tuple[int, tuple[int, int, int]]  # number of a shard's source, (row, pair, side), as pass 2 names documents
ToRead = tuple[Shard, list[tuple[int, int, int]]]  # a shard, (row, pair, side) of its documents in the sample
Shingled = tuple[tuple[int, int], tuple[int, int, bytes]]  # (group, range), (pair, side, hashed shingles in that range)
Counted = list[tuple[int, int, int, int]]  # of some pairs: number, shingles in common, and of either side, in one range
GROUPS = 16
"""Of pairs: those of a group are compared together, range by range.

So there are 256 keys for 400 pairs, as Flink spends some 10 ms on a key; and a key has 4 bytes for a byte of a text of
mean size: 42 MB where the texts of the sample have 10 MB each.
"""


class _Sample(beam.CombineFn):
    """Blocks of pairs and decisions -> ``AUDITED``, the sample."""

    def create_accumulator(self) -> np.ndarray:
        """Nothing."""
        return AUDITED.empty(0)

    def add_input(self, accumulator: np.ndarray, block: bytes) -> np.ndarray:
        """The sample of both."""
        return self.merge_accumulators([accumulator, auditing.audited([block])])

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        """The sample of all."""
        return auditing.sample(np.concatenate([AUDITED.empty(0), *accumulators]))

    def extract_output(self, accumulator: np.ndarray) -> np.ndarray:
        """As it is."""
        return accumulator


def wanted_documents(pairs: np.ndarray) -> Iterator[Wanted]:
    """The two documents of every pair of the sample."""
    for side, name in enumerate(("document", "witness")):
        sources, rows = split_document_id(pairs[name].astype(np.int64))
        for pair, (source, row) in enumerate(zip(sources.tolist(), rows.tolist(), strict=True)):
            yield source, (row, pair, side)


def to_read(item: tuple[int, dict[str, Iterable]]) -> Iterator[ToRead]:
    """Every shard of a source in which any of the sample's documents are, with these."""
    _, joined = item
    wanted = list(joined["wanted"])
    for shard in joined["shards"]:
        here = [each for each in wanted if 0 <= each[0] - shard.first_row < shard.rows]
        if here and not shard.error:
            yield shard, here


def shingle_documents(
    item: ToRead,
    sources_uri: str,
    fingerprints: StoredFingerprints,
    reading: ReadOptions,
    normalization: Normalization,
    options: MinHash,
    editing: Editing,
) -> Iterator[Shingled]:
    """Reads the wanted documents of a shard, edits them, and hashes their shingles."""
    shard, places = item
    wanted: dict[int, list[tuple[int, int]]] = {}
    for row, pair, side in places:
        wanted.setdefault(row, []).append((pair, side))
    keep = np.zeros(shard.rows, np.bool_)
    keep[[row - shard.first_row for row in wanted]] = True
    for batch in read_any(shard, reading, sources_uri, keep, fingerprints.census(shard)):
        normalized = normalize(batch["text"], normalization)
        shingles = auditing.hashed_shingles(editing.edited(shard, batch, normalized), options)
        for row, hashes in zip(batch["row"].to_pylist(), shingles, strict=True):
            for number, part in auditing.in_ranges(hashes):
                for pair, side in wanted[row]:
                    yield key_of(pair, number), (pair, side, part.astype("<u8", copy=False).tobytes())


def key_of(pair: int, number: int) -> tuple[int, int]:
    """Where a pair's shingles of one range of hashes are compared: with those of other pairs of its group."""
    return pair % GROUPS, number


def compare(item: tuple[tuple[int, int], Iterable[tuple[int, int, bytes]]]) -> Counted:
    """Of every pair of a group, how many shingles it has in common, and of either side, in a range."""
    sides: dict[int, tuple[list[bytes], list[bytes]]] = {}
    for pair, side, part in item[1]:
        sides.setdefault(pair, ([], []))[side].append(part)
    return [
        (pair, *auditing.common_and_sizes(*(np.frombuffer(b"".join(parts), "<u8") for parts in of_pair)))
        for pair, of_pair in sides.items()
    ]


def likenesses(counted: Iterable[Counted], pairs: int) -> np.ndarray:
    """How alike the texts of each pair are, by all their shingles; 0 without shingles.

    Returns:
      float64 (3, pairs): the Jaccard similarity, the share of the document's shingles that the witness has, and the
      share of the witness's that the document has.

    Raises:
      ValueError: nothing was read of some pair.
    """
    sums, read = np.zeros((pairs, 3), np.int64), np.zeros(pairs, np.bool_)
    for of_range in counted:
        for pair, *sizes in of_range:
            sums[pair] += sizes
            read[pair] = True
    if not read.all():
        raise ValueError(f"of {pairs} pairs of the audit's sample, {np.count_nonzero(~read)} weren't read")
    common, of_document, of_witness = sums.T
    return common / np.maximum(1, [of_document + of_witness - common, of_document, of_witness])


def write_audit(item: tuple[None, dict[str, Iterable]], uri: str, fingerprints: StoredFingerprints) -> None:
    """One object with the whole sample (``schemas.columns.AUDIT``), also if that is empty."""
    _, joined = item
    [pairs] = list(joined["pairs"]) or [AUDITED.empty(0)]
    columns = [pairs["removed"] != 0]
    for name in ("document", "witness"):
        columns.extend(fingerprints.documents(pairs[name]))
    columns += [pairs["similarity"], *likenesses(joined["counted"], len(pairs))]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, AUDIT, strict=True)], schema=AUDIT)
    with storage.open_output(uri) as file:
        pq.write_table(table, file, compression="zstd")


@dataclasses.dataclass
class AuditDuplicates(beam.PTransform):
    """From shards, verified pairs with near misses, and decisions: one object with the sample; nothing comes out.

    Attributes:
      uri: where the object goes.
      sources_uri: the plan's sources, where those of a packed shard are looked up.
      fingerprints: of the run; they say what is in a packed shard.
      reading, normalization, minhash, editing: how the run reads, normalizes, shingles and edits.
    """

    uri: str
    sources_uri: str
    fingerprints: StoredFingerprints
    reading: ReadOptions
    normalization: Normalization
    minhash: MinHash
    editing: Editing

    def expand(
        self,
        inputs: tuple[
            beam.PCollection[Shard], beam.PCollection[tuple[int, bytes]], beam.PCollection[tuple[int, bytes]]
        ],
    ) -> beam.PCollection[None]:
        """Sample, read, compare, write.

        Joins, not side inputs: Flink can't checkpoint those. A Reshuffle before texts are read: a checkpoint's barrier
        passes between sources (docs/flink.md).
        """
        shards, *blocks = inputs
        pairs = blocks | beam.Flatten() | beam.Values() | "Sample" >> beam.CombineGlobally(_Sample()).without_defaults()
        wanted = pairs | "Wanted" >> beam.FlatMap(wanted_documents)
        by_source = shards | "BySource" >> beam.Map(lambda shard: (shard.source.number, shard))
        where = (self.sources_uri, self.fingerprints)
        how = (self.reading, self.normalization, self.minhash, self.editing)
        counted = (
            {"shards": by_source, "wanted": wanted}
            | beam.CoGroupByKey()
            | "ToRead" >> beam.FlatMap(to_read).with_output_types(ToRead)
            | "Queue" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(metered, shingle_documents, (*where, *how)).with_output_types(Shingled)
            | beam.GroupByKey()
            | "Compare" >> beam.Map(compare).with_output_types(Counted)
        )
        return (
            {
                "object": shards.pipeline | "Object" >> beam.Create([(None, None)], reshuffle=False),
                "pairs": pairs | "Pairs" >> beam.WithKeys(None),
                "counted": counted | "Counted" >> beam.WithKeys(None),
            }
            | "Join" >> beam.CoGroupByKey()
            | "Write" >> beam.Map(write_audit, self.uri, self.fingerprints)
        )
