"""Learning curves as one inline SVG: no script, no canvas, colours from the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 46
# Lines differ in dash as well as in colour, for readers who do not tell the colours apart.
DASHES = ("none", "9 4", "2 4", "12 4 2 4", "5 3")

Curve = Sequence[Sequence[float]]


def usable(curve: Curve) -> list[tuple[float, float]]:
    """The points that can be drawn: FLOPs above zero and a finite loss."""
    return [(float(p[0]), float(p[1])) for p in curve
            if len(p) == 2 and p[0] and p[0] > 0 and p[1] is not None and math.isfinite(p[1])]


def learning_curves(curves: Mapping[str, Curve], label: str, x_label: str, y_label: str) -> str:
    """An SVG of loss against FLOPs (logarithmic), a line per team in the order given; "" without two points."""
    drawn = {name: usable(curve) for name, curve in curves.items()}
    points = [point for curve in drawn.values() for point in curve]
    if len({x for x, _ in points}) < 2:
        return ""
    # The fall from random weights would flatten all that follows, so the first thirtieth is left out.
    x_max = max(x for x, _ in points)
    x_min = max(min(x for x, _ in points), x_max / 30)
    kept = [(x, y) for x, y in points if x >= x_min]
    y_min, y_max = min(y for _, y in kept), max(y for _, y in kept)
    margin = (y_max - y_min) * 0.04 or 0.1
    y_min, y_max = y_min - margin, y_max + margin

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log(x) - math.log(x_min)) / (math.log(x_max) - math.log(x_min))
        down = (y_max - y) / (y_max - y_min)
        return (_LEFT + across * (WIDTH - _LEFT - _RIGHT), _TOP + down * (HEIGHT - _TOP - _BOTTOM))

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for value in _steps(y_min, y_max):
        _, y = at(x_max, value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in _powers(x_min, x_max):
        x, _ = at(value, y_min)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
                     f'<text x="{x:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{flops(value)}</text>')
    for place, (name, curve) in enumerate(drawn.items()):
        line = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in curve if x >= x_min)
        parts.append(f'<polyline points="{line}" style="--team:var(--t{place % 5})" '
                     f'stroke-dasharray="{DASHES[place % 5]}"><title>{escape(name)}</title></polyline>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{escape(x_label)}</text>'
                 f'<text x="4" y="{HEIGHT - 6}">{escape(y_label)}</text></svg>')
    return "".join(parts)


def flops(value: float) -> str:
    """A number of FLOPs such as 3×10¹²."""
    exponent = math.floor(math.log10(value) + 1e-9)
    lead = value / 10**exponent
    power = "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if abs(lead - 1) < 0.005 else f"{lead:.2g}×{power}"


def _steps(low: float, high: float) -> list[float]:
    raw = (high - low) / 5
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw)
    return [round(step * n, 10) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _powers(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = (1,) if high / low > 30 else (1, 2, 5)
    return [m * 10.0**d for d in decades for m in marks if low <= m * 10.0**d <= high]
