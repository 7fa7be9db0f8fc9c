"""Votes counted by pair of models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def tally(votes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a pair, in the order of their names: a, b, a_wins, b_wins, tie, bad; most votes first."""
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    for vote in votes:
        a, b = sorted((vote["left_model"], vote["right_model"]))
        row = pairs.setdefault((a, b), {"a": a, "b": b, "a_wins": 0, "b_wins": 0, "tie": 0, "bad": 0})
        choice = vote["choice"]
        if choice in ("left", "right"):
            choice = "a_wins" if vote[f"{choice}_model"] == a else "b_wins"
        row[choice] += 1
    return sorted(pairs.values(), key=lambda row: -sum(row[key] for key in ("a_wins", "b_wins", "tie", "bad")))
