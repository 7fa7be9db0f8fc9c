"""POST /tokenize and /detokenize, in vLLM's shapes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .bodies import JsonRoute
from .chat_schema import ChatMessage, Tool, asked
from .context import Context
from .fields import Strict, Text, TokenId
from .shapes import ERRORS

router = APIRouter(tags=["tokens"], route_class=JsonRoute)


class TokenizeRequest(Strict):
    """A text, or a conversation as the model would read it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"prompt": "안녕하세요?"}]})
    model: str | None = None
    prompt: Text | None = None
    messages: list[ChatMessage] | None = Field(default=None, min_length=1, max_length=10_000)
    tools: list[Tool] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_special_tokens: bool = Field(
        default=True, description="Of a text: with the tokens that the tokenizer puts around it.")
    return_token_strs: bool = False

    @model_validator(mode="after")
    def _one(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        return self


class Tokenized(BaseModel):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class DetokenizeRequest(Strict):
    """Token ids."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tokens": [1, 2, 3]}]})
    model: str | None = None
    tokens: Annotated[list[TokenId], Field(max_length=4_000_000)]


class Detokenized(BaseModel):
    prompt: str


@router.post("/tokenize", response_model=None, responses={**ERRORS, 200: {"model": Tokenized}})
async def tokenize(body: TokenizeRequest, request: Request) -> JSONResponse:
    """The tokens of a text or of a conversation's prompt."""
    source: Any = body.prompt
    if body.messages is not None:
        source = asked(body.messages, body.model, tools=body.tools, variables=body.chat_template_kwargs)
    found = await Context.of(request).service.tokenize(body.model, source, special=body.add_special_tokens)
    return JSONResponse({"count": len(found.ids), "max_model_len": found.context, "tokens": found.ids,
                         "token_strs": found.texts if body.return_token_strs else None})


@router.post("/detokenize", response_model=None, responses={**ERRORS, 200: {"model": Detokenized}})
async def detokenize(body: DetokenizeRequest, request: Request) -> JSONResponse:
    """The text of token ids, special tokens included."""
    return JSONResponse({"prompt": await Context.of(request).service.detokenize(body.model, body.tokens)})
