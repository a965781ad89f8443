"""The plan of an export: made from the runs and the seed, stored before anything is written.

The same command over the same output finds the plan and goes on; with other settings or runs it is refused. Only the
documents that are left out after all may become more: they don't move any other document.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_pipeline.export.estimate import estimate
from beam_pipeline.export.layout import lay_out, mixing
from beam_pipeline.export.removals import read_removals
from beam_pipeline.export.runs import Around, ExportedRun, NotExportable, exported_runs, read_plan, tokens_around
from beam_pipeline.export.settings import ExportSettings
from beam_pipeline.export.survey import Amount, Runs, Tables, epochs_for, survey
from beam_pipeline.prices import Prices
from schemas import exports
from schemas.exports import SPLITS
from schemas.run_layout import stable_hash
from transforms.export.formats import FORMATS
from transforms.export.options import ExportOptions
from transforms.export.plan_tables import StoredPlan
from transforms.export.selection import Selection
from transforms.io import storage

FORMAT = 1
"""Goes up when the same settings would give other bytes than before."""
REMOVED_FILE = "removed.parquet"


@dataclasses.dataclass(frozen=True)
class ExportPlan:
    """An export that is ready to be carried out: what ``plan.json`` says."""

    output: str
    contents: dict[str, Any]

    @property
    def options(self) -> ExportOptions:
        """What the workers get."""
        values = dict(self.contents["options"])
        selection = values.pop("selection")
        selection |= {name: tuple(selection[name]) for name in ("patterns", "epochs")}
        selection["times"] = tuple((size, times) for size, times in selection["times"])
        lists = {name: tuple(values[name]) for name in ("before", "after", "begins", "ends")}
        return ExportOptions(**values | lists, output=self.output, selection=Selection(**selection))

    @property
    def stored(self) -> StoredPlan:
        """Where its tables are."""
        options, runs = self.options, self.runs
        return StoredPlan(
            output=self.output,
            decides=stable_hash(self.contents["deciding"]),
            seed=options.selection.seed,
            parts=options.parts,
            files=tuple(self.contents["files"]),
            tokens_uris=tuple(run.tokens_uri for run in runs),
            decisions_uris=tuple(run.decisions_uri for run in runs),
            removed_uri=storage.join(self.output, REMOVED_FILE) if self.contents["removed"] else "",
        )

    @property
    def runs(self) -> list[ExportedRun]:
        """The runs, by position."""
        return [ExportedRun(**run) for run in self.contents["runs"]]

    @property
    def files(self) -> list[tuple[int, int]]:
        """Split and number of each file."""
        return [(split, number) for split, count in enumerate(self.contents["files"]) for number in range(count)]


@dataclasses.dataclass(frozen=True)
class Drafted:
    """A plan that isn't stored yet."""

    contents: dict[str, Any]
    tables: Tables
    pieces: pa.Table


def draft(settings: ExportSettings) -> Drafted:
    """Looks at all documents of the runs and decides what goes where.

    Raises:
      NotExportable: with one sentence that says why.
      NoSuchColumn, ExpressionError: a column isn't in the token objects, or a condition can't be used.
    """
    runs = exported_runs(settings.run, settings.decisions)
    if settings.holdout and len(runs) > 1 and not all(run.decisions_uri for run in runs[1:]):
        raise NotExportable(
            "holdout: several runs were not held against each other, so a document that is held out may have a "
            "near-duplicate in training; decide with dedup --against, and name its output by --decisions"
        )
    around = tokens_around(runs, settings.bos, settings.eos, settings.pad, FORMATS[settings.format].needs_end)
    added = [(before >= 0) + (after >= 0) for before, after in zip(around.before, around.after, strict=True)]
    mixture = settings.mixture
    budgets = [mixture.budget(pattern) for pattern in mixture.groups]
    wanted = [group.epochs if group.epochs is not None else 1.0 for group in mixture.groups.values()]
    selection = Selection(
        seed=settings.seed,
        by=mixture.by,
        patterns=tuple(mixture.groups),
        epochs=tuple(wanted),
        where=settings.where,
        times=tuple(sorted(mixture.cluster_size.items())),
        holdout=settings.holdout,
    )
    looked_at = Runs.of(runs, added)
    if any(budget is not None for budget in budgets):
        selection = dataclasses.replace(selection, epochs=tuple(epochs_for(looked_at, selection, budgets)))
    tables = survey(looked_at, selection, settings.parts)
    if not len(tables.pieces):
        raise NotExportable("run: no document is left to export; see --where and --mixture")
    pieces, files = lay_out(tables.pieces, settings.seed, settings.shard_tokens)
    id_bytes = 2 if tables.id_type == pa.uint16() else 4
    contents = {
        "kind": "export",
        "runs": [run.as_json() for run in runs],
        "settings": settings.model_dump(mode="json"),
        "deciding": _deciding(settings, runs),
        "options": _options(settings, selection, around, id_bytes),
        "files": list(files),
        "mixture": _mixture(selection, budgets, tables),
        "holdout": dataclasses.asdict(tables.held_out),
        "mixing": mixing(pieces, tables.units.num_rows),
        "estimate": estimate(settings.format, id_bytes, pieces, files, Prices()),
        "removed": "",
    }
    return Drafted(contents, tables, pieces)


def make_plan(settings: ExportSettings) -> ExportPlan:
    """The plan under the output if there is one of this export, else a new one, stored.

    Raises:
      NotExportable: the output has another export, or as ``draft``.
    """
    output = settings.output
    found = _found(output)
    if found is None:
        drafted = draft(settings)
        _write_table(storage.join(output, exports.UNITS_FILE), drafted.tables.units)
        _write_table(storage.join(output, exports.PIECES_FILE), drafted.pieces)
        contents = drafted.contents
    else:
        contents = found
        _refuse_differences(output, contents, _deciding(settings, exported_runs(settings.run, settings.decisions)))
    plan = ExportPlan(output, contents)
    removed = _removed(plan, settings.without)
    if found is None or removed != contents["removed"]:
        plan = ExportPlan(output, contents | {"removed": removed})
        storage.write(storage.join(output, exports.PLAN), json.dumps(plan.contents, indent=2).encode())
    return plan


def _found(output: str) -> dict[str, Any] | None:
    """The plan of an export that is there already."""
    uri = storage.join(output, exports.PLAN)
    if storage.stat(uri) is not None:
        return read_plan(output)
    try:
        strange = next((info.uri for split in SPLITS for info in storage.list_objects(storage.join(output, split))), "")
    except storage.NotFound:
        return None
    raise NotExportable(f"output: {strange} is there, but no plan of an export; remove it, or choose another output")


def _removed(plan: ExportPlan, without: str) -> str:
    """Stores which documents are left out after all, those of before too; a hash of them."""
    if not without:
        return str(plan.contents["removed"])
    uri = storage.join(plan.output, REMOVED_FILE)
    earlier = pq.read_table(io.BytesIO(storage.read_bytes(uri))) if plan.contents["removed"] else None
    table = read_removals(without, plan.runs)
    table = pa.concat_tables([table, earlier]) if earlier is not None else table
    rows = np.unique(np.stack([table["run"].to_numpy().astype(np.uint64), table["document"].to_numpy()]), axis=1)
    table = pa.table({"run": pa.array(rows[0].astype(np.uint16)), "document": pa.array(rows[1])})
    if earlier is None or not table.equals(earlier):
        _write_table(uri, table)
    return stable_hash(rows.tolist())


def _write_table(uri: str, table: pa.Table) -> None:
    with storage.open_output(uri) as file:
        pq.write_table(table, file, compression="zstd")


def _deciding(settings: ExportSettings, runs: Sequence[ExportedRun]) -> dict[str, Any]:
    identities = [{"run": run.run, "settings": run.settings_hash, "decisions": run.decisions_hash} for run in runs]
    return {"export_format": FORMAT, **settings.deciding("files"), "runs": identities}


def _options(settings: ExportSettings, selection: Selection, around: Around, id_bytes: int) -> dict[str, Any]:
    options = ExportOptions(
        output="",
        format=settings.format,
        selection=selection,
        parts=settings.parts,
        packing=settings.packing,
        sequence_length=settings.sequence_length,
        boundaries=settings.boundaries,
        id_bytes=id_bytes,
        **dataclasses.asdict(around),
    )
    values = dataclasses.asdict(options)
    del values["output"]
    return dict(json.loads(json.dumps(values)))


def _mixture(selection: Selection, budgets: Sequence[float | None], tables: Tables) -> list[dict[str, Any]]:
    """What is taken of each group, as plan and manifest say it."""
    rows = []
    for index, pattern in enumerate(selection.patterns):
        available, taken = tables.available[index], tables.taken[index]
        rows.append(
            {
                "group": pattern,
                "available": dataclasses.asdict(available),
                "taken": dataclasses.asdict(taken),
                "epochs": selection.epochs[index],
                "budget": budgets[index],
            }
        )
    left = tables.available[-1]
    rows.append(
        {
            "group": None,
            "available": dataclasses.asdict(left),
            "taken": dataclasses.asdict(Amount()),
            "epochs": 0.0,
            "budget": None,
        }
    )
    return rows


def _refuse_differences(output: str, stored: dict[str, Any], now: dict[str, Any]) -> None:
    there = stored["deciding"]
    now = json.loads(json.dumps(now))
    differences = [
        f"  {name}: {there.get(name)!r} there, {now.get(name)!r} now"
        for name in sorted(there.keys() | now.keys())
        if there.get(name) != now.get(name)
    ]
    if differences:
        raise NotExportable(
            f"output: {output} holds an export that differs from what is asked for now:\n"
            + "\n".join(differences)
            + "\nGo on with the settings and runs of that export, or choose another output."
        )
