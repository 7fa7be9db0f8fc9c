"""The OpenAI-compatible API: routes, keys, limits, metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from ..service import Service
from . import chat, completions, embeddings, models, responses, system, tokens
from .gate import Gate
from .keys import Key, read_keys
from .limits import LimitError, Limits
from .logs import log_json
from .metrics import Measured, Metrics
from .refusals import add_refusals
from .settings import Settings


def add_api(app: FastAPI, service: Service | None, board: Callable[[], dict[str, Any] | None],
            settings: Settings) -> Service | None:
    """Add the API's routes, its gate and its error answers to `app`; the service, measured, for the pages too."""
    metrics = Metrics()
    measured = Measured(service, metrics) if service is not None else None
    app.state.service, app.state.board, app.state.metrics = measured, board, metrics
    app.state.longest_wait = settings.longest_wait
    for part in (chat, completions, responses, embeddings, models, tokens, system):
        app.include_router(part.router)
    add_refusals(app)
    app.state.limits = Limits(settings)
    app.add_middleware(Gate, settings=settings, limits=app.state.limits, metrics=metrics)
    return measured


__all__ = ["Key", "LimitError", "Limits", "Settings", "add_api", "log_json", "read_keys"]
