"""GET /v1/models."""

from __future__ import annotations

import time
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ..errors import UnknownError
from ..service import ServedModel
from .context import Context
from .shapes import ERRORS

router = APIRouter(tags=["OpenAI"])
_STARTED = int(time.time())


class ModelCard(BaseModel):
    """A model that answers. parent: whose LoRA adapter it is. reasoning: the values of its reasoning switch."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int
    root: str
    parent: str | None
    reasoning: list[str]
    tools: bool
    about: dict[str, Any]


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[ModelCard]


@router.get("/v1/models", response_model=None, responses={**ERRORS, 200: {"model": ModelList}})
async def models(request: Request) -> JSONResponse:
    """The models that answer; the first is the default."""
    served = Context.of(request).service.models()
    return JSONResponse({"object": "list", "data": [_card(one) for one in served.values()]})


@router.get("/v1/models/{name:path}", response_model=None, responses={**ERRORS, 200: {"model": ModelCard}})
async def model(name: str, request: Request) -> JSONResponse:
    """One of them."""
    served = Context.of(request).service.models()
    if name not in served:
        raise UnknownError(f"unknown model {name!r}: choose from {', '.join(served)}", param="model",
                           code="model_not_found")
    return JSONResponse(_card(served[name]))


def _card(one: ServedModel) -> dict[str, Any]:
    return {"id": one.name, "object": "model", "created": _STARTED, "owned_by": "dokja", "max_model_len": one.context,
            "root": one.parent or one.name, "parent": one.parent, "reasoning": list(one.reasoning), "tools": one.tools,
            "about": dict(one.about)}
