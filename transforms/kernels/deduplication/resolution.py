"""Which documents of the verified pairs are dropped, and with which witness.

*A document is dropped if and only if it has a verified pair with an earlier document that is kept*, in the order of
ranks. So
every dropped document has a kept, verified witness, and no two kept documents are a verified pair: the kept ones are
the lexicographically first maximal independent set of the graph of verified pairs (Blelloch, Fineman, Shun, "Greedy
sequential maximal independent set and matching are parallel on average", SPAA 2012).

The witness is the kept earlier neighbour of highest similarity, of equals the smallest id: a function of the graph
alone.

Two rounds settle nearly everything without holding the graph: (1) a document without earlier neighbours is kept, and
drops its later neighbours; (2) pairs whose earlier end is dropped so are void. What is still open after that, the
*open edges*, is finished exactly by ``resolve``. A pair needs only its direction here, not the ranks that gave it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numba
import numpy as np

from transforms.kernels.deduplication.blocks import (
    DECISIONS,
    EDGES,
    FATES,
    KEPT_EDGES,
    WITNESSES,
    run_starts,
)

BYTES_PER_OPEN_EDGE = 150


def edges(
    earlier: np.ndarray,
    earlier_row: np.ndarray,
    later: np.ndarray,
    later_row: np.ndarray,
    similarity: np.ndarray,
) -> np.ndarray:
    """Verified pairs as ``EDGES`` (n,), of whose later ends nothing is known yet."""
    records = EDGES.empty(len(later))
    records["earlier"], records["earlier_row"] = earlier, earlier_row
    records["later"], records["later_row"] = later, later_row
    records["similarity"], records["dropped"] = similarity, 0
    return records


def settle(open_edges: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What follows for the edges of a partition when some of their earlier ends are known to be kept.

    Args:
      open_edges: ``EDGES`` (n,), all those of each later end.
      kept: uint64, ids of documents that are kept.

    Returns:
      ``EDGES`` whose earlier end is kept; ``EDGES`` that stay open, with ``dropped`` set where the later end is now
      known to be; uint64 (sorted), the later ends that are dropped.
    """
    settled = np.isin(open_edges["earlier"], kept)
    dropped = np.unique(open_edges["later"][settled])
    still_open = open_edges[~settled]
    still_open["dropped"] |= np.isin(still_open["later"], dropped).astype(np.uint8)
    return open_edges[settled], still_open, dropped


def resolve(open_edges: np.ndarray) -> np.ndarray:
    """Finishes what is open, in one pass over documents and edges in topological order.

    Args:
      open_edges: ``EDGES`` (n,): every edge that isn't settled or void, with ``dropped`` set where its later end is
        known to be.

    Returns:
      the ``EDGES`` whose earlier end is kept.

    Raises:
      ValueError: the edges go round in a circle, so they don't follow any ranks.
    """
    if not len(open_edges):
        return open_edges
    documents = np.concatenate([open_edges["earlier"], open_edges["later"]])
    documents.sort()
    documents = documents[run_starts(documents)]
    earlier = np.searchsorted(documents, open_edges["earlier"])
    later = np.searchsorted(documents, open_edges["later"])
    dropped = np.zeros(len(documents), np.bool_)
    dropped[later[open_edges["dropped"] != 0]] = True
    by_earlier = np.argsort(earlier, kind="stable")
    ends = np.cumsum(np.bincount(earlier, minlength=len(documents)))
    waiting = np.bincount(later, minlength=len(documents))
    done = _drop_in_order(later[by_earlier], ends, waiting, dropped)
    if done < len(documents):
        circle = documents[waiting > 0][:3].tolist()
        raise ValueError(f"verified pairs of {len(documents) - done} documents form a circle, among them {circle}")
    return open_edges[~dropped[earlier]]


@numba.njit(cache=True)
def _drop_in_order(later: np.ndarray, ends: np.ndarray, waiting: np.ndarray, dropped: np.ndarray) -> int:
    """Kahn's algorithm: sets ``dropped`` of every document once all its earlier neighbours are decided.

    Args:
      later: (n,), the later ends of all edges, those of one earlier end together.
      ends: (documents,), where each document's run in ``later`` ends.
      waiting: (documents,), number of undecided earlier neighbours; 0 for all at the end.
      dropped: bool (documents,).

    Returns:
      number of documents decided.
    """
    queue = np.empty(len(ends), np.int64)
    filled = 0
    for document in range(len(ends)):
        if waiting[document] == 0:
            queue[filled] = document
            filled += 1
    done = 0
    while done < filled:
        document = queue[done]
        done += 1
        for edge in range(ends[document - 1] if document else 0, ends[document]):
            neighbour = later[edge]
            if not dropped[document]:
                dropped[neighbour] = True
            waiting[neighbour] -= 1
            if waiting[neighbour] == 0:
                queue[filled] = neighbour
                filled += 1
    return done


def resolve_reference(
    pairs: Iterable[tuple[int, int, float]], ranks: Mapping[int, object]
) -> dict[int, tuple[int, float]]:
    """The rule said plainly: dropped document -> (witness, similarity).

    Args:
      pairs: (document, document, similarity), in either direction.
      ranks: something that can be ordered for every document; smaller stays.
    """
    earlier: dict[int, list[tuple[float, int]]] = {}
    for a, b, similarity in pairs:
        first, second = sorted((a, b), key=lambda document: ranks[document])  # type: ignore[arg-type, return-value]
        earlier.setdefault(second, []).append((-similarity, first))
    dropped: dict[int, tuple[int, float]] = {}
    for document in sorted(earlier, key=lambda document: ranks[document]):  # type: ignore[arg-type, return-value]
        kept = [(order, neighbour) for order, neighbour in earlier[document] if neighbour not in dropped]
        if kept:
            order, witness = min(kept)
            dropped[document] = (witness, -order)
    return dropped


def kept_edges(settled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``EDGES`` whose earlier end is kept as ``KEPT_EDGES`` (n,), and their later ends' shard keys: uint64 (n,)."""
    records = KEPT_EDGES.empty(len(settled))
    records["row"] = settled["later_row"]
    records["witness"], records["witness_row"] = settled["earlier"], settled["earlier_row"]
    records["similarity"] = settled["similarity"]
    return records, settled["later"] - settled["later_row"]


@dataclasses.dataclass(frozen=True)
class ShardDecisions:
    """What a shard decides about its documents that aren't exact duplicates.

    Attributes:
      decisions: ``DECISIONS``, of its near-duplicates.
      witnesses, witness_shards: ``WITNESSES``, each once, and the keys of the shards that hold them.
      fates, fate_shards: ``FATES`` of its representatives that are dropped, and the keys of the shards of their exact
        duplicates.
    """

    decisions: np.ndarray
    witnesses: np.ndarray
    witness_shards: np.ndarray
    fates: np.ndarray
    fate_shards: np.ndarray


def decide(shard: int, edges_to_kept: np.ndarray, followers: np.ndarray) -> ShardDecisions:
    """Chooses the witnesses of a shard's near-duplicates and tells those that depend on it.

    Args:
      shard: the shard's key.
      edges_to_kept: ``KEPT_EDGES`` (n,), all those of the shard.
      followers: ``FOLLOWERS`` (m,), all those of the shard's representatives.
    """
    order = np.lexsort((edges_to_kept["witness"], -edges_to_kept["similarity"], edges_to_kept["row"]))
    chosen = edges_to_kept[order]
    chosen = chosen[run_starts(chosen["row"])]
    decisions = DECISIONS.empty(len(chosen))
    decisions["document"] = np.uint64(shard) + chosen["row"]
    decisions["witness"], decisions["similarity"] = chosen["witness"], chosen["similarity"]
    decisions["exact"] = 0

    at, dropped = _look_up(followers["row"], chosen["row"])
    fates = FATES.empty(int(dropped.sum()))
    fates["representative"] = np.uint64(shard) + followers["row"][dropped]
    fates["witness"], fates["similarity"] = chosen["witness"][at[dropped]], chosen["similarity"][at[dropped]]

    standing = followers[~dropped]
    witness = np.concatenate([chosen["witness"], fates["witness"], np.uint64(shard) + standing["row"]])
    rows = np.concatenate([chosen["witness_row"], chosen["witness_row"][at[dropped]], standing["row"]])
    documents = np.concatenate(
        [np.ones(len(chosen), np.uint32), followers["documents"][dropped], standing["documents"]]
    )
    witnesses = _summed(witness, documents)
    by_id = np.argsort(witness, kind="stable")
    by_id = by_id[run_starts(witness[by_id])]
    return ShardDecisions(decisions, witnesses, witness[by_id] - rows[by_id], fates, followers["shard"][dropped])


def follow(shard: int, duplicates: np.ndarray, fates: np.ndarray) -> np.ndarray:
    """The decisions on a shard's exact duplicates: ``DECISIONS`` (n,).

    Args:
      shard: the shard's key.
      duplicates: ``DUPLICATES`` (n,), all those of the shard. A representative in the shard that is a duplicate of one
        in another shard stands for that one.
      fates: ``FATES``, of the representatives that are dropped; their exact duplicates get the same witness.
    """
    duplicates = duplicates[np.argsort(duplicates["row"], kind="stable")]
    documents = np.uint64(shard) + duplicates["row"]
    representatives = duplicates["representative"]
    at, elsewhere = _look_up(representatives, documents)
    representatives = np.where(elsewhere, representatives[at], representatives) if len(at) else representatives
    fates = fates[np.argsort(fates["representative"], kind="stable")]
    at, dropped = _look_up(representatives, fates["representative"])
    decisions = DECISIONS.empty(len(duplicates))
    decisions["document"], decisions["witness"] = documents, representatives
    decisions["similarity"], decisions["exact"] = 1, ~dropped
    decisions["witness"][dropped] = fates["witness"][at[dropped]]
    decisions["similarity"][dropped] = fates["similarity"][at[dropped]]
    return decisions


def _look_up(values: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position of each value in a sorted table, and whether it is there."""
    if not len(table):
        return np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return at, table[at] == values


def _summed(witness: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """``WITNESSES`` sorted by id, each once with the sum of its documents."""
    order = np.argsort(witness, kind="stable")
    starts = np.flatnonzero(run_starts(witness[order]))
    records = WITNESSES.empty(len(starts))
    records["witness"] = witness[order][starts]
    records["documents"] = np.add.reduceat(documents[order], starts) if len(starts) else 0
    return records


def decisions(blocks: Iterable[bytes]) -> np.ndarray:
    """What a shard drops: ``DECISIONS`` of all its blocks, sorted by document. Blocks of other kinds are passed over.

    The bytes of the result depend on input and settings only, not on how many blocks it came in or in which order.
    """
    records, _ = DECISIONS.unpack(blocks)
    return records[np.argsort(records["document"], kind="stable")]


def witnesses(blocks: Iterable[bytes]) -> np.ndarray:
    """A shard's ``WITNESSES``, each once with its sum, sorted by id: a cluster's size is 1 + ``documents``."""
    records, _ = WITNESSES.unpack(blocks)
    return _summed(records["witness"], records["documents"])
