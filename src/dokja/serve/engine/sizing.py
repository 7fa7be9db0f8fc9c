"""How many pages an engine gets, and whether a model fits at all: arithmetic alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .pages import PAGE, Kind


@dataclass(frozen=True)
class Limits:
    """context: of prompt and answer together; tokens: how many positions a layer without a window may hold over all
    sequences; rows: how many sequences run at once; budget: tokens of a step; prefix_cache: whether what one request
    left behind serves another that begins alike; mtp: whether MTP layers have pages too, to draft with."""

    context: int
    tokens: int
    rows: int = 32
    budget: int = 512
    prefix_cache: bool = True
    mtp: bool = False


def page_totals(kinds: Sequence[Kind], limits: Limits) -> list[int]:
    """Pages of each kind: all tokens where nothing is ever out of sight; behind windows, what `rows` sequences can
    hold at once, and as much again for prefixes that may come back."""
    whole = -(-limits.tokens // PAGE)
    totals = []
    for kind in kinds:
        one = kind.pages_of(limits.context, limits.budget)
        if kind.window is None:
            totals.append(max(whole, one))
        else:
            decoding = kind.pages_of(limits.context, 1) + 1
            totals.append(max(one, min(whole, 2 * limits.rows * decoding + 2 * (limits.budget // PAGE))))
    return totals
