"""Training: one run as one object that can stop after any step and go on as if it had not.

Names are imported when they are first used: the command line lists its verbs without PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import Checkpoints
    from .guard import GuardConfig
    from .next_token import NextToken, NextTokenConfig
    from .objective import Batch, Objective
    from .recipe import Recipe
    from .trainer import Parallel, Step, TrainConfig, Trainer

_HOMES = {"Checkpoints": "checkpoint", "GuardConfig": "guard", "NextToken": "next_token",
          "NextTokenConfig": "next_token", "Batch": "objective", "Objective": "objective", "Recipe": "recipe",
          "Parallel": "trainer", "Step": "trainer", "TrainConfig": "trainer", "Trainer": "trainer"}

__all__ = ["Batch", "Checkpoints", "GuardConfig", "NextToken", "NextTokenConfig", "Objective", "Parallel", "Recipe",
           "Step", "TrainConfig", "Trainer"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
