"""Curves of runs as SVG: one drawing for the page and for the docs, light and dark, without a script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ...models.report.draw import svg, text

POINTS = 400  # of a line; more than a page has columns only cost time
COLOURS = ("grouped", "norm", "latent", "shared", "dense")  # classes of the palette, in the order of runs
_SMOOTH = 0.02  # of a run's length: the span of the moving average that is drawn over noisy values
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 16.0, 34.0, 30.0
_STROKES = "".join(f".stroke-{name}{{fill:none;stroke:var(--{name});stroke-width:1.8}}" for name in COLOURS)
_STYLE = f"<style>{_STROKES}.faint{{opacity:.28;stroke-width:1}}</style>"

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One run's values over its steps; place: among the runs, which decides its colour in every chart."""

    name: str
    points: Sequence[Point]
    place: int = 0

    @property
    def colour(self) -> str:
        return f"stroke-{COLOURS[self.place % len(COLOURS)]}"


def series(records: Sequence[dict[str, Any]], name: str) -> list[Point]:
    """(step, value) of a number in a run's records; "tokens_per_second" is made of tokens and seconds."""
    if name == "tokens_per_second":
        steps = [record for record in records if "loss" in record]
        pairs = pairwise(steps)
        return [(float(b["step"]), (b["tokens"] - a["tokens"]) / (b["seconds"] - a["seconds"]))
                for a, b in pairs if b["seconds"] > a["seconds"]]
    found = ((record["step"], record[name]) for record in records
             if isinstance(record.get(name), int | float) and not isinstance(record[name], bool))
    return [(float(step), float(value)) for step, value in found if math.isfinite(value)]


def names(records: Sequence[dict[str, Any]]) -> list[str]:
    """The numbers that a run has, those that every run has first."""
    usual = ["loss", "heldout", "rate", "gradient_norm", "tokens_per_second"]
    further = {key for record in records if "loss" in record for key, value in record.items()
               if isinstance(value, int | float) and not isinstance(value, bool)}
    return usual + sorted(further - {*usual, "step", "tokens", "flops", "seconds"})


def thinned(points: Sequence[Point], most: int = POINTS) -> list[Point]:
    """At most so many points: means of equal spans of the sequence."""
    if len(points) <= most:
        return list(points)
    edges = [round(i * len(points) / most) for i in range(most + 1)]
    spans = [points[a:b] for a, b in pairwise(edges)]
    return [(span[-1][0], sum(value for _, value in span) / len(span)) for span in spans]


def smoothed(points: Sequence[Point]) -> list[Point]:
    """A moving average over the last fiftieth of the run, which lags by half of that."""
    span = max(1, round(len(points) * _SMOOTH))
    out, total = [], 0.0
    for index, (step, value) in enumerate(points):
        total += value - (points[index - span][1] if index >= span else 0.0)
        out.append((step, total / min(index + 1, span)))
    return out


def chart(title: str, lines: Sequence[Line], *, width: float = 440, height: float = 210, noisy: bool = False,
          alone: bool = False, logarithmic: bool = False, x_title: str = "") -> str:
    """Lines over steps; "" without two points. noisy: draw the values faintly and their moving average over them.

    alone: a file of its own. logarithmic: of the places, for a few points that are no steps. The first twentieth of
    steps does not count for the height, or a run's first fall would flatten all that follows; what leaves is cut off.
    """
    drawn = [replace(line, points=thinned(line.points)) for line in lines if len(line.points) > 1]
    if not drawn:
        return ""
    xs = [x for line in drawn for x, _ in line.points]
    low_x, high_x = min(xs), max(xs)
    begin = low_x if logarithmic else low_x + 0.05 * (high_x - low_x)
    settled = [y for line in drawn for x, y in line.points if x >= begin]
    low, high = min(settled), max(settled)
    pad = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - pad, high + pad

    def at(point: Point) -> Point:
        share = (_log(point[0]) - _log(low_x)) / (_log(high_x) - _log(low_x)) if logarithmic else (
            (point[0] - low_x) / ((high_x - low_x) or 1))
        y = min(max(point[1], low), high)
        return _LEFT + share * (width - _LEFT - _RIGHT), height - _BOTTOM - (y - low) / (high - low) * (
            height - _TOP - _BOTTOM)

    body = [_STYLE, text(12, 20, title, size=13, weight=600)]
    for value in ticks(low, high):
        y = at((low_x, value))[1]
        body += [f'<path d="M{_LEFT} {y:.1f}H{width - _RIGHT}" class="edge"/>',
                 text(_LEFT - 6, y + 4, label(value), size=11, anchor="end", kind="soft")]
    marks = sorted({x for line in drawn for x, _ in line.points}) if logarithmic else ticks(low_x, high_x)
    room = width - _RIGHT - 9 * len(x_title) - 18  # what stands under the right end is the title's
    for value in marks:
        if (x := at((value, low))[0]) < room:
            body.append(text(x, height - 12, label(value), size=11, anchor="middle", kind="soft"))
    if x_title:
        body.append(text(width - _RIGHT, height - 12, x_title, size=11, anchor="end", kind="soft"))
    for line in drawn:
        if noisy:
            body += [_path([at(point) for point in line.points], f"{line.colour} faint"),
                     _path([at(point) for point in smoothed(line.points)], line.colour)]
        else:
            body.append(_path([at(point) for point in line.points], line.colour))
    if len(drawn) > 1:
        x = width - _RIGHT
        for line in reversed(drawn):
            body.append(text(x, 20, line.name, size=11, anchor="end"))
            x -= 7.0 * len(line.name) + 18
            body.append(f'<path d="M{x + 2:.1f} 16h12" class="{line.colour}"/>')
            x -= 10
    return svg(width, height, body, title, alone=alone)


def _path(points: Sequence[Point], kind: str) -> str:
    return f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}" class="{kind}"/>'


def _log(value: float) -> float:
    return math.log(value) if value > 0 else 0.0


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two values, about so many."""
    span = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(span))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= span)
    first = math.ceil(low / step)
    return [round(number * step, 12) for number in range(first, math.floor(high / step) + 1)]


def label(value: float) -> str:
    """A number in a few characters: 1200 as 1.2k."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
