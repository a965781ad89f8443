"""The report's charts: Vega-Lite specifications, rendered to SVG when the page is made.

vl-convert carries Vega-Lite and draws without a browser, a network or a display. Colours of axes and labels are the
page's own (``currentColor``), so that a chart is readable on light and dark ground.
"""

from __future__ import annotations

import xml.etree.ElementTree
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import vl_convert
from markupsafe import Markup

from beam_pipeline.report.distributions import ALL, Distribution
from beam_pipeline.trial.result import Condition

KEPT, DROPPED, INVALID, THRESHOLD = "#3f87c9", "#e08b2e", "#8b93a1", "#d43d51"
"""Colours that can be told apart on white and on black, by the colour-blind too."""
LANGUAGES = ("#7b61c4", "#2f9e77", "#c2559d", "#a3802b", "#5a8f29")
_DRAWN = {"svg", "g", "path", "rect", "text", "tspan", "line", "defs", "clipPath", "title", "circle"}
_SVG = "{http://www.w3.org/2000/svg}"
_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "aria": False,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor", "titleColor": "currentColor", "domainColor": "currentColor",
        "tickColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.12, "titleFontWeight": "normal",
    },
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "orient": "top", "title": None},
    "title": {"color": "currentColor", "fontSize": 11, "fontWeight": "normal", "anchor": "start", "offset": 4},
}  # fmt: skip


def svg(specification: Mapping[str, Any]) -> Markup:
    """A Vega-Lite specification as SVG that can stand in a page.

    Names in it come from data, so what was drawn is looked at: it has shapes and text, no link, script or style.

    Raises:
      ValueError: something else was drawn.
    """
    drawn = vl_convert.vegalite_to_svg({"config": _CONFIG, **specification})
    for element in xml.etree.ElementTree.fromstring(drawn).iter():
        links = [name for name in element.attrib if name.lower().startswith("on") or name.rpartition("}")[2] == "href"]
        if element.tag.removeprefix(_SVG) not in _DRAWN or links:
            raise ValueError(f"a chart has the element {element.tag} {links}, which has no place in one")
    return Markup(drawn)


def printable(name: str) -> str:
    """A name as it can stand in XML: without control characters."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)


def bars(rows: Sequence[Mapping[str, Any]], field: str, series: Sequence[tuple[str, str]], title: str) -> Markup:
    """Horizontal bars, a row each, stacked of several series.

    Args:
      rows: in the order in which they are drawn, with ``field`` and a number for each series.
      field: their names.
      series: names of the numbers, and their colours.
      title: of the numbers.
    """
    values = [
        {"name": printable(row[field]), "series": name, "value": row[name], "order": place}
        for row in rows
        for place, (name, _) in enumerate(series)
    ]
    ticks = _ticks(max((each["value"] for each in values), default=0))
    colours: dict[str, Any] = {"domain": [name for name, _ in series], "range": [colour for _, colour in series]}
    return svg(
        {
            "width": 560,
            "padding": {"left": 60, "right": 20, "top": 5, "bottom": 5},  # the reader's font may be wider than ours
            "height": {"step": 18},
            "data": {"values": values},
            "mark": "bar",
            "encoding": {
                "y": {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 260}},
                "x": {"field": "value", "type": "quantitative", "title": title, "axis": {"format": ticks}},
                "color": {
                    "field": "series", "type": "nominal", "scale": colours, "legend": {} if len(series) > 1 else None,
                },
                "order": {"field": "order", "type": "quantitative"},
            },
        }
    )  # fmt: skip


def _ticks(most: float) -> str:
    """The format of an axis up to ``most``: 20M, 5,000, 0.02; neither 20m for thousandths nor 1e+2."""
    return "~s" if most >= 1e6 else ",~f"


def histogram(found: Distribution, conditions: Sequence[Condition]) -> Markup:
    """An attribute's distribution: of all documents as an area, of the largest languages as lines, thresholds upright.

    The height is the share of a group's documents in a bin. Of all documents, kept ones stand below, others on them.
    """
    assert found.axis is not None
    edges = found.axis.edges
    scale: dict[str, Any] = {"domain": [_rounded(edges[0]), _rounded(edges[-1])], "nice": False}
    if found.axis.is_logarithmic:
        scale["type"] = "symlog"
    axis: dict[str, Any] = {"tickCount": 8, "format": _ticks(float(edges[-1])), "title": None}
    if found.axis.is_logarithmic:  # by itself symlog has the ticks of a linear axis
        axis["format"] = ",~f"
        axis["values"] = [tick for tick in (0, *(10**power for power in range(16))) if edges[0] <= tick <= edges[-1]]
    x = {"type": "quantitative", "scale": scale, "axis": axis}
    languages = [name for name, counts in found.counts.items() if name != ALL and counts.any()]
    colours = {"domain": list(map(printable, languages)), "range": list(LANGUAGES[: len(languages)])}
    stroke = {
        "field": "language",
        "type": "nominal",
        "scale": colours,
        "legend": {"orient": "right", "symbolType": "stroke"},
    }
    layers = [
        {
            "data": {"values": _stacked(found.counts[ALL], edges)},
            "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.55, "clip": True},
            "encoding": {
                "x": {"field": "x", **x},
                "y": {"field": "low", "type": "quantitative", "title": None, "axis": {"tickCount": 3, "format": ".0%"}},
                "y2": {"field": "high"},
                "color": {
                    "field": "outcome", "type": "nominal", "legend": None,
                    "scale": {"domain": ["kept", "dropped"], "range": [KEPT, DROPPED]},
                },
            },
        }
    ]  # fmt: skip
    if languages:
        lines = [
            {"x": _rounded(edge), "share": _rounded(share), "language": printable(name)}
            for name in languages
            for edge, share in _steps(found.counts[name].sum(axis=0) / found.counts[name].sum(), edges)
        ]
        share = {"field": "share", "type": "quantitative"}
        line = {"type": "line", "interpolate": "step-after", "strokeWidth": 1.2, "clip": True}
        encoding = {"x": {"field": "x", **x}, "y": share, "stroke": stroke}
        layers.append({"data": {"values": lines}, "mark": line, "encoding": encoding})
    drawn = [
        {"x": t.threshold, "language": printable(t.language)}
        for t in conditions
        if edges[0] <= t.threshold <= edges[-1]
    ]
    for values, more in (
        ([each for each in drawn if not each["language"]], {"color": {"value": THRESHOLD}}),
        ([each for each in drawn if each["language"] in colours["domain"]], {"stroke": stroke}),
    ):
        if values:
            rule = {
                "type": "rule",
                "strokeWidth": 1.8,
                "clip": True,
                **({} if "color" in more else {"strokeDash": [4, 3]}),
            }
            layers.append({"data": {"values": values}, "mark": rule, "encoding": {"x": {"field": "x", **x}, **more}})
    return svg({"width": 640, "height": 110, "layer": layers})


def _steps(shares: np.ndarray, edges: np.ndarray) -> Iterator[tuple[float, float]]:
    """The points of a line in steps: one at each edge, the last one closes the last bin."""
    return zip(edges.tolist(), [*shares.tolist(), float(shares[-1])], strict=True)


def _stacked(counts: np.ndarray, edges: np.ndarray) -> list[dict[str, Any]]:
    shares = counts / max(1.0, counts.sum())
    points = []
    for name, low, high in (("kept", 0 * shares[0], shares[0]), ("dropped", shares[0], shares[0] + shares[1])):
        for (edge, top), (_, bottom) in zip(_steps(high, edges), _steps(low, edges), strict=True):
            points.append({"x": _rounded(edge), "low": _rounded(bottom), "high": _rounded(top), "outcome": name})
    return points


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
