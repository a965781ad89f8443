"""How documents become sequences: as they are, concatenated and cut, or packed without cutting.

Best-fit packing follows Ding et al. 2024, "Fewer Truncations Improve Language Modeling" (arXiv 2404.10830): documents
longer than a sequence are cut into pieces of its length; then, from the longest to the shortest, each piece goes where
it leaves the least room, or begins a sequence.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numba
import numpy as np
import numpy.typing as npt

Packing = Literal["none", "concatenate", "best-fit"]
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Spans:
    """The sequences of a file: pieces of documents one after the other, in the order of the file.

    Attributes:
      document: index of the document that each piece is of.
      offset: token of the document with which the piece begins.
      length: tokens, at least 1.
      sequence: which sequence the piece is in; ascending.
      sequences: how many there are; each has a piece.
    """

    document: Ints
    offset: Ints
    length: Ints
    sequence: Ints
    sequences: int

    def lengths(self) -> Ints:
        """Tokens of each sequence."""
        return np.bincount(self.sequence, self.length, self.sequences).astype(np.int64)


def pack(lengths: Ints, packing: Packing, size: int = 0) -> Spans:
    """The sequences of documents of these lengths; a document without tokens is in none.

    Args:
      lengths: tokens of each document, in the order of the file.
      packing: ``none``: a sequence a document; ``concatenate``: all documents one after the other, cut every ``size``
        tokens, the last sequence may be shorter; ``best-fit``: sequences of at most ``size`` tokens, and only documents
        with more are cut. 10 M documents/s.
      size: tokens of a sequence.
    """
    lengths = lengths.astype(np.int64)
    if packing == "none":
        document = np.flatnonzero(lengths)
        order = np.arange(len(document))
        return Spans(document, np.zeros(len(document), np.int64), lengths[document], order, len(document))
    if size < 1:
        raise ValueError(f"sequence_length: packing {packing!r} needs at least 1 token a sequence, not {size}")
    if packing == "concatenate":
        return _concatenate(lengths, size)
    return _best_fit(lengths, size)


def _concatenate(lengths: Ints, size: int) -> Spans:
    ends = np.cumsum(lengths)
    starts = ends - lengths
    total = int(ends[-1]) if len(ends) else 0
    # A piece begins where a document with tokens does, and at every cut.
    begin = np.union1d(starts[lengths > 0], np.arange(0, total, size))
    document = np.searchsorted(ends, begin, "right")
    length = np.diff(np.append(begin, total))
    return Spans(document, begin - starts[document], length, begin // size, -(-total // size))


def _best_fit(lengths: Ints, size: int) -> Spans:
    pieces = -(-lengths // size)
    document = np.repeat(np.arange(len(lengths)), pieces)
    nth = np.arange(len(document)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    offset = nth * size
    length = np.minimum(lengths[document] - offset, size)
    longest_first = np.argsort(-length, kind="stable")
    bins = np.empty(len(length), np.int64)
    count = int(_fill(length, longest_first, size, bins))
    # Sequences come in the order of their first piece, which is as random as that of the documents.
    first = np.full(count, len(bins), np.int64)
    np.minimum.at(first, bins, np.arange(len(bins)))
    rank = np.empty(count, np.int64)
    rank[np.argsort(first)] = np.arange(count)
    sequence = rank[bins]
    order = np.argsort(sequence, kind="stable")
    return Spans(document[order], offset[order], length[order], sequence[order], count)


@numba.njit(cache=True, nogil=True)
def _fill(lengths: Ints, order: Ints, size: int, bins: Ints) -> int:
    """Best-fit decreasing: the bin of each piece; returns the number of bins.

    Bins with the same room are a linked list; a tree over all rooms says which is the smallest that has any.
    """
    width = 1
    while width <= size:
        width *= 2
    tree = np.zeros(2 * width, np.bool_)
    top = np.full(size + 1, -1, np.int64)
    below = np.empty(len(lengths), np.int64)
    count = 0
    for piece in order:
        need = lengths[piece]
        node = width + need
        found = tree[node]
        while node > 1 and not found:  # up, until there is a room further to the right
            if node & 1 == 0 and tree[node + 1]:
                node += 1
                found = True
            else:
                node >>= 1
        if not found:
            chosen, room = count, size
            count += 1
        else:
            while node < width:
                node = 2 * node if tree[2 * node] else 2 * node + 1
            room = node - width
            chosen = top[room]
            top[room] = below[chosen]
            if top[room] < 0:
                while node >= 1 and not (node < width and (tree[2 * node] or tree[2 * node + 1])):
                    tree[node] = False
                    node >>= 1
        bins[piece] = chosen
        left = room - need
        if left > 0:
            below[chosen] = top[left]
            top[left] = chosen
            node = width + left
            while node >= 1 and not tree[node]:
                tree[node] = True
                node >>= 1
    return count
