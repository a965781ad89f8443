"""EarlierDuplicates: which documents of a new run are duplicates of what earlier runs of the corpus have kept.

    texts and bands -> parts of the index -> candidates -> sketches at their addresses -> verified pairs

It stands before pass 2. What an earlier run has kept stays, so a document that is like one of those goes, whatever else
it is like; pass 2 decides on the rest. So every dropped document has a kept witness, and no two kept documents of any
runs are a verified pair.

What is read of the index is in proportion to the new documents, but for the filter, 10 bits a band of the old ones
(``transforms.io.index_parts``). Nothing of what older runs have stored themselves is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import EARLIER
from schemas.fingerprint_index import FingerprintIndex
from schemas.shards import Shard
from transforms.counters import metered
from transforms.deduplication.deduplicate import ForEachKey, has_documents, sent
from transforms.deduplication.index_kept import band_keys, part_of, text_keys
from transforms.deduplication.steps import Keyed, count, read_columns, read_sketches_of, scope_columns, tags_of
from transforms.deduplication.stored_fingerprints import StoredFingerprints, earlier_duplicates
from transforms.io import storage
from transforms.io.block_files import NOWHERE, BlockFiles
from transforms.io.index_parts import RECORDS, Part, ends_of_keys
from transforms.io.index_sketches import read_sketches
from transforms.kernels.deduplication.blocks import (
    DECISIONS,
    FOUND_PAIRS,
    FOUND_TEXTS,
    SOUGHT_BANDS,
    SOUGHT_TEXTS,
    BlockLayout,
    run_starts,
)
from transforms.kernels.deduplication.candidates import content_hash_records, verify
from transforms.kernels.deduplication.options import Deduplication

OF_AN_EARLIER_RUN = np.uint64(1 << 63)
"""This bit of a witness says that the rest is its id in the corpus (``schemas.fingerprint_index``)."""
_PAIRS_AT_ONCE = 16_384


def sought_keys(shard: Shard, fingerprints: StoredFingerprints, options: Deduplication, bits: int) -> Iterator[Keyed]:
    """SOUGHT_TEXTS and SOUGHT_BANDS of a shard's documents, of each text once, to parts of the index."""
    first = np.ones(shard.rows, np.bool_)
    first[_repeated(shard, fingerprints, options)["row"]] = False
    key, low, rows = text_keys(shard, fingerprints, options, first)
    texts = SOUGHT_TEXTS.empty(len(rows))
    texts["key"], texts["low"], texts["row"] = key, low, rows
    yield from SOUGHT_TEXTS.split(shard.key, texts, part_of(key, bits))
    if not options.near_duplicates:
        return
    keys, rows = band_keys(shard, fingerprints, options, first)
    bands = SOUGHT_BANDS.empty(keys.size)
    bands["key"], bands["row"] = keys.reshape(-1), np.repeat(rows, keys.shape[1] if len(rows) else 0)
    yield from SOUGHT_BANDS.split(shard.key, bands, part_of(bands["key"], bits))


def _repeated(shard: Shard, fingerprints: StoredFingerprints, options: Deduplication) -> np.ndarray:
    """DUPLICATES of a shard within itself."""
    content_hash, *languages = read_columns(shard, fingerprints, ["content_hash", *scope_columns(options)])
    return content_hash_records(content_hash, tags_of(languages), shard.key)[1]


def look_up(part: int, blocks: Iterable[bytes], index: FingerprintIndex, bits: int) -> Iterator[Keyed]:
    """SOUGHT_TEXTS, SOUGHT_BANDS of a part -> FOUND_TEXTS, FOUND_PAIRS to the shards that look."""
    blocks = list(blocks)
    texts, shards = SOUGHT_TEXTS.unpack(blocks)
    at, found = _found(part, texts["key"], "texts", index, bits)
    same = texts["low"][at] == found["low"]
    yield from _answers(FOUND_TEXTS, texts["row"][at[same]], found["document"][same], shards[at[same]], part)
    bands, shards = SOUGHT_BANDS.unpack(blocks)
    at, found = _found(part, bands["key"], "bands", index, bits)
    yield from _answers(FOUND_PAIRS, bands["row"][at], found["address"], shards[at], part)


def _found(
    part: int, sought: np.ndarray, kind: str, index: FingerprintIndex, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which look has found a record of the index, and the records."""
    order = np.argsort(sought, kind="stable")
    starts = np.flatnonzero(run_starts(sought[order]))
    keys = sought[order][starts]
    at, records = [np.empty(0, np.int64)], [np.empty(0, RECORDS[kind])]
    for segment in index.segments if len(keys) else ():
        number = part >> (bits - segment.bits)
        with Part(storage.join(index.uri, segment.part(number, kind)), RECORDS[kind]) as file:
            which, found = file.find(keys)
        at.append(which)
        records.append(found)
    which, found = ends_of_keys(np.concatenate(at), np.concatenate(records))
    counts = np.diff(np.append(starts, len(sought)))
    repeats = counts[which]  # several documents may look for one key
    looks = np.repeat(starts[which] - (np.cumsum(repeats) - repeats), repeats) + np.arange(int(repeats.sum()))
    return order[looks], np.repeat(found, repeats)


def _answers(
    layout: BlockLayout, rows: np.ndarray, values: np.ndarray, shards: np.ndarray, part: int
) -> Iterator[Keyed]:
    records = layout.empty(len(rows))
    records["row"], records[layout.records.names[1]] = rows, values  # type: ignore[index]
    yield from layout.split(part, records, shards)


def decide_shard(
    item: tuple[int, tuple[Iterable[Shard], Iterable[bytes]]],
    fingerprints: StoredFingerprints,
    options: Deduplication,
    index: FingerprintIndex,
    uri: str,
    files: BlockFiles,
) -> Iterator[Shard]:
    """FOUND_TEXTS, FOUND_PAIRS of a shard -> its object (``schemas.columns.EARLIER``), and then the shard."""
    _, (shards, blocks) = item
    for shard in shards:
        if has_documents(shard):
            found = _decided(shard, files.read(blocks), fingerprints, options, index)
            count("duplicates_of_earlier_runs", len(found))
            table = pa.table([pa.array(found[name]) for name in EARLIER.names], schema=EARLIER)
            with storage.open_output(storage.join(uri, f"{shard.name}.parquet")) as file:
                pq.write_table(table, file, compression="zstd", compression_level=1)
        yield shard


def _decided(
    shard: Shard, blocks: Iterable[bytes], fingerprints: StoredFingerprints, options: Deduplication,
    index: FingerprintIndex,
) -> np.ndarray:  # fmt: skip
    """Records of ``EARLIER``, sorted by row."""
    texts, _ = FOUND_TEXTS.unpack(blocks)
    texts = texts[np.lexsort((texts["document"], texts["row"]))]
    texts = texts[run_starts(texts["row"])]
    decided = _records(texts["row"], texts["document"], np.ones(len(texts), np.float32), exact=True)
    pairs, _ = FOUND_PAIRS.unpack(blocks)
    pairs = pairs[~np.isin(pairs["row"], texts["row"])]
    near = _near(shard, pairs, fingerprints, options, index)
    decided = np.concatenate([decided, near])
    decided = decided[np.argsort(decided["row"], kind="stable")]
    # What has the same text as a document of its shard goes with it.
    repeated = _repeated(shard, fingerprints, options)
    representatives = (repeated["representative"] - np.uint64(shard.key)).astype(np.uint32)
    at = np.minimum(np.searchsorted(decided["row"], representatives), max(0, len(decided) - 1))
    if len(decided):
        gone = decided["row"][at] == representatives
        following = decided[at[gone]]
        following["row"] = repeated["row"][gone]
        decided = np.concatenate([decided, following])
    return decided[np.argsort(decided["row"], kind="stable")]


def _near(
    shard: Shard, pairs: np.ndarray, fingerprints: StoredFingerprints, options: Deduplication, index: FingerprintIndex
) -> np.ndarray:
    """The verified pairs, of each document the one of highest similarity, of equal ones the earliest witness."""
    pairs = pairs[np.lexsort((pairs["row"], pairs["address"]))]
    pairs = pairs[run_starts(pairs["address"], pairs["row"])]
    count("candidate_pairs_of_earlier_runs", len(pairs))
    verified = [_records(np.empty(0, np.uint32), np.empty(0, np.uint64), np.empty(0, np.float32), exact=False)]
    own = read_sketches_of(shard, fingerprints) if len(pairs) else None
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        piece = pairs[start : start + _PAIRS_AT_ONCE]
        addresses, at = np.unique(piece["address"], return_inverse=True)
        documents, sketches = read_sketches(index, addresses)
        assert own is not None
        found, similarity = verify(sketches, at, own, piece["row"], options)
        verified.append(_records(piece["row"][found], documents[at[found]], similarity[found], exact=False))
    near = np.concatenate(verified)
    near = near[np.lexsort((near["witness"], -near["similarity"], near["row"]))]
    return near[run_starts(near["row"])]


def _records(rows: np.ndarray, witnesses: np.ndarray, similarities: np.ndarray, exact: bool) -> np.ndarray:
    records = np.empty(len(rows), [("row", "<u4"), ("witness", "<u8"), ("similarity", "<f4"), ("exact", "?")])
    records["row"], records["witness"] = rows, witnesses
    records["similarity"], records["exact"] = similarities, exact
    return records


def decisions_of(shard: Shard, uri: str) -> Iterator[Keyed]:
    """A shard's object -> DECISIONS, whose witnesses have ``OF_AN_EARLIER_RUN``."""
    if not has_documents(shard):
        return
    found = earlier_duplicates(uri, shard)
    records = DECISIONS.empty(len(found))
    records["document"] = np.uint64(shard.key) + found["row"].astype(np.uint64)
    records["witness"] = found["witness"] | OF_AN_EARLIER_RUN
    records["similarity"], records["exact"] = found["similarity"], found["exact"]
    yield from DECISIONS.to(shard.key, shard.key, records)


@dataclasses.dataclass
class EarlierDuplicates(beam.PTransform):
    """From ``Shard``: the same, each when its object with the duplicates of earlier runs is there.

    Attributes:
      uri: folder of these objects (``schemas.columns.EARLIER``).
      fingerprints: of the run.
      index: of the corpus, after the run before.
    """

    uri: str
    fingerprints: StoredFingerprints
    options: Deduplication
    index: FingerprintIndex
    files: BlockFiles = NOWHERE

    def expand(self, shards: beam.PCollection[Shard]) -> beam.PCollection[Shard]:
        """To the parts of the index and back: at least as many as its largest segment has."""
        bits = max([(self.options.partitions - 1).bit_length(), *(segment.bits for segment in self.index.segments)])
        asked = (
            shards
            | beam.Filter(has_documents)
            | "Sought"
            >> beam.FlatMap(metered, sought_keys, (self.fingerprints, self.options, bits)).with_output_types(Keyed)
        )
        found = (asked,) | "LookUp" >> ForEachKey(look_up, self.files, (self.index, bits))
        how = (self.fingerprints, self.options, self.index, self.uri, self.files)
        keyed = shards | "ByKey" >> beam.Map(lambda shard: (shard.key, shard)).with_output_types(tuple[int, Shard])
        return (
            (keyed, sent((found,), self.files))
            | beam.CoGroupByKey()
            | "Decide" >> beam.FlatMap(metered, decide_shard, how).with_output_types(Shard)
        )
