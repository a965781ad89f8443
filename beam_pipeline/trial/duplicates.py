"""Duplicates among the documents of a sample that the recipe keeps, as clusters to look at."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from beam_pipeline.settings import Settings
from beam_pipeline.trial.result import MAX_CHARACTERS, Cluster, Duplicates, ShownText
from transforms.io.readers.common import BATCH_BYTES
from transforms.kernels.deduplication.candidates import fixed_bytes
from transforms.kernels.deduplication.fingerprinting import fingerprint
from transforms.kernels.deduplication.near_duplicate_estimate import near_pairs
from transforms.kernels.deduplication.options import DEFAULT as MINHASH

CLUSTERS, SHOWN_OF_CLUSTER = 20, 4


def find_duplicates(kept: Sequence[pa.Table], settings: Settings) -> Duplicates:
    """Exact and near duplicates, each of a document before it.

    A run compares every document with every other of the input. In a sample few pairs of duplicates are whole, so this
    shows what they are like, not how many there are.

    Args:
      kept: texts of the documents kept, with ``id``, ``language``, ``source`` and ``row``.
    """
    table = pa.concat_tables(kept).combine_chunks() if kept else None
    if table is None or not len(table):
        return Duplicates(note="the recipe keeps nothing")
    options = settings.minhash() or MINHASH
    prints = [
        pa.RecordBatch.from_pydict(fingerprint(batch["text"], options)._asdict())
        for piece in _pieces(table)
        for batch in piece.combine_chunks().to_batches()
    ]
    hashes, _ = fixed_bytes(pa.concat_arrays([batch["content_hash"] for batch in prints]))
    _, first, inverse = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    same_text = first[inverse.reshape(-1)]
    exact = np.flatnonzero(same_text != np.arange(len(table)))
    pairs, similarity = np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    if settings.near_duplicates:
        pairs, similarity = near_pairs(prints, settings.deduplication())
    witness: dict[int, tuple[int, float]] = {int(later): (int(same_text[later]), 1.0) for later in exact}
    near = 0
    for (one, other), alike in sorted(zip(map(tuple, pairs.tolist()), similarity.tolist(), strict=True)):
        earlier, later = sorted((one, other))
        if earlier not in witness and later not in witness:  # a witness is kept itself
            witness[later] = (earlier, alike)
            near += 1
    members: dict[int, list[tuple[int, float]]] = {}
    for later, (earlier, alike) in sorted(witness.items()):
        home = witness[earlier][0] if earlier in witness else earlier  # its text is a near-duplicate's
        members.setdefault(home, []).append((later, alike))
    largest = sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))[:CLUSTERS]
    clusters = tuple(_cluster(table, home, found) for home, found in largest)
    return Duplicates(len(exact), near, len(table), clusters)


def _pieces(table: pa.Table) -> list[pa.Table]:
    """Pieces of the table that are fingerprinted at once."""
    ends = np.cumsum([len(text.encode()) for text in table["text"].to_pylist()])
    cuts = np.flatnonzero(np.diff(ends // BATCH_BYTES, prepend=0)).tolist()
    bounds = [0, *cuts, len(table)]
    return [table[start:stop] for start, stop in itertools.pairwise(bounds) if stop > start]


def _cluster(table: pa.Table, home: int, members: Sequence[tuple[int, float]]) -> Cluster:
    shown = [(home, 1.0), *members][:SHOWN_OF_CLUSTER]
    texts = tuple(_shown(table.slice(row, 1).to_pylist()[0]) for row, _ in shown)
    return Cluster(texts, tuple(alike for _, alike in shown), 1 + len(members))


def _shown(document: dict[str, object]) -> ShownText:
    text = str(document["text"])
    return ShownText(
        kind="duplicate",
        step="",
        reason="",
        place="",
        source=str(document["source"]),
        row=int(str(document["row"])),
        id=None if document["id"] is None else str(document["id"]),
        language=str(document["language"] or ""),
        text=text[:MAX_CHARACTERS],
        is_cut=len(text) > MAX_CHARACTERS,
    )
