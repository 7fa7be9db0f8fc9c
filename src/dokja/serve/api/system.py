"""Health, metrics, and the season board as data."""

from __future__ import annotations

import math
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from ..service import Service

router = APIRouter(tags=["operation"])


class Health(BaseModel):
    """model: the default, null while there is none. load: requests that run or wait."""

    status: str
    model: str | None
    load: int


@router.get("/health")
async def health(request: Request) -> Health:
    """Whether the server answers, and how busy it is."""
    service: Service | None = request.app.state.service
    stats = service.stats().values() if service else ()
    return Health(status="ok", model=next(iter(service.models())) if service else None,
                  load=sum(one.running + one.waiting for one in stats))


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> PlainTextResponse:
    """Prometheus metrics."""
    return PlainTextResponse(request.app.state.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/api/board", response_model=None, responses={200: {"description": "The season, null without one",
                                                               "content": {"application/json": {"schema": {}}}}})
async def board_data(request: Request) -> JSONResponse:
    """The season board."""
    # Called in the server's own thread: a season may read its figures from a database bound to one thread.
    return JSONResponse(_finite(request.app.state.board()), headers={"Cache-Control": "no-store"})


def _finite(value: Any) -> Any:
    """The value with NaN and infinity, which JSON lacks, as null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
