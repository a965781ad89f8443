"""The files of a planned export, from the tables that its plan has stored (``schemas.exports``)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from schemas import exports
from schemas.exports import ExportFile, Piece, Unit
from transforms.io import storage
from transforms.io.own_objects import opened
from transforms.kernels.export import choosing

REMEDY = "remove the export and make it again"


@dataclasses.dataclass(frozen=True)
class StoredPlan:
    """Where the tables of a plan are, and what they don't say.

    Attributes:
      output: of the export.
      decides: hash of all that decides the bytes, the documents removed left out.
      seed, parts: of the selection.
      files: how many each split has.
      tokens_uris: of each run, where its token objects are.
      decisions_uris: of each run, where the decisions on its documents are; empty: it has none.
      removed_uri: table of the documents that are left out after all (``run``, ``document``); empty: none.
    """

    output: str
    decides: str
    seed: int
    parts: int
    files: tuple[int, ...]
    tokens_uris: tuple[str, ...]
    decisions_uris: tuple[str, ...]
    removed_uri: str = ""


def read_files(plan: StoredPlan) -> Iterator[ExportFile]:
    """The files of the plan; what is held is the table of units, 40 bytes each, and one file's pieces."""
    units = _units(plan)
    removed = _removed(plan)
    pending: list[dict[str, int]] = []
    with opened(storage.join(plan.output, exports.PIECES_FILE), REMEDY) as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1 << 16):
            for row in batch.to_pylist():
                if pending and (row["split"], row["file"]) != (pending[0]["split"], pending[0]["file"]):
                    yield _file(plan, pending, units, removed)
                    pending = []
                pending.append(row)
    if pending:
        yield _file(plan, pending, units, removed)


def files_with(plan: StoredPlan, run: int, documents: npt.NDArray[np.uint64]) -> list[tuple[int, int]]:
    """Split and number of the files that can have some of a run's documents: nearly always those that have."""
    units = _units(plan).columns
    mine = np.flatnonzero((units["run"] == run) & (units["documents"] > 0))
    mine = mine[np.argsort(units["first_id"][mine], kind="stable")]
    at = np.searchsorted(units["first_id"][mine], documents, "right") - 1
    inside = (at >= 0) & (documents <= units["last_id"][mine][np.maximum(at, 0)]) if len(mine) else at >= 0
    documents, unit = documents[inside], mine[at[inside]]
    found: set[tuple[int, int]] = set()
    with opened(storage.join(plan.output, exports.PIECES_FILE), REMEDY) as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1 << 20):
            columns = {name: batch[name].to_numpy() for name in ("split", "file", "unit", "copy", "part")}
            rows = np.flatnonzero(np.isin(columns["unit"], unit))
            for row in rows:
                copy, ids = int(columns["copy"][row]), documents[unit == columns["unit"][row]]
                if (choosing.parts(ids, plan.seed, run, copy, plan.parts) == columns["part"][row]).any():
                    found.add((int(columns["split"][row]), int(columns["file"][row])))
    return sorted(found)


@dataclasses.dataclass(frozen=True, eq=False)
class _Units:
    plan: StoredPlan
    columns: dict[str, npt.NDArray]
    objects: list[str]
    etags: list[str]

    def unit(self, index: int) -> Unit:
        run = int(self.columns["run"][index])
        name = self.objects[self.columns["object"][index]]
        decisions = self.plan.decisions_uris[run]
        return Unit(
            index,
            run,
            storage.join(self.plan.tokens_uris[run], name),
            self.etags[self.columns["etag"][index]],
            int(self.columns["size"][index]),
            int(self.columns["row_group"][index]),
            storage.join(decisions, name) if decisions else "",
        )


def _units(plan: StoredPlan) -> _Units:
    with opened(storage.join(plan.output, exports.UNITS_FILE), REMEDY) as file:
        table = pq.read_table(file).unify_dictionaries().combine_chunks()
    columns: dict[str, npt.NDArray] = {}
    names: dict[str, list[str]] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_dictionary(column.type):
            names[name] = column.dictionary.to_pylist()
            column = column.indices
        columns[name] = column.to_numpy()
    return _Units(plan, columns, names["object"], names["etag"])


def _removed(plan: StoredPlan) -> dict[int, npt.NDArray[np.uint64]]:
    """Sorted ids of the documents left out, by run."""
    if not plan.removed_uri:
        return {}
    with opened(plan.removed_uri, REMEDY) as file:
        table = pq.read_table(file)
    runs, ids = table["run"].to_numpy(), table["document"].to_numpy()
    return {int(run): np.unique(ids[runs == run]) for run in np.unique(runs)}


def _file(
    plan: StoredPlan, rows: list[dict[str, int]], units: _Units, removed: dict[int, npt.NDArray[np.uint64]]
) -> ExportFile:
    pieces = []
    signature = hashlib.sha256(f"{plan.decides}/{rows[0]['split']}/{rows[0]['file']}".encode())
    for row in rows:
        unit = units.unit(row["unit"])
        gone = _of_piece(plan, unit, row, units, removed.get(unit.run))
        if len(gone):
            signature.update(f"/{row['unit']}/{row['copy']}/{row['part']}/".encode() + gone.astype("<u8").tobytes())
        pieces.append(Piece(unit, row["copy"], row["part"], gone))
    split, number = rows[0]["split"], rows[0]["file"]
    tokens = sum(row["tokens"] for row in rows)
    return ExportFile(split, number, plan.files[split], tuple(pieces), tokens, signature.hexdigest())


def _of_piece(
    plan: StoredPlan, unit: Unit, row: dict[str, int], units: _Units, removed: npt.NDArray[np.uint64] | None
) -> npt.NDArray[np.uint64]:
    """Which of the removed documents would be in a piece, if they are taken so often at all."""
    none = np.zeros(0, np.uint64)
    if removed is None:
        return none
    bounds = units.columns["first_id"][unit.index], units.columns["last_id"][unit.index]
    first = int(np.searchsorted(removed, bounds[0]))
    ids = removed[first : int(np.searchsorted(removed, bounds[1], "right"))]
    return ids[choosing.parts(ids, plan.seed, unit.run, row["copy"], plan.parts) == row["part"]]
