"""What a measurement is held against."""

from __future__ import annotations

from typing import NamedTuple


class Bar(NamedTuple):
    """A figure and its goal; `ours` that is not a number is short."""

    name: str
    ours: float
    goal: float
    ok: bool

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'short'}  {self.name}  {self.ours:.3g}  {self.goal:.3g}"


def at_least(name: str, ours: float, goal: float) -> Bar:
    return Bar(name, ours, goal, ours >= goal)


def at_most(name: str, ours: float, goal: float) -> Bar:
    return Bar(name, ours, goal, ours <= goal)
