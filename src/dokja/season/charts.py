"""The report's charts as inline SVG: no script, no canvas; colours come from the page, words in both languages.

Every chart is drawn twice, for a wide and for a narrow page, so that its letters keep their size on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from .markup import DASHES, both_svg, marker, power

_LINE = 14  # of a label, in pixels
Point = tuple[float, float]


@dataclass(frozen=True)
class Size:
    """A chart's frame in pixels; `right` is the column of direct labels."""

    kind: str
    width: int
    height: int
    left: int
    right: int
    top: int = 42
    bottom: int = 46
    ticks: int = 6


SIZES = (Size("wide", 960, 410, 52, 170), Size("narrow", 328, 370, 30, 104, ticks=4))


@dataclass(frozen=True)
class Line:
    """One team's line: its place among the teams decides colour, dash and marker."""

    place: int
    title: str
    points: Sequence[Point]
    out: bool = False


def learning_curves(lines: Sequence[Line], ends: Mapping[tuple[str, str], float], budget: float) -> str:
    """Training loss against training FLOPs, with the stages' ends; "" when no line has two points."""
    lines = [Line(line.place, line.title, usable(line.points), line.out) for line in lines]
    lines = [line for line in lines if len(line.points) > 1]
    if not lines:
        return ""
    x_max = max([budget, *(x for line in lines for x, _ in line.points)])
    reached = max(x for line in lines for x, _ in line.points)
    # The fall from random weights would flatten all that follows: what lies above its first 6 % is cut off.
    y_values = [y for line in lines for x, y in line.points if x >= 0.06 * reached]
    label = ("학습 손실과 학습 계산량의 그래프, 팀마다 선 하나",
             "Training loss against training FLOPs, a line per team")
    return _both_sizes(label, lambda size: _curves(size, lines, ends, x_max, _padded(y_values)))


def stage_points(lines: Sequence[Line], intervals: Mapping[int, Sequence[Point]], stages: Sequence[tuple[str, str]],
                 baselines: Mapping[str, float]) -> str:
    """Bits per byte after each judged stage with 95 % intervals, and the baselines as level lines.

    The points of a line are (stage from 1, bits per byte); `intervals` has (low, high) for each of them by place.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    values = [*baselines.values(), *(end for line in lines for pair in intervals[line.place] for end in pair)]
    label = ("단계마다 잰 바이트당 비트와 95% 구간의 그래프", "Bits per byte after each stage with 95 % intervals")
    return _both_sizes(label, lambda size: _stages(size, lines, intervals, stages, baselines, _padded(values)))


def usable(points: Sequence[Sequence[float]]) -> list[Point]:
    """The points that can be drawn: FLOPs above zero and a finite loss."""
    return [(float(p[0]), float(p[1])) for p in points
            if len(p) == 2 and p[0] and p[0] > 0 and p[1] is not None and math.isfinite(p[1])]


def ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round values between two ends, about as many as wanted."""
    raw = (high - low) / wanted
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw * 0.999)
    return [round(step * n, 10) for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def spread(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Where the centres of labels go: as near as can be to where they are wanted, without overlap, within bounds."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    edge = low
    for i in order:
        placed[i] = max(placed[i], edge + heights[i] / 2)
        edge = placed[i] + heights[i] / 2
    edge = high
    for i in reversed(order):
        placed[i] = min(placed[i], edge - heights[i] / 2)
        edge = placed[i] - heights[i] / 2
    return placed


class _Frame:
    """Scales from values to pixels, and the parts of the drawing so far."""

    def __init__(self, size: Size, x: Point, y: Point) -> None:
        self.size, self._x, self._y = size, x, y
        self.x0, self.x1 = size.left, size.width - size.right
        self.y0, self.y1 = size.height - size.bottom, size.top
        self.parts: list[str] = []

    def x(self, value: float) -> float:
        return self.x0 + (value - self._x[0]) / (self._x[1] - self._x[0]) * (self.x1 - self.x0)

    def y(self, value: float) -> float:
        return self.y0 + (value - self._y[0]) / (self._y[1] - self._y[0]) * (self.y1 - self.y0)

    def add(self, part: str) -> None:
        self.parts.append(part)

    def text(self, x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> None:
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{words}</text>')

    def texts(self, x: float, y: float, words: tuple[str, str], anchor: str = "start", kind: str = "") -> None:
        """The same place in both languages."""
        self.add(both_svg(words, f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"', kind))

    def levels(self, name: tuple[str, str]) -> None:
        """The vertical axis: a level line and a number for each tick."""
        for value in ticks(*self._y, self.size.ticks if self.size.kind == "wide" else 5):
            y = self.y(value)
            self.add(f'<line class="grid" x1="{self.x0}" x2="{self.x1}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.text(self.x0 - 6, y + 4, f"{value:g}", "end")
        self.texts(4, 12, name, kind="axis")

    def labels(self, lines: Sequence[Line], tails: Sequence[Point]) -> None:
        """A direct label for each line beside its tail, where it ends in pixels, and a thin leader between the two."""
        rows = [_wrapped(line.title, 20 if self.size.kind == "wide" else 12) for line in lines]
        centres = spread([y for _, y in tails], [_LINE * len(r) + 4 for r in rows],
                         self.y1 - 10, self.y0 + 10)
        for line, row, centre, (x, y) in zip(lines, rows, centres, tails, strict=True):
            at = self.x1 + 16
            self.add(f'<path class="leader t{line.place % 8}" d="M{x + 5:.1f} {y:.1f}L{self.x1 + 5} {centre:.1f}h8"/>')
            top = centre - _LINE * (len(row) - 1) / 2 + 4
            spans = "".join(f'<tspan x="{at}" y="{top + _LINE * n:.1f}">{escape(part)}</tspan>'
                            for n, part in enumerate(row))
            self.add(f'<text class="label t{line.place % 8}{" out" if line.out else ""}">{spans}</text>')

    def svg(self, label: tuple[str, str]) -> str:
        said = escape(f"{label[0]} / {label[1]}")
        return (f'<svg class="chart {self.size.kind}" viewBox="0 0 {self.size.width} {self.size.height}" role="img" '
                f'aria-label="{said}">{"".join(self.parts)}</svg>')


def _both_sizes(label: tuple[str, str], draw: Callable[[Size], _Frame]) -> str:
    return "".join(draw(size).svg(label) for size in SIZES)


def _curves(size: Size, lines: Sequence[Line], ends: Mapping[tuple[str, str], float], x_max: float,
            y: Point) -> _Frame:
    frame = _Frame(size, (0, x_max), y)
    frame.levels(("손실 (토큰당, nat)", "loss (nats per token)"))
    for value in ticks(0, x_max, size.ticks):
        frame.text(frame.x(value), frame.y0 + 18, power(value) if value else "0", "middle")
    frame.add(f'<line class="base" x1="{frame.x0}" x2="{frame.x1}" y1="{frame.y0}" y2="{frame.y0}"/>')
    frame.texts((frame.x0 + frame.x1) / 2, size.height - 8, ("학습 계산량 (FLOPs)", "training FLOPs"), "middle", "axis")
    for words, end in ends.items():
        x = frame.x(end)
        frame.add(f'<line class="end" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.y1 - 16}" y2="{frame.y0}"/>')
        ko, en = (word if len(word) <= 10 else word[:9] + "…" for word in words)
        frame.texts(x - 4, frame.y1 - 8, (f"{ko} 끝", f"{en} ends" if size.kind == "wide" else en), "end", "stage")
    tails = []
    for line in lines:
        spots = [(frame.x(a), frame.y(b)) for a, b in _clipped(line.points, y[1])]
        frame.add(_polyline(line, spots) + marker(line.place, *spots[-1], 4.5))
        tails.append(spots[-1])
    frame.labels(lines, tails)
    return frame


def _stages(size: Size, lines: Sequence[Line], intervals: Mapping[int, Sequence[Point]],
            stages: Sequence[tuple[str, str]], baselines: Mapping[str, float], y: Point) -> _Frame:
    frame = _Frame(size, (0.5, len(stages) + 0.5), y)
    frame.levels(("바이트당 비트 (낮을수록 좋음)", "bits per byte (lower is better)"))
    for number, words in enumerate(stages, start=1):
        frame.texts(frame.x(number), frame.y0 + 20, words, "middle", "axis")
    frame.add(f'<line class="base" x1="{frame.x0}" x2="{frame.x1}" y1="{frame.y0}" y2="{frame.y0}"/>')
    for name, value in baselines.items():
        at = frame.y(value)
        frame.add(f'<line class="baseline" x1="{frame.x0}" x2="{frame.x1}" y1="{at:.1f}" y2="{at:.1f}"/>')
        frame.text(frame.x0 + 4, at - 5, f"{escape(name)} {value:.3f}", kind="stage")
    apart = (frame.x1 - frame.x0) / len(stages) * 0.6 / max(1, len(lines) - 1)
    tails = []
    for index, line in enumerate(lines):
        aside = (index - (len(lines) - 1) / 2) * apart  # side by side, so that intervals do not hide each other
        spots = [(frame.x(x) + aside, frame.y(value)) for x, value in line.points]
        frame.add(_polyline(line, spots, "thin"))
        for (x, at), (low, high) in zip(spots, intervals[line.place], strict=True):
            frame.add(f'<path class="whisker t{line.place % 8}" d="M{x:.1f} {frame.y(low):.1f}V{frame.y(high):.1f}"/>'
                      + marker(line.place, x, at, 5))
        tails.append(spots[-1])
    frame.labels(lines, tails)
    return frame


def _polyline(line: Line, spots: Sequence[Point], kind: str = "") -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    return (f'<polyline class="line {kind} t{line.place % 8}" points="{points}" '
            f'stroke-dasharray="{DASHES[line.place % len(DASHES)]}"><title>{escape(line.title)}</title></polyline>')


def _clipped(points: Sequence[Point], top: float) -> list[Point]:
    """The points from where the line last comes down below `top`, which it enters at the edge."""
    first = next((i for i, (_, y) in enumerate(points) if y <= top), len(points) - 1)
    if first == 0:
        return list(points)
    (x0, y0), (x1, y1) = points[first - 1], points[first]
    if y1 > top:
        return [(x1, top)]
    return [(x0 + (y0 - top) / (y0 - y1) * (x1 - x0), top), *((x, min(y, top)) for x, y in points[first:])]


def _padded(values: Sequence[float]) -> Point:
    """(low, high) a little wider than the values."""
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or 0.1
    return low - margin, high + margin


def _wrapped(title: str, width: int) -> list[str]:
    """The title in lines of at most about `width` letters, broken at spaces."""
    rows: list[str] = []
    for word in title.split():
        if rows and len(rows[-1]) + 1 + len(word) <= width:
            rows[-1] += " " + word
        else:
            rows.append(word)
    return rows or [title]
