"""IndexKept: what later runs of a corpus are held against, from the fingerprints of the documents that a run has kept.

    ListStoredShards -> texts and bands of kept documents, sketches -> sorted parts of the index

No text is read. What is grouped are 24 bytes a document and 16 a band; sketches are written by the shard's worker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np

from schemas.fingerprint_index import FingerprintIndex, Segment, sketches_uri
from schemas.shards import Shard, document_id, places_of
from transforms.deduplication.deduplicate import ForEachKey, has_documents
from transforms.deduplication.steps import Keyed, read_columns, read_sketches_of, scope_columns, tags_of
from transforms.deduplication.stored_fingerprints import Planned, StoredFingerprints, stored_shard
from transforms.io import storage
from transforms.io.block_files import NOWHERE, BlockFiles
from transforms.io.index_parts import RECORDS, Part, write_part
from transforms.io.index_sketches import write_sketches
from transforms.kernels.deduplication.blocks import INDEXED_BANDS, INDEXED_TEXTS, mix
from transforms.kernels.deduplication.candidates import fixed_bytes
from transforms.kernels.deduplication.options import Deduplication

NumberedObject = tuple[int, Planned]
"""A run's fingerprint object, with its place among them."""


def part_of(keys: np.ndarray, bits: int) -> np.ndarray:
    """uint16 (n,): the parts in which keys are, or would be."""
    return (keys >> np.uint64(64 - bits)).astype(np.uint16) if bits else np.zeros(len(keys), np.uint16)


def text_keys(
    shard: Shard, fingerprints: StoredFingerprints, options: Deduplication, there: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys and second halves of the hashes of a shard's texts, uint64 (n,), and their rows.

    Args:
      there: mask of the documents that take part; None: all.
    """
    content_hash, *languages = read_columns(shard, fingerprints, ["content_hash", *scope_columns(options)])
    values, rows = fixed_bytes(content_hash)
    if there is not None:
        values, rows = values[there[rows]], rows[there[rows]]
    halves = np.ascontiguousarray(values).view("<u8").reshape(-1, 2)
    tags = tags_of(languages)
    high = halves[:, 0] if tags is None else halves[:, 0] ^ tags[rows]
    return mix(mix(high) ^ halves[:, 1]), halves[:, 1], rows


def band_keys(
    shard: Shard, fingerprints: StoredFingerprints, options: Deduplication, there: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Keys of the bands of a shard's documents, uint64 (n, bands), and their rows; arguments as of ``text_keys``."""
    bands, *languages = read_columns(shard, fingerprints, ["bands", *scope_columns(options)])
    values, rows = fixed_bytes(bands)
    if there is not None:
        values, rows = values[there[rows]], rows[there[rows]]
    keys = np.ascontiguousarray(values).view("<u8")
    tags = tags_of(languages)
    return mix(keys if tags is None else keys ^ tags[rows][:, None]), rows


def keys_of_object(
    item: NumberedObject, fingerprints: StoredFingerprints, options: Deduplication, index: FingerprintIndex,
    segment: Segment, run: int,
) -> Iterator[Keyed]:  # fmt: skip
    """``keys_of_shard`` of the shard that a fingerprint object is of."""
    number, planned = item
    shard = stored_shard(planned)
    if has_documents(shard):
        address = index.objects + number
        uri = sketches_uri(index.uri, run, number)
        yield from keys_of_shard(shard, fingerprints, options, segment.bits, address, uri)


def keys_of_shard(
    shard: Shard, fingerprints: StoredFingerprints, options: Deduplication, bits: int, address: int, uri: str
) -> Iterator[Keyed]:
    """Writes the sketches of a shard; INDEXED_TEXTS and INDEXED_BANDS of its kept documents to the index's parts.

    Args:
      bits: how many bits name a part.
      address, uri: the number of the sketch object in the corpus, and where it goes.
    """
    there = fingerprints.taking_part(shard)
    census = fingerprints.census(shard)

    def documents(rows: np.ndarray) -> np.ndarray:
        sources, source_rows = places_of(shard, census, rows)
        return document_id(sources.astype(np.int64), source_rows.astype(np.int64)).astype(np.uint64)

    key, low, rows = text_keys(shard, fingerprints, options, there)
    texts = INDEXED_TEXTS.empty(len(rows))
    texts["key"], texts["low"], texts["document"] = key, low, documents(rows)
    yield from INDEXED_TEXTS.split(shard.key, texts, part_of(key, bits))

    if not options.near_duplicates:
        return
    keys, rows = band_keys(shard, fingerprints, options, there)
    if not len(rows):
        return
    sketches = read_sketches_of(shard, fingerprints).take(rows)
    offsets = write_sketches(uri, documents(rows), sketches)
    bands = INDEXED_BANDS.empty(keys.size)
    bands["key"] = keys.reshape(-1)
    bands["address"] = np.repeat(np.uint64(address) << np.uint64(32) | offsets, keys.shape[1])
    yield from INDEXED_BANDS.split(shard.key, bands, part_of(bands["key"], bits))


def write_parts(part: int, blocks: Iterable[bytes], index_uri: str, segment: Segment) -> Iterator[Keyed]:
    """INDEXED_TEXTS, INDEXED_BANDS -> the two objects of a part; nothing comes out."""
    blocks = list(blocks)
    for kind, layout in (("texts", INDEXED_TEXTS), ("bands", INDEXED_BANDS)):
        records, _ = layout.unpack(blocks)
        _write(storage.join(index_uri, segment.part(part, kind)), records.view(RECORDS[kind]), segment.bits)
    yield from ()


def merge_parts(part: int, index_uri: str, merged: Segment, segments: Sequence[Segment]) -> None:
    """Writes the two objects of a part of a segment that holds what several others do."""
    for kind, dtype in RECORDS.items():
        records = [np.empty(0, dtype)]
        for segment in segments:
            finer = segment.bits - merged.bits
            numbers = [part >> -finer] if finer < 0 else range(part << finer, (part + 1) << finer)
            for number in numbers:
                with Part(storage.join(index_uri, segment.part(number, kind)), dtype) as file:
                    found = file.all()
                records.append(found[part_of(found["key"], merged.bits) == part] if finer < 0 else found)
        _write(storage.join(index_uri, merged.part(part, kind)), np.concatenate(records), merged.bits)


def _write(uri: str, records: np.ndarray, bits: int) -> None:
    order = np.lexsort((records[records.dtype.names[-1]], records["key"]))  # type: ignore[index]
    write_part(uri, records[order], bits)


@dataclasses.dataclass
class IndexKept(beam.PTransform):
    """From a run's fingerprint objects (``NumberedObject``): the parts of its segment and its sketches.

    Attributes:
      fingerprints: of the run, its sources numbered as in the corpus, with what it has kept.
      options: of the deduplication.
      index: as it is before the run.
      segment, run: what is written, and the run's number in the corpus.
    """

    fingerprints: StoredFingerprints
    options: Deduplication
    index: FingerprintIndex
    segment: Segment
    run: int
    files: BlockFiles = NOWHERE

    def expand(self, objects: beam.PCollection[NumberedObject]) -> beam.PCollection:
        """Groups by part; every part is written, an empty one too, so that one that is missing is known to be."""
        bits = self.segment.bits
        every = [(part, INDEXED_BANDS.pack(part, INDEXED_BANDS.empty(0))) for part in range(1 << bits)]
        how = (self.fingerprints, self.options, self.index, self.segment, self.run)
        keys = (
            objects
            | "Spread" >> beam.Reshuffle()
            | "Keys" >> beam.FlatMap(keys_of_object, *how).with_output_types(Keyed)
        )
        parts = objects.pipeline | "Parts" >> beam.Create(every, reshuffle=False).with_output_types(Keyed)
        return (keys, parts) | "Write" >> ForEachKey(write_parts, self.files, (self.index.uri, self.segment))
