"""Looking at all documents of the runs: how many there are of what, and which pieces of row groups they make.

Only the small columns of the token objects are read: ids, numbers of tokens, and what groups and conditions name. What
is held is a row for each piece (40 bytes), and numbers by group; never a document's.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_pipeline.export.runs import ExportedRun, NotExportable
from schemas import exports
from schemas.run_layout import SETTINGS
from transforms.export.selection import Candidates, Selection
from transforms.export.token_objects import TokenObject, open_object
from transforms.io import storage
from transforms.kernels.export import choosing

Ints = npt.NDArray[np.int64]
Found = TypeVar("Found")
BUCKETS = 1 << 12
"""Of the numbers that decide about fractions: only documents in one of them need be looked at one by one."""
_AHEAD = 4
"""Objects that are looked at before their turn, for each thread."""


@dataclasses.dataclass(frozen=True)
class Runs:
    """What is looked at.

    Attributes:
      objects: position of the run, and each of its token objects.
      added: tokens that are put around each document, by run.
    """

    runs: Sequence[ExportedRun]
    objects: Sequence[tuple[int, storage.ObjectInfo]]
    added: Sequence[int]

    @classmethod
    def of(cls, runs: Sequence[ExportedRun], added: Sequence[int]) -> Runs:
        """All token objects of the runs."""
        return cls(runs, [(number, info) for number, run in enumerate(runs) for info in run.objects()], added)

    def each(self, look: Callable[[int, storage.ObjectInfo, TokenObject], Found]) -> Iterator[Found]:
        """What is found in each object, in their order; several are open at a time."""

        def at(item: tuple[int, storage.ObjectInfo]) -> Found:
            number, info = item
            run = self.runs[number]
            name = PurePosixPath(info.uri).name
            decisions = storage.join(run.decisions_uri, name) if run.decisions_uri else ""
            with open_object(info.uri, info.etag, info.size, decisions) as opened:
                if opened.metadata.get(SETTINGS) != run.settings_hash.encode():
                    raise NotExportable(f"{info.uri} wasn't made by run {run.run}: run the pipeline over it again")
                return look(number, info, opened)

        threads = max(2, len(os.sched_getaffinity(0))) * (8 if storage.is_remote(self.objects[0][1].uri) else 1)
        with ThreadPoolExecutor(threads) as pool:
            pending = []
            for item in self.objects:
                pending.append(pool.submit(at, item))
                if len(pending) >= _AHEAD * threads:
                    yield pending.pop(0).result()
            for future in pending:
                yield future.result()

    def lengths(self, documents: pa.Table, candidates: Candidates, run: int) -> Ints:
        """Tokens of each candidate as exported."""
        stored = documents["n_tokens"].to_numpy()[candidates.row].astype(np.int64)
        return stored + self.added[run] * (stored > 0)


@dataclasses.dataclass
class Amount:
    """Documents and their tokens."""

    documents: int = 0
    tokens: int = 0

    def add(self, documents: int, tokens: int) -> None:
        """More of them."""
        self.documents += int(documents)
        self.tokens += int(tokens)


@dataclasses.dataclass
class Tables:
    """What is exported.

    Attributes:
      units: ``schemas.exports.UNITS``.
      pieces: ``schemas.exports.PIECES``; ``file`` isn't decided yet.
      available: what each pattern matches, once each; the last is what none matches, or a condition leaves out.
      taken: what is exported of it for training.
      held_out: what goes into the hold-out set.
      id_type: of the token ids.
    """

    units: pa.Table
    pieces: pa.Table
    available: list[Amount]
    taken: list[Amount]
    held_out: Amount
    id_type: pa.DataType


def survey(runs: Runs, selection: Selection, parts: int) -> Tables:
    """The pieces that a selection takes.

    Raises:
      NotExportable: an object is of another run, or ids have different types.
      NoSuchColumn: a column isn't in the token objects.
    """
    count = len(selection.patterns)
    available, _taken, held = [[Amount() for _ in range(count + 1)] for _ in range(2)], Amount(), Amount()
    total, exported = available
    types: set[pa.DataType] = set()

    def look(run: int, info: storage.ObjectInfo, opened: TokenObject) -> tuple:
        documents = opened.documents(selection.columns)
        candidates = selection.candidates(documents, run)
        lengths = runs.lengths(documents, candidates, run)
        copies = selection.copies(candidates)
        out = selection.held_out(candidates, run)
        copies = np.where(out, 0, copies)
        rows = np.array(opened.rows, np.int64)
        bounds = np.append(0, np.cumsum(rows))
        group_of = np.searchsorted(bounds, candidates.row, "right") - 1
        pieces = []
        for split, times in ((choosing.TRAIN, copies), (choosing.HOLDOUT, out.astype(np.int64))):
            for copy in range(int(times.max(initial=0))):
                mine = times > copy
                part = choosing.parts(candidates.id[mine], selection.seed, run, copy, parts)
                slot = group_of[mine] * parts + part
                documents_in = np.bincount(slot, minlength=len(rows) * parts)
                tokens_in = np.bincount(slot, lengths[mine], len(rows) * parts)
                there = np.flatnonzero(documents_in)
                pieces.append((split, copy, there // parts, there % parts, documents_in[there], tokens_in[there]))
        ids = documents["id"].to_numpy()
        full = np.flatnonzero(rows)
        first, last = np.zeros(len(rows), np.uint64), np.zeros(len(rows), np.uint64)
        first[full], last[full] = ids[bounds[:-1][full]], ids[bounds[1:][full] - 1]
        units = {
            "run": np.full(len(rows), run), "size": np.full(len(rows), info.size), "row_group": np.arange(len(rows)),
            "documents": rows, "first_id": first, "last_id": last,
        }  # fmt: skip
        where = candidates.group
        amounts = [
            np.bincount(where + 1, weights, count + 1)
            for weights in (None, lengths, copies.astype(np.float64), (copies * lengths).astype(np.float64))
        ]
        left = documents.num_rows - len(candidates.row), int(documents["n_tokens"].to_numpy().sum(dtype=np.int64))
        left = left[0], left[1] - int(documents["n_tokens"].to_numpy()[candidates.row].sum(dtype=np.int64))
        return info, opened.id_type, units, pieces, amounts, left, (np.count_nonzero(out), lengths[out].sum())

    parts_of_units: list[pa.Table] = []
    parts_of_pieces: list[pa.Table] = []
    first_unit = 0
    for info, id_type, units, pieces, amounts, left, out in runs.each(look):
        types.add(id_type)
        if len(types) > 1:
            raise NotExportable(
                f"{info.uri} has ids of {id_type}, others {(types - {id_type}).pop()}: export them apart"
            )
        rows = len(units["documents"])
        strings = {"object": PurePosixPath(info.uri).name, "etag": info.etag}
        columns = {name: pa.array(values, exports.UNITS.field(name).type) for name, values in units.items()}
        columns |= {name: _repeated(text, rows) for name, text in strings.items()}
        parts_of_units.append(pa.table([columns[name] for name in exports.UNITS.names], schema=exports.UNITS))
        for split, copy, unit, part, documents, tokens in pieces:
            parts_of_pieces.append(_pieces(split, first_unit + unit, copy, part, documents, tokens))
        first_unit += rows
        for index in range(count):
            total[index].add(amounts[0][index + 1], amounts[1][index + 1])
            exported[index].add(amounts[2][index + 1], amounts[3][index + 1])
        total[count].add(amounts[0][0] + left[0], amounts[1][0] + left[1])
        held.add(*out)
    units = pa.concat_tables([exports.UNITS.empty_table(), *parts_of_units]).unify_dictionaries()
    pieces = pa.concat_tables([exports.PIECES.empty_table(), *parts_of_pieces]).combine_chunks()
    return Tables(units, pieces, total, exported, held, types.pop())


def _repeated(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def _pieces(split: int, unit: Ints, copy: int, part: Ints, documents: Ints, tokens: npt.NDArray) -> pa.Table:
    count = len(unit)
    columns = {
        "split": np.full(count, split), "file": np.zeros(count, np.int64), "unit": unit, "copy": np.full(count, copy),
        "part": part, "documents": documents, "tokens": tokens.astype(np.int64),
    }  # fmt: skip
    arrays = [pa.array(columns[field.name], field.type) for field in exports.PIECES]
    return pa.table(arrays, schema=exports.PIECES)


@dataclasses.dataclass
class _Histogram:
    """Tokens of a group's documents by how often they count and by their number, in ``BUCKETS``."""

    tokens: dict[float, npt.NDArray[np.float64]] = dataclasses.field(default_factory=dict)

    def add(self, numbers: npt.NDArray, times: npt.NDArray, lengths: Ints) -> None:
        bucket = (numbers * BUCKETS).astype(np.int64)
        left = np.ones(len(times), np.bool_)
        while left.any():
            value = times[np.argmax(left)]
            mine = times == value
            left &= ~mine
            found = np.bincount(bucket[mine], lengths[mine], BUCKETS)
            self.tokens[float(value)] = self.tokens.get(float(value), np.zeros(BUCKETS)) + found

    def bounds(self, epochs: float) -> tuple[float, float]:
        """Tokens that so many epochs have at the least and at the most."""
        low = high = 0.0
        for times, tokens in self.tokens.items():
            whole, rest = divmod(epochs * times, 1.0)
            below = np.cumsum(tokens[::-1])  # of the highest buckets
            full = int(np.floor(rest * BUCKETS))
            total = whole * below[-1]
            low += total + (below[full - 2] if full > 1 else 0.0)
            high += total + (below[min(full + 1, BUCKETS - 1)])
        return low, high

    @property
    def once(self) -> float:
        """Tokens of an epoch."""
        return float(sum(times * tokens.sum() for times, tokens in self.tokens.items()))


def epochs_for(runs: Runs, selection: Selection, budgets: Sequence[float | None]) -> list[float]:
    """For each pattern, how many epochs its budget of tokens is: the next document would be over it.

    Documents are taken in the order of a hash of seed and id, so a larger budget takes the same and more. All documents
    are looked at twice.

    Args:
      selection: its epochs are those of patterns without a budget; of others, any above 0.
      budgets: tokens; None: the pattern has no budget.

    Raises:
      NotExportable: a pattern with a budget has no documents.
    """
    histograms = [_Histogram() for _ in budgets]
    limited = [index for index, budget in enumerate(budgets) if budget is not None]
    for found in runs.each(lambda run, info, opened: _measured(runs, selection, limited, run, opened)):
        for index, (numbers, times, lengths) in found.items():
            histograms[index].add(numbers, times, lengths)
    brackets: dict[int, tuple[float, float]] = {}
    for index, budget in enumerate(budgets):
        if budget is None:
            continue
        if budget and not histograms[index].once:
            pattern = selection.patterns[index]
            raise NotExportable(
                f"mixture: {selection.by or 'the selection'} {pattern!r} has no tokens to fill its budget with"
            )
        brackets[index] = _bracket(histograms[index], budget)
    base = dict.fromkeys(brackets, 0)
    close: dict[int, list[npt.NDArray]] = {index: [] for index in brackets}
    for found in runs.each(lambda run, info, opened: _measured(runs, selection, limited, run, opened)):
        for index, (low, high) in brackets.items():
            if index in found:
                numbers, times, lengths = found[index]
                base[index] += int((choosing.copies(numbers, np.full(len(numbers), low), times) * lengths).sum())
                document, at = choosing.events(numbers, times, low, high)
                close[index].append(np.stack([at, lengths[document].astype(np.float64)]))
    chosen = list(selection.epochs)
    for index, (low, high) in brackets.items():
        budget = float(budgets[index] or 0)
        chosen[index] = _cut(base[index], np.concatenate([np.zeros((2, 0)), *close[index]], axis=1), budget, low, high)
    return chosen


def _measured(
    runs: Runs, selection: Selection, patterns: Sequence[int], run: int, opened: TokenObject
) -> dict[int, tuple[npt.NDArray, npt.NDArray, Ints]]:
    """Numbers, times and lengths of the documents of some patterns in an object, but for those held out."""
    documents = opened.documents(selection.columns)
    candidates = selection.candidates(documents, run)
    lengths = runs.lengths(documents, candidates, run)
    stay = ~selection.held_out(candidates, run)
    found = {}
    for index in patterns:
        mine = np.flatnonzero(stay & (candidates.group == index))
        if len(mine):
            found[index] = candidates.number[mine], candidates.times[mine], lengths[mine]
    return found


def _bracket(histogram: _Histogram, budget: float) -> tuple[float, float]:
    """Epochs that are surely not too many, and epochs that surely are."""
    if not budget:
        return 0.0, 0.0
    top = 2.0
    while histogram.bounds(top)[0] <= budget:
        top *= 2
    low, high = 0.0, top
    for _ in range(60):
        middle = (low + high) / 2
        if histogram.bounds(middle)[1] <= budget:
            low = middle
        else:
            high = middle
    sure, high = low, top
    low = sure
    for _ in range(60):
        middle = (low + high) / 2
        if histogram.bounds(middle)[0] > budget:
            high = middle
        else:
            low = middle
    return sure, high


def _cut(base: int, close: npt.NDArray[np.float64], budget: float, low: float, high: float) -> float:
    """Epochs between the last document that fits the budget and the next.

    Args:
      base: tokens at ``low`` epochs.
      close: of the documents that come between ``low`` and ``high``: at how many epochs, and tokens.
    """
    if not budget:
        return 0.0
    order = np.argsort(close[0], kind="stable")
    at, tokens = close[0][order], close[1][order]
    fitting = int(np.searchsorted(base + np.cumsum(tokens), budget, "right"))
    while 0 < fitting < len(at) and at[fitting - 1] == at[fitting]:
        fitting -= 1
    before = at[fitting - 1] if fitting else low
    after = at[fitting] if fitting < len(at) else high
    return float((before + after) / 2)
