"""The page: one HTML file of a result that needs no network and no JavaScript.

jinja2 escapes every value that it is given, so no text of a document becomes markup. A policy in the page's head
forbids scripts, images, fonts and connections beside that.
"""

from __future__ import annotations

import collections
import functools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from beam_pipeline.report import charts, tables
from beam_pipeline.report.distributions import Distribution, distributions_of
from beam_pipeline.report.marks import Piece, differing, marked
from beam_pipeline.trial.result import MAX_CHARACTERS, Result, ShownText
from transforms.io import storage

MOST_BYTES = 4_900_000
"""Of the page: it opens at once and can be sent by mail."""
TEXT_LIMITS = (MAX_CHARACTERS, 2000, 1000, 500, 200, 80)
"""Characters of a text that are shown: the most that keep the page small enough."""
CHART_BYTES = 2_000_000
"""Of all charts of attributes together; the attributes behind have their table only."""
TEXTS = 6
"""Of each kind that are shown."""
BARS = 40
"""Rows of a chart; its table has all."""


def write(result: Result, uri: str, distributions: Sequence[Distribution] | None = None) -> None:
    """Writes the page (``render``) to a file or an ``s3://`` object.

    Raises:
      StorageError: it can't be written.
    """
    storage.write(storage.absolute(uri), render(result, distributions).encode(errors="replace"))


def render(result: Result, distributions: Sequence[Distribution] | None = None) -> str:
    """The page of a result, at most ``MOST_BYTES`` in UTF-8: texts are cut shorter until they fit.

    Args:
      result: of a trial or a run.
      distributions: of its attributes; by default those of the documents that the result has.
    """
    if distributions is None:
        distributions = distributions_of(result.documents, result.conditions, result.looked.weights)
    fixed = _fixed(result, distributions)
    template = _templates().get_template("page.html.jinja")
    for limit in TEXT_LIMITS:
        page: str = template.render(fixed | _texts(result, limit))
        if len(page.encode(errors="replace")) <= MOST_BYTES:
            return page
    return template.render(fixed | {"groups": [], "clusters": [], "texts_left_out": True})


@functools.cache
def _templates() -> jinja2.Environment:
    loader = jinja2.PackageLoader("beam_pipeline.report", "templates")
    made = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.undefined = jinja2.StrictUndefined
    made.filters |= {"count": tables.count, "share": tables.share, "number": tables.number, "size": tables.size}
    made.filters["duration"] = tables.duration
    return made


def _fixed(result: Result, distributions: Sequence[Distribution]) -> dict[str, Any]:
    """All of the page but the texts."""
    funnel = tables.funnel(result)
    languages = tables.languages(result)
    costs = tables.costs(result)
    return {
        "result": result,
        "summary": tables.summary(result),
        "funnel": funnel,
        "funnel_chart": _funnel_chart(funnel),
        "languages": languages,
        "languages_chart": charts.bars(
            [row for row in languages.rows if row["documents"]][:20],
            "language",
            [("kept", charts.KEPT), ("dropped", charts.DROPPED), ("invalid", charts.INVALID)],
            "documents",
        ),
        "reasons_by_language": tables.reasons_by_language(result),
        "attributes": list(_attributes(distributions, result)),
        "overlap": result.overlap.slice(0, BARS).to_pylist(),
        "edits": tables.edits(result),
        "costs": costs,
        "costs_chart": charts.bars(
            [row for row in costs if row["cpu_seconds"]], "step", [("cpu_seconds", charts.KEPT)], "CPU seconds"
        ),
        "settings": json.dumps(dict(result.settings), indent=1, default=str, ensure_ascii=False),
        "texts_left_out": False,
    }


def _funnel_chart(funnel: Sequence[dict[str, Any]]) -> Markup:
    colours = {"kept": charts.KEPT, "dropped": charts.DROPPED, "invalid": charts.INVALID}
    rows = [
        dict.fromkeys(colours, 0) | {"name": row["name"], row["outcome"]: row["documents"]}
        for row in funnel
        if row["outcome"] in colours
    ]
    return charts.bars(rows[:BARS], "name", list(colours.items()), "documents")


def _attributes(distributions: Iterable[Distribution], result: Result) -> Iterable[dict[str, Any]]:
    """Each attribute with its chart and its tables."""
    drawn = 0
    for found in distributions:
        conditions = [each for each in result.conditions if each.figure == found.name]
        chart: Markup | None = None
        if drawn < CHART_BYTES:
            if found.axis is not None:
                chart = charts.histogram(found, conditions)
            else:
                chart = charts.bars(tables.values(found), "value", [("documents", charts.KEPT)], "documents")
            drawn += len(chart)
        yield {
            "found": found,
            "chart": chart,
            "beyond": tables.beyond(found),
            "quantiles": tables.quantiles(found),
        }


def _texts(result: Result, limit: int) -> dict[str, Any]:
    """Samples by reason, and clusters of duplicates, each text cut to ``limit`` characters."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    of_kind: collections.Counter[tuple[str, ...]] = collections.Counter()
    for shown in result.texts:
        kind = (shown.kind, shown.step, shown.reason, shown.place)
        of_kind[kind] += 1
        if of_kind[kind] <= TEXTS:
            groups.setdefault((shown.step, shown.reason), []).append(_text(shown, limit))
    clusters = []
    for cluster in result.duplicates.clusters:
        first = cluster.texts[0]
        members = [_text(first, limit)]
        for other, similarity in zip(cluster.texts[1:], cluster.similarities[1:], strict=True):
            pieces = differing(first.text[:limit], other.text[:limit])
            members.append(_text(other, limit) | {"pieces": pieces, "similarity": similarity})
        clusters.append({"size": cluster.size, "members": members})
    return {"groups": sorted(groups.items(), key=lambda item: item[0] == ("", "")), "clusters": clusters}


def _text(shown: ShownText, limit: int) -> dict[str, Any]:
    text = shown.text[:limit]
    spans = [(start, min(end, limit)) for start, end in shown.spans if start < limit]
    pieces: list[Piece] = marked(text, spans) if shown.after is None else differing(text, shown.after[:limit])
    return {
        "shown": shown,
        "pieces": pieces,
        "is_cut": shown.is_cut or len(shown.text) > limit,
        "similarity": None,
    }
