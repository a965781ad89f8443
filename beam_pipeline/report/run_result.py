"""``Result`` of finished runs, from what they have stored: the page shows them as it shows a trial."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import yaml

from beam_pipeline.finished_runs import FinishedRun
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.totals import FunnelRow
from beam_pipeline.report.distributions import Distribution
from beam_pipeline.report.run_documents import read_documents
from beam_pipeline.report.run_texts import RunTexts
from beam_pipeline.settings import Settings
from beam_pipeline.trial.result import (
    ALL,
    COSTS,
    EDITS,
    FUNNEL,
    INVALID,
    KEPT,
    OVERLAP,
    Duplicates,
    Looked,
    Result,
    StepInfo,
)
from transforms.io.lineage import Lineage
from transforms.recipe.spec import StepSpec
from transforms.recipe.steps import Step

DUPLICATES = "duplicates"
"""The row of the funnel for what the removal of duplicates has dropped."""


def result_of(
    run: FinishedRun, lineage: Lineage, texts: bool = True, corpus: str = "", before: Sequence[FinishedRun] = ()
) -> tuple[Result, list[Distribution]]:
    """The result of a run, and the distributions of all its documents' attributes.

    Steps that can't be imported here have no thresholds and no texts of their own; all counts are there all the same.

    Args:
      texts: whether texts, and values of stored strings, may be in it.
      corpus: URI of the corpus whose latest run it is, if all its runs are asked for.
      before: its other runs. All are counted; recipe, settings, thresholds and texts are those of the latest.

    Raises:
      NotUsable, DamagedObject, StorageError, TextGone: what the run has read or written isn't there any more.
    """
    manifest = run.manifest
    manifests = [manifest, *(other.manifest for other in before)]
    totals = [runs.totals(lineage, each.run) for each in (run, *before)]
    rows = [row for each in totals for row in each.funnel]
    counted = sum(each.documents for each in totals)
    specs = Settings(**manifest["settings"]).steps()
    steps = list(_importable(specs))
    documents = read_documents([run, *before], lineage, steps, texts)
    fetched = RunTexts(run, lineage, steps, documents)
    text_bytes = sum(row.amount.bytes for row in rows)
    shown = [spec.model_dump(exclude_defaults=True) for spec in specs]
    result = Result(
        title=corpus or run.output,
        is_run=True,
        note=_note(run, len(manifests)) if corpus else "",
        created=manifest["finished"],
        recipe_yaml=yaml.safe_dump({"recipe": json.loads(json.dumps(shown, default=str))}, sort_keys=False),
        recipe_hash=_hash(manifest),
        settings=manifest["settings"],
        versions=dict(_versions(manifest["versions"])),
        looked=Looked(
            inputs=tuple(dict.fromkeys(uri for each in manifests for uri in each["settings"]["input"])),
            documents=counted,
            bytes=text_bytes,
            of_documents=counted,
            of_bytes=text_bytes,
            is_all=True,
            tokens="counted" if manifest["settings"].get("tokens", True) else "none were made: --no-tokens",
        ),
        steps=tuple(StepInfo(s.label, s.kind, s.label, tuple(s.reasons), tuple(s.columns)) for s in steps),
        funnel=_funnel(rows, steps),
        edits=_edits(_added_up(each.get("edits") or {} for each in manifests)),
        overlap=OVERLAP.empty_table(),
        costs=_costs(_added_up(each.get("steps") or {} for each in manifests), text_bytes),
        documents=documents.sample,
        conditions=documents.conditions,
        texts=fetched.texts() if texts else (),
        duplicates=_duplicates([each["counts"] for each in manifests], fetched, texts),
    )
    return result, documents.distributions


def _note(run: FinishedRun, count: int) -> str:
    number = run.output.rpartition("/")[2]
    return f"{count:,} runs of a corpus, counted together. Recipe, settings, thresholds and texts are of run {number}."


def _added_up(of_runs: Iterable[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Numbers by step and name, of all runs together."""
    total: dict[str, dict[str, Any]] = {}
    for of_run in of_runs:
        for step, numbers in of_run.items():
            sums = total.setdefault(step, {})
            for name, number in numbers.items():
                sums[name] = sums.get(name, 0) + number
    return total


def _duplicates(counts: list[dict[str, Any]], fetched: RunTexts, texts: bool) -> Duplicates:
    """How many duplicates were dropped, and some clusters."""
    exact, near = (sum(each["dropped"].get(f"{kind}_duplicate", 0) for each in counts) for kind in ("exact", "near"))
    looked_at = sum(each["kept"] for each in counts) + exact + near
    return Duplicates(exact, near, looked_at, fetched.clusters() if texts and exact + near else ())


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


def _funnel(found: list[FunnelRow], steps: list[Step]) -> pa.Table:
    """Rows in the order of the recipe; reasons of steps that aren't here stand where they come in the lineage."""
    step_of = {reason: step.label for step in steps for reason in step.reasons}
    order = {reason: place for place, reason in enumerate(step_of)}
    rows = []
    for row in found:
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
