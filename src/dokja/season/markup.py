"""Small pieces of the report's HTML: text in two languages, numbers, tables, a team's mark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from .words import WORDS

# Teams differ in dash and marker as well as in colour, for readers who do not tell the colours apart and for print.
DASHES = ("none", "9 4", "2 4", "12 4 2 4", "5 3", "1 5", "14 3")
NONE = "–"


def both(key: str, **values: object) -> str:
    """A text of the report in both languages, of which the page shows one; values are escaped."""
    ko, en = WORDS[key]
    return pair(ko.format(**values) if values else ko, en.format(**values) if values else en)


def pair(ko: str, en: str) -> str:
    """A text given in both languages; one that is the same in both is written once."""
    if ko == en:
        return escape(ko)
    return f'<span class="ko" lang="ko">{escape(ko)}</span><span class="en" lang="en">{escape(en)}</span>'


def both_svg(words: tuple[str, str], attributes: str, kind: str) -> str:
    """A text element of an SVG in both languages."""
    return "".join(f'<text class="{kind} {lang}" lang="{lang}" {attributes}>{escape(word)}</text>'
                   for lang, word in zip(("ko", "en"), words, strict=True))


@dataclass(frozen=True)
class Column:
    """A table's column: its heading as HTML, and whether it holds numbers."""

    head: str
    number: bool = True


def table(columns: Sequence[Column], rows: Sequence[tuple[str, Sequence[str]]], kind: str = "cards") -> str:
    """A table of (class, cells) rows, the first cell not a number being the row's heading.

    Of kind "cards" every row becomes a card on a narrow page, with the headings beside the values.
    """
    head = "".join(f'<th scope="col" class="{"n" * column.number}">{column.head}</th>' for column in columns)
    heading = next(index for index, column in enumerate(columns) if not column.number)
    body = []
    for name, cells in rows:
        line = []
        for index, (column, cell) in enumerate(zip(columns, cells, strict=True)):
            tag = 'th scope="row"' if index == heading else "td"
            label = f'<span class="lab">{column.head}</span>' if kind == "cards" and index != heading else ""
            kinds = " ".join(["n"] * column.number + ["void"] * (cell == NONE))
            line.append(f'<{tag} class="{kinds}">{label}<div>{cell}</div></{tag.split()[0]}>')
        body.append(f'<tr class="{name}">{"".join(line)}</tr>')
    return (f'<div class="scroll"><table class="{kind}" style="--columns:{len(columns) - 1}"><thead><tr>{head}</tr>'
            f'</thead><tbody>{"".join(body)}</tbody></table></div>')


def number(value: Any, digits: int = 0) -> str:
    """A number with thousands separators, or a dash."""
    return f"{value:,.{digits}f}" if _real(value) else NONE


def percent(value: Any) -> str:
    """A share as whole per cent, or a dash."""
    return f"{value * 100:.0f}%" if _real(value) else NONE


def interval(figure: Mapping[str, Any] | None, digits: int) -> str:
    """A value with its 95 % interval in small print."""
    if not figure or not _real(figure.get("value")):
        return NONE
    small = ""
    if _real(figure.get("low")) and _real(figure.get("high")):
        small = f"<small>{number(figure['low'], digits)}–{number(figure['high'], digits)}</small>"
    return number(figure["value"], digits) + small


def power(value: Any) -> str:
    """A large number such as 3×10¹², to three digits."""
    if not _real(value) or value <= 0:
        return NONE
    lead, exponent = f"{value:.2e}".split("e")
    lead = lead.rstrip("0").rstrip(".")
    tens = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return tens if lead == "1" else f"{lead}×{tens}"


def short(value: Any) -> str:
    """A count in a few characters: 2,371억 in Korean, 237B in English."""
    if not _real(value):
        return NONE
    return pair(_scaled(value, ((1e12, "조"), (1e8, "억"), (1e4, "만"))),
                _scaled(value, ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))))


def marker(place: int, x: float, y: float, r: float) -> str:
    """A team's mark in an SVG: a shape and a colour by its place."""
    k = r * 1.2
    shapes = (f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
              f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}z",
              f"M{x:.1f} {y - k:.1f}l{k:.1f} {1.8 * k:.1f}h{-2 * k:.1f}z",
              f"M{x:.1f} {y - k:.1f}l{k:.1f} {k:.1f}l{-k:.1f} {k:.1f}l{-k:.1f} {-k:.1f}z",
              f"M{x:.1f} {y + k:.1f}l{k:.1f} {-1.8 * k:.1f}h{-2 * k:.1f}z")
    return f'<path class="mark t{place % 8}" d="{shapes[place % len(shapes)]}"/>'


def mark(place: int) -> str:
    """A team's mark beside its name."""
    return f'<svg class="dot" viewBox="0 0 14 14" aria-hidden="true">{marker(place, 7, 7, 4.5)}</svg>'


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    for size, unit in units:
        if value >= size:
            lead = value / size
            return (f"{lead:,.0f}" if lead >= 100 else f"{lead:.3g}") + unit
    return f"{value:,.0f}"
