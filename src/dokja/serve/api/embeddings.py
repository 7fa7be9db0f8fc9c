"""POST /v1/embeddings: the mean of a text's last hidden states, of length 1."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from ..service import Usage
from .bodies import JsonRoute
from .context import Context
from .fields import Strict, Text, TokenId
from .shapes import ERRORS

router = APIRouter(tags=["OpenAI"], route_class=JsonRoute)
Ids = Annotated[list[TokenId], Field(min_length=1, max_length=4_000_000)]
Line = Annotated[Text, Field(min_length=1)]


class EmbeddingRequest(Strict):
    """The body of POST /v1/embeddings."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": ["책은 책상 위에 있습니다."]}]})
    refused: ClassVar[Mapping[str, str]] = {"dimensions": "these models were not trained to be cut short, leave it out"}
    model: str | None = None
    input: Line | Ids | Annotated[list[Line], Field(min_length=1, max_length=2048)] | Annotated[
        list[Ids], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description="base64: of float32, little-endian.")
    user: str | None = None


class Embedding(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


@router.post("/v1/embeddings", response_model=None, responses={**ERRORS, 200: {"model": EmbeddingList}})
async def embeddings(body: EmbeddingRequest, request: Request) -> JSONResponse:
    """Vectors for texts."""
    context = Context.of(request)
    inputs: Any = body.input
    if isinstance(inputs, str) or isinstance(inputs[0], int):
        inputs = [inputs]
    vectors, tokens = await context.service.embed(body.model, inputs)
    context.note(body.model or next(iter(context.service.models())), Usage(tokens, 0))
    data = [{"object": "embedding", "index": at,
             "embedding": base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
             if body.encoding_format == "base64" else vector} for at, vector in enumerate(vectors)]
    return JSONResponse({"object": "list", "data": data, "model": body.model or next(iter(context.service.models())),
                         "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
