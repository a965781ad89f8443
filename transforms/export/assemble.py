"""The sequences of one file: its documents chosen, put in order, packed; then their tokens copied into place.

The documents of a file are ordered by a hash of the seed and their id, so those of one row group stand among those of
all others. What is held: the file's tokens, one row group, and 60 bytes a document.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from schemas.errors import ToldError
from schemas.exports import ExportFile, Piece, Unit
from transforms.export.formats.base import Sequences
from transforms.export.options import ExportOptions
from transforms.export.token_objects import TokenObject, open_unit
from transforms.kernels.export import choosing
from transforms.kernels.export.copying import copy_spans
from transforms.kernels.export.packing import Spans, pack

Ints = npt.NDArray[np.int64]


class NotAsTheRunSays(ToldError):
    """Documents don't begin or end with the token that their run's settings name."""


@dataclasses.dataclass(frozen=True, eq=False)
class Documents:
    """Those of a file, in its order.

    Attributes:
      unit: index into the file's units.
      row: in the row group.
      length: tokens as exported, with those put around.
    """

    unit: Ints
    row: Ints
    id: npt.NDArray[np.uint64]
    run: Ints
    copy: Ints
    length: Ints


@dataclasses.dataclass(frozen=True, eq=False)
class Assembled:
    """A file before it is written.

    Attributes:
      empty: documents without tokens, which aren't among ``documents``.
    """

    documents: Documents
    spans: Spans
    starts: Ints
    sequences: Sequences
    empty: int


def assemble(file: ExportFile, options: ExportOptions) -> Assembled:
    """Everything that goes into a file.

    Raises:
      NotAsTheRunSays: documents lack the token with which their run ends or begins them.
      SourceChanged, DamagedObject: a token object isn't what it was when the export was planned.
    """
    by_unit: dict[Unit, list[Piece]] = {}
    for piece in file.pieces:
        by_unit.setdefault(piece.unit, []).append(piece)
    units = list(by_unit)
    lengths: list[Ints] = []
    found: list[list[npt.NDArray]] = []
    for index, (unit, opened) in enumerate(_opened(units)):
        rows = _chosen(index, unit, opened, by_unit[unit], file.split, options, lengths)
        found.extend(rows)
    columns = [np.concatenate(parts) for parts in zip(*found, strict=True)] if found else []
    documents, empty = _ordered(columns)
    spans = pack(documents.length, options.packing, options.sequence_length)
    sequence_lengths = spans.lengths()
    if options.pad >= 0:
        full = np.full(spans.sequences, options.sequence_length, np.int64)
    else:
        full = sequence_lengths
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(full)])
    before = np.cumsum(spans.length) - spans.length  # without padding
    first = np.cumsum(sequence_lengths) - sequence_lengths
    places = before + (starts[:-1] - first)[spans.sequence]
    tokens = np.empty(int(starts[-1]), options.id_type)  # each is written below, but for padding
    if options.pad >= 0:
        tokens.fill(options.pad)
    _copy(units, lengths, documents, spans, places, tokens, options)
    return Assembled(documents, spans, places, Sequences(tokens, starts, places, int(spans.length.sum())), empty)


def _opened(units: list[Unit]) -> Iterator[tuple[Unit, TokenObject]]:
    """Each unit with its object, which is opened once for neighbouring units."""
    index = 0
    while index < len(units):
        with open_unit(units[index]) as opened:
            uri = units[index].uri
            while index < len(units) and units[index].uri == uri:
                yield units[index], opened
                index += 1


def _chosen(
    index: int,
    unit: Unit,
    opened: TokenObject,
    pieces: list[Piece],
    split: int,
    options: ExportOptions,
    lengths: list[Ints],
) -> Iterator[list[npt.NDArray]]:
    """The documents of a unit that are in the file, a list of columns for each piece; notes all lengths of the unit."""
    selection = options.selection
    table = opened.documents(selection.columns, [unit.row_group])
    stored = table["n_tokens"].to_numpy().astype(np.int64)
    lengths.append(stored)
    candidates = selection.candidates(table, unit.run)
    copies = selection.copies(candidates)
    held_out = selection.held_out(candidates, unit.run)
    for piece in pieces:
        if split == choosing.HOLDOUT:
            taken = held_out
        else:
            taken = (copies > piece.copy) & ~held_out
        parts = choosing.parts(candidates.id, selection.seed, unit.run, piece.copy, options.parts)
        mine = taken & (parts == piece.part) & ~np.isin(candidates.id, piece.removed)
        ids, rows = candidates.id[mine], candidates.row[mine]
        order = choosing.hashes(ids, selection.seed, unit.run, choosing.ORDER, piece.copy)
        count = len(ids)
        yield [
            np.full(count, index),
            rows,
            ids,
            np.full(count, unit.run),
            np.full(count, piece.copy),
            stored[rows] + options.added(unit.run) * (stored[rows] > 0),
            order,
        ]


def _ordered(columns: list[npt.NDArray]) -> tuple[Documents, int]:
    """The documents with tokens, by their hashes, and how many have none."""
    if not columns:
        none = np.zeros(0, np.int64)
        return Documents(none, none, np.zeros(0, np.uint64), none, none, none), 0
    *rest, order = columns
    unit, row, ids, run, copy, length = rest
    kept = np.flatnonzero(length > 0)
    kept = kept[np.lexsort((copy[kept], ids[kept], run[kept], order[kept]))]
    return Documents(unit[kept], row[kept], ids[kept], run[kept], copy[kept], length[kept]), len(length) - len(kept)


def _copy(
    units: list[Unit],
    lengths: list[Ints],
    documents: Documents,
    spans: Spans,
    places: Ints,
    tokens: npt.NDArray[np.unsignedinteger],
    options: ExportOptions,
) -> None:
    """Reads each row group once and puts its tokens where they belong."""
    of_span = documents.unit[spans.document]
    order = np.argsort(of_span, kind="stable")
    bounds = np.searchsorted(of_span[order], np.arange(len(units) + 1))
    for index, (unit, opened) in enumerate(_opened(units)):
        mine = order[bounds[index] : bounds[index + 1]]
        if not len(mine):
            continue
        stored = opened.tokens(unit.row_group, lengths[index])
        begins = np.cumsum(lengths[index]) - lengths[index]
        rows = documents.row[spans.document[mine]]
        _check(unit, stored, begins[rows], lengths[index][rows], options)
        before, after = options.before[unit.run], options.after[unit.run]
        copy_spans(
            stored,
            begins[rows],
            lengths[index][rows],
            before,
            after,
            spans.offset[mine],
            spans.length[mine],
            tokens,
            places[mine],
        )


def _check(
    unit: Unit, stored: npt.NDArray[np.unsignedinteger], begins: Ints, lengths: Ints, options: ExportOptions
) -> None:
    """That documents begin and end as their run says, so that no token is missing or doubled."""
    for name, expected, at in (
        ("begin", options.begins[unit.run], begins),
        ("end", options.ends[unit.run], begins + lengths - 1),
    ):
        if expected >= 0 and (stored[at] != expected).any():
            raise NotAsTheRunSays(
                f"{unit.uri}: row group {unit.row_group} has documents that don't {name} with token {expected}, as the "
                "settings of its run say; run the pipeline over it again"
            )
