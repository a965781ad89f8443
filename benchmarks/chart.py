"""The bar chart for the README: MB of text a CPU second, on a logarithmic scale, as SVG without a library."""

from __future__ import annotations

import math
from html import escape
from typing import Any

_WIDTH, _ROW, _LEFT, _RIGHT = 760, 46, 150, 150
_COLORS = {"ours": "#2563eb", "library": "#9ca3af", "datatrove": "#f59e0b"}
_NAMES = {"ours": "this pipeline", "library": "strongest library", "datatrove": "datatrove 0.10.1"}


def draw(result: dict[str, Any]) -> str:
    """The SVG of a result as ``benchmarks.__main__`` puts it together."""
    libraries: dict[str, str] = {}
    rows = [("whole run", {"ours": result["whole"]["ours"]["mb_per_cpu_second"]})]
    if "datatrove" in result["whole"]:
        rows[0][1]["datatrove"] = result["whole"]["datatrove"]["mb_per_cpu_second"]
    for step, rates in result["steps"].items():
        rows.append((step, {name: rates[name] for name in _COLORS if name in rates}))
        libraries[step] = rates.get("library_is", "")
    top = math.ceil(math.log10(max(rate for _, rates in rows for rate in rates.values())))
    bottom = math.floor(math.log10(min(rate for _, rates in rows for rate in rates.values())))
    height = 60 + _ROW * len(rows) + 24

    def x(rate: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log10(rate) - bottom) / (top - bottom)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="20" font-size="14" font-weight="bold">MB of text per CPU second (log scale)</text>',
    ]
    for position, (name, color) in enumerate(_COLORS.items()):
        left = _LEFT + 160 * position
        parts.append(f'<rect x="{left}" y="32" width="12" height="10" fill="{color}"/>')
        parts.append(f'<text x="{left + 17}" y="41">{_NAMES[name]}</text>')
    for power in range(bottom, top + 1):
        at = x(10**power)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="54" y2="{height - 22}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{at:.1f}" y="{height - 8}" text-anchor="middle" fill="#6b7280">{10**power:g}</text>')
    for number, (title, rates) in enumerate(rows):
        y = 60 + _ROW * number
        weight = ' font-weight="bold"' if number == 0 else ""
        parts.append(f'<text x="{_LEFT - 10}" y="{y + 22}" text-anchor="end"{weight}>{escape(title)}</text>')
        for position, (name, rate) in enumerate(rates.items()):
            top_edge = y + 13 * position
            width = max(1.0, x(rate) - _LEFT)
            which = f" {escape(libraries[title])}" if name == "library" else ""
            parts.append(
                f'<rect x="{_LEFT}" y="{top_edge}" width="{width:.1f}" height="11" fill="{_COLORS[name]}"/>'
                f'<text x="{_LEFT + width + 5:.1f}" y="{top_edge + 10}">{rate:,.3g}{which}</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"
