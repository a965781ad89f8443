"""Made-up fingerprints and the brute-force answer to them, for the tests of pass 2."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import fingerprints
from schemas.shards import Shard, Source, document_id
from transforms.kernels.deduplication.options import Deduplication
from transforms.kernels.deduplication.resolution import resolve_reference

BANDS = 3
SIGNATURE_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Document:
    """What a fingerprint object says of one document; ``content`` None: not active, ``signature`` None: too short."""

    content: bytes | None
    signature: bytes | None = None
    bands: tuple[int, ...] | None = None
    language: str | None = "en"
    text_bytes: int = 100


def document(
    content: int, like: int | None = None, changed: int = 0, buckets: tuple[int, ...] = (), **other
) -> Document:
    """A text numbered ``content``; its signature is that of ``like`` with ``changed`` of its 32 bytes replaced."""
    name = content.to_bytes(16, "big")
    if like is None:
        return Document(name, **other)
    signature = np.random.default_rng(like).integers(0, 200, SIGNATURE_SIZE, dtype=np.uint8)
    places = np.random.default_rng([like, content]).permutation(SIGNATURE_SIZE)[:changed]
    signature[places] = 200 + content % 56
    own = [2**40 + content * BANDS + band for band in range(BANDS)]
    bands = [bucket * BANDS + band for band, bucket in enumerate(buckets)]
    return Document(name, signature.tobytes(), tuple(bands + own[len(bands) :]), **other)


def table(documents: list[Document]) -> pa.Table:
    """Documents as the contents of a fingerprint object."""
    schema = fingerprints(BANDS, SIGNATURE_SIZE)
    bands = [None if d.bands is None else np.array(d.bands, "<u8").tobytes() for d in documents]
    columns = {
        "id": [None] * len(documents),
        "outcome": [ord("z") if d.content is None else None for d in documents],
        "language": [d.language for d in documents],
        "language_score": [1.0] * len(documents),
        "text_bytes": [None if d.content is None else d.text_bytes for d in documents],
        "already_normalized": [None if d.content is None else True for d in documents],
        "content_hash": [d.content for d in documents],
        "signature": [d.signature for d in documents],
        "shingles": [None] * len(documents),
        "bands": bands,
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def write_shards(folder: Path, shards: list[list[Document]], row_groups: int = 2) -> list[Shard]:
    """Writes a fingerprint object for each shard: two to a source, so that rows don't begin at 0 everywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    described = []
    first_row = 0
    for number, documents in enumerate(shards):
        first_row = 0 if number % 2 == 0 else first_row + len(shards[number - 1])
        source = Source(number // 2, f"file:///source-{number // 2}.parquet", "etag", 1)
        shard = Shard(source, number % 2 * 7, first_row=first_row, rows=len(documents))
        size = max(1, -(-len(documents) // row_groups))
        pq.write_table(table(documents), folder / f"{shard.name}.parquet", row_group_size=size)
        described.append(shard)
    return described


@dataclasses.dataclass(frozen=True)
class Answer:
    """By document id: (witness, similarity, exact) of what is dropped, and number of documents a witness stands for."""

    dropped: dict[int, tuple[int, float, bool]]
    witnesses: dict[int, int]


def deduplicate_reference(shards: list[Shard], contents: list[list[Document]], options: Deduplication) -> Answer:
    """The whole pass, said plainly; of documents of earlier runs, nothing is said."""
    documents = {
        document_id(shard.source.number, shard.first_row + row): found
        for shard, found_documents in zip(shards, contents, strict=True)
        for row, found in enumerate(found_documents)
        if found.content is not None
    }

    def scope(identifier: int) -> str | None:
        return documents[identifier].language if options.duplicates_within == "language" else None

    def rank(identifier: int) -> tuple[bool, int, int]:
        length = documents[identifier].text_bytes if options.keep_duplicate == "longest" else 0
        own = identifier >= options.always_kept
        return (own, -length if own else 0, identifier)

    representative = {}
    first: dict[object, int] = {}
    for identifier in sorted(documents):
        representative[identifier] = first.setdefault((documents[identifier].content, scope(identifier)), identifier)
    buckets: dict[object, list[int]] = {}
    for identifier in sorted(set(representative.values()), key=rank):
        for bucket in documents[identifier].bands or ():
            buckets.setdefault((bucket, scope(identifier)), []).append(identifier)
    candidates = {
        pair
        for bucket in buckets.values()
        for at in range(1, len(bucket))
        for pair in ((bucket[0], bucket[at]), (bucket[at - 1], bucket[at]))
        if bucket[at] >= options.always_kept
    }
    pairs = []
    for a, b in candidates:
        equal = (
            sum(x == y for x, y in zip(documents[a].signature, documents[b].signature, strict=True)) / SIGNATURE_SIZE
        )
        similarity = np.float32(max(0.0, (equal - 1 / 256) / (1 - 1 / 256)))
        if similarity >= options.min_similarity - 1e-6:
            pairs.append((a, b, float(similarity)))
    near = resolve_reference(pairs, {identifier: rank(identifier) for identifier in documents})
    dropped = {identifier: (witness, similarity, False) for identifier, (witness, similarity) in near.items()}
    for identifier, stands in representative.items():
        if identifier != stands:
            dropped[identifier] = (*near[stands], False) if stands in near else (stands, 1.0, True)
    dropped = {identifier: found for identifier, found in dropped.items() if identifier >= options.always_kept}
    witnesses: dict[int, int] = {}
    for witness, _, _ in dropped.values():
        witnesses[witness] = witnesses.get(witness, 0) + 1
    return Answer(dropped, witnesses)


def random_world(seed: int, contents: int, shards: int) -> list[list[Document]]:
    """A few prototypes, many documents more or less like them in few buckets, many of them several times, in shards."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(contents):
        content = seed * 10_000 + number
        other = {"language": [None, "en", "de"][random.integers(3)], "text_bytes": int(random.integers(90, 100))}
        kind = random.random()
        if kind < 0.05:
            found = Document(None)
        elif kind < 0.15:
            found = document(content, **other)
        else:
            buckets = tuple(int(bucket) + seed * 100 for bucket in random.integers(0, 4, random.integers(0, BANDS + 1)))
            found = document(content, seed * 10 + int(random.integers(3)), int(random.integers(0, 9)), buckets, **other)
        made += [found] * int(random.choice([1, 1, 1, 2, 5]))
    where = random.integers(0, shards, len(made))
    order = random.permutation(len(made))
    return [[made[i] for i in order if where[i] == shard] for shard in range(shards)]
