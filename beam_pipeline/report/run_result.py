"""``Result`` of a finished run, from what it has stored: the page shows a run as it shows a trial."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import yaml

from beam_pipeline.finished_runs import FinishedRun
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.totals import Totals
from beam_pipeline.report.distributions import Distribution
from beam_pipeline.report.run_documents import read_documents
from beam_pipeline.report.run_texts import RunTexts
from beam_pipeline.settings import Settings
from beam_pipeline.trial.result import ALL, COSTS, EDITS, FUNNEL, INVALID, KEPT, OVERLAP, Looked, Result, StepInfo
from transforms.io.lineage import Lineage
from transforms.recipe.spec import StepSpec
from transforms.recipe.steps import Step

DUPLICATES = "duplicates"
"""The row of the funnel for what the removal of duplicates has dropped."""


def result_of(run: FinishedRun, lineage: Lineage, texts: bool = True) -> tuple[Result, list[Distribution]]:
    """The result of a run, and the distributions of all its documents' attributes.

    Steps that can't be imported here have no thresholds and no texts of their own; all counts are there all the same.

    Args:
      texts: whether texts, and values of stored strings, may be in it.

    Raises:
      NotUsable, DamagedObject, StorageError, TextGone: what the run has read or written isn't there any more.
    """
    manifest = run.manifest
    totals = runs.totals(lineage, run.run)
    specs = Settings(**manifest["settings"]).steps()
    steps = list(_importable(specs))
    documents = read_documents(run, lineage, steps, texts)
    fetched = RunTexts(run, lineage, steps, documents)
    text_bytes = sum(row.amount.bytes for row in totals.funnel)
    shown = [spec.model_dump(exclude_defaults=True) for spec in specs]
    result = Result(
        title=run.output,
        is_run=True,
        created=manifest["finished"],
        recipe_yaml=yaml.safe_dump({"recipe": json.loads(json.dumps(shown, default=str))}, sort_keys=False),
        recipe_hash=_hash(manifest),
        settings=manifest["settings"],
        versions=dict(_versions(manifest["versions"])),
        looked=Looked(
            inputs=tuple(manifest["settings"]["input"]),
            documents=totals.documents,
            bytes=text_bytes,
            of_documents=totals.documents,
            of_bytes=text_bytes,
            is_all=True,
            tokens="counted",
        ),
        steps=tuple(StepInfo(s.label, s.kind, s.label, tuple(s.reasons), tuple(s.columns)) for s in steps),
        funnel=_funnel(totals, steps),
        edits=_edits(manifest.get("edits") or {}),
        overlap=OVERLAP.empty_table(),
        costs=_costs(manifest.get("steps") or {}, text_bytes),
        documents=documents.sample,
        conditions=documents.conditions,
        texts=fetched.texts() if texts else (),
        duplicates=fetched.duplicates(texts),
    )
    return result, documents.distributions


def _importable(specs: list[StepSpec]) -> Iterator[Step]:
    for spec in specs:
        try:
            yield spec.resolved().load()
        except ValueError:
            continue  # its module or file isn't here


def _hash(manifest: dict[str, Any]) -> str:
    found = str(manifest.get("settings_hash") or "")
    return found or hashlib.sha256(json.dumps(manifest["settings"], sort_keys=True).encode()).hexdigest()


def _versions(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, version in given.items():
        if isinstance(version, dict):
            yield from _versions(version)
        else:
            yield name, str(version)


def _funnel(totals: Totals, steps: list[Step]) -> pa.Table:
    """Rows in the order of the recipe; reasons of steps that aren't here stand where they come in the lineage."""
    step_of = {reason: step.label for step in steps for reason in step.reasons}
    order = {reason: place for place, reason in enumerate(step_of)}
    rows = []
    for row in totals.funnel:
        reason = row.reason or ""
        if row.outcome == "kept":
            step, rank = KEPT, (3, 0)
        elif row.outcome == "invalid":
            step, rank = INVALID, (0, 0)
        elif reason in ("exact_duplicate", "near_duplicate"):
            step, rank = DUPLICATES, (2, 0)
        else:
            step, rank = step_of.get(reason, reason), (1, order.get(reason, len(order)))
        amounts = dataclasses.asdict(row.amount)
        rows.append((rank, reason, {"step": step, "reason": reason, "language": row.language or ""} | amounts))
        rows.append(((-1, 0), "", {"step": ALL, "reason": "", "language": row.language or ""} | amounts))
    ordered = sorted(rows, key=lambda row: (row[0], row[1], -row[2]["documents"]))
    return pa.Table.from_pylist([row for _, _, row in ordered], FUNNEL)


def _edits(edits: dict[str, dict[str, int]]) -> pa.Table:
    rows = [
        {"step": step, "language": ""} | {name: changed.get(name, 0) for name in EDITS.names[2:]}
        for step, changed in edits.items()
    ]
    return pa.Table.from_pylist(rows, EDITS)


def _costs(steps: dict[str, dict[str, float]], text_bytes: int) -> pa.Table:
    rows = []
    for step, cost in steps.items():
        seconds = float(cost.get("cpu", 0.0))
        speed = text_bytes / 1e6 / seconds if seconds > 0.1 else None
        rows.append(
            {"step": step, "mb_per_second": speed, "cpu_seconds": seconds, "cpu_hours_of_input": seconds / 3600}
        )
    return pa.Table.from_pylist(rows, COSTS)
