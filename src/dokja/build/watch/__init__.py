"""Seeing a run: where its numbers go, what the terminal shows, the page of its curves, its card.

Names are imported when they are first used: the command line lists its verbs without what they need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .card import model_card
    from .progress import Progress
    from .sinks import Sinks, check_sinks, open_sinks, read_metrics

_HOMES = {"model_card": "card", "check_sinks": "sinks", "Progress": "progress", "Sinks": "sinks", "open_sinks": "sinks",
          "read_metrics": "sinks"}

__all__ = ["Progress", "Sinks", "check_sinks", "model_card", "open_sinks", "read_metrics"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
