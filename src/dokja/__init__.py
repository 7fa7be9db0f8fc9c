"""Dokja (독자, "independent"): build a foundation model, prove it is your own, judge it, serve it.

`load` reads any model that it knows, `save` writes one; both come with PyTorch, so they are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models.loading import load
    from .models.model import Model
    from .models.saving import save

__version__ = "0.1.0"
__all__ = ["Model", "load", "save"]

_WHERE = {"Model": "model", "load": "loading", "save": "saving"}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".models.{_WHERE[name]}", __name__), name)
