"""The rows of the report's tables, as the template shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow.compute as pc

from beam_pipeline.report.distributions import ALL, MOST_VALUES, QUANTILES, Distribution
from beam_pipeline.trial.result import ALL as ALL_DOCUMENTS
from beam_pipeline.trial.result import INVALID, KEPT, Result

AMOUNTS = ("documents", "bytes", "tokens")
MOST_LANGUAGES = 100
"""Rows of the table of languages; the others are summed up in one."""
COLUMNS = 10
"""Languages that are columns of the table of reasons by language."""


def count(value: Any) -> str:
    """A whole number with separators; a dash where there is none."""
    return "–" if value is None else f"{round(value):,}"


def share(value: Any) -> str:
    """A share in percent."""
    return "–" if value is None else f"{value:.1%}"


def number(value: Any) -> str:
    """A number with four digits that count."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def duration(hours: Any) -> str:
    """A time, given in hours, in the unit that a person would take."""
    if hours is None:
        return "–"
    seconds = hours * 3600
    if seconds < 0.001:
        return "< 0.001 s" if seconds else "0 s"
    if seconds < 60:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{hours:,.1f} h"


def size(value: Any) -> str:
    """Bytes in the unit that a person would take."""
    if value is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000 or unit == "TB":
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1000
    raise AssertionError


def _sums(result: Result, *by: str) -> list[dict[str, Any]]:
    names = [*AMOUNTS, *(f"{name}_alone" for name in AMOUNTS)]
    grouped = result.funnel.group_by(list(by), use_threads=False).aggregate([(name, "sum") for name in names])
    return [{name.removesuffix("_sum"): value for name, value in row.items()} for row in grouped.to_pylist()]


def _outcome(step: str) -> str:
    return {ALL_DOCUMENTS: "", KEPT: "kept", INVALID: "invalid"}.get(step, "dropped")


def summary(result: Result) -> dict[str, dict[str, Any]]:
    """Documents, bytes and tokens of all, and of what is kept."""
    found = {row["step"]: row for row in _sums(result, "step")}
    nothing = dict.fromkeys(AMOUNTS, 0)
    return {"all": found.get(ALL_DOCUMENTS, nothing), "kept": found.get(KEPT, nothing)}


def funnel(result: Result) -> list[dict[str, Any]]:
    """A row for each end, in the order of the recipe, with its share and what is left behind it."""
    rows = _sums(result, "step", "reason")
    total = next((row["documents"] for row in rows if row["step"] == ALL_DOCUMENTS), 0) or 1
    left = total
    for row in rows:
        row["outcome"] = _outcome(row["step"])
        row["name"] = row["reason"] or row["step"]
        row["share"] = row["documents"] / total
        row["share_alone"] = None if row["documents_alone"] is None else row["documents_alone"] / total
        left -= row["documents"] if row["outcome"] in ("dropped", "invalid") else 0
        row["left"] = left
    return rows


class Languages(NamedTuple):
    """Rows of the languages with the most documents, and how many more there are."""

    rows: list[dict[str, Any]]
    more: int


def languages(result: Result) -> Languages:
    """What became of the documents of each language, the largest first."""
    found: dict[str, dict[str, Any]] = {}
    for row in _sums(result, "step", "language"):
        language = row["language"] or "none"
        one = found.setdefault(language, dict.fromkeys(("kept", "dropped", "invalid", *AMOUNTS), 0))
        outcome = _outcome(row["step"])
        if outcome:
            one[outcome] += row["documents"]
            one["documents"] += row["documents"]
        if outcome == "kept":
            one["bytes"], one["tokens"] = row["bytes"] or 0, row["tokens"]
    ordered = sorted(found.items(), key=lambda item: (-item[1]["documents"], item[0]))
    rows = [{"language": name} | one | {"share": one["kept"] / max(1, one["documents"])} for name, one in ordered]
    return Languages(rows[:MOST_LANGUAGES], max(0, len(rows) - MOST_LANGUAGES))


def reasons_by_language(result: Result) -> dict[str, Any]:
    """For each reason, the share of the documents of each of the largest languages that it drops."""
    columns = languages(result).rows[:COLUMNS]
    totals = {row["language"]: row["documents"] for row in columns}
    found: dict[str, dict[str, float]] = {}
    for row in _sums(result, "step", "reason", "language"):
        language = row["language"] or "none"
        if _outcome(row["step"]) != "dropped" or not row["documents"]:
            continue
        of_reason = found.setdefault(row["reason"], {})
        if language in totals:
            of_reason[language] = row["documents"] / totals[language]
    return {"languages": list(totals), "rows": found}


def edits(result: Result) -> list[dict[str, Any]]:
    """What each editor has changed, in all languages."""
    names = ("documents", "removed", "replaced", "added")
    grouped = result.edits.group_by("step", use_threads=False).aggregate([(name, "sum") for name in names])
    return [{name.removesuffix("_sum"): value for name, value in row.items()} for row in grouped.to_pylist()]


def costs(result: Result) -> list[dict[str, Any]]:
    """Each step's cost, with its share of the whole."""
    total = pc.sum(result.costs["cpu_seconds"]).as_py() or 1.0
    return [row | {"share": (row["cpu_seconds"] or 0.0) / total} for row in result.costs.to_pylist()]


def values(found: Distribution) -> list[dict[str, Any]]:
    """The most frequent values of strings."""
    frequent = sorted(found.values.items(), key=lambda item: (-item[1], item[0]))[:MOST_VALUES]
    return [{"value": value[:80], "documents": documents} for value, documents in frequent]


def quantiles(found: Distribution) -> Mapping[str, Any]:
    """Rows of quantiles by language shown."""
    rows = [
        {"language": "all" if group == ALL else group, "values": numbers} for group, numbers in found.quantiles.items()
    ]
    return {"names": [f"{quantile:.0%}" for quantile in QUANTILES], "rows": rows}


def beyond(found: Distribution) -> Mapping[str, Any]:
    """A row for each threshold: the share of the documents of each language shown that it alone would drop."""
    names = list(found.counts)
    rows = []
    for each in found.beyond:
        documents, gone = each.groups.get(ALL, (0, 0))
        shares = [part[1] / part[0] if (part := each.groups.get(name)) else None for name in names]
        rows.append({"condition": each.condition, "documents": documents, "beyond": gone, "shares": shares})
    return {"names": names, "rows": rows}
