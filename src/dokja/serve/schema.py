"""What a chat request may hold, read strictly: a setting that would be ignored is refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .errors import BadRequestError, MalformedError
from .old_engine import Message, Options

# Settings that change nothing here when they have these values; clients send them by habit.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1, None), "logprobs": (False, None), "top_logprobs": (0, None), "tools": ([], None),
    "tool_choice": ("none", "auto", None),
    "presence_penalty": (0, None), "frequency_penalty": (0, None), "logit_bias": ({}, None),
    "response_format": ({"type": "text"}, None), "modalities": (["text"], None),
}
_HARMLESS = {"user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier",
             "prompt_cache_key", "prompt_cache_retention"}


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    def plain(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return ("system" if self.role == "developer" else self.role), text


class _StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of POST /v1/chat/completions."""

    model_config = ConfigDict(extra="allow")
    model: str | None = None
    messages: list[_Message] = Field(min_length=1, max_length=1000)
    stream: bool = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None

    @field_validator("stop")
    @classmethod
    def _four_stops(cls, value: str | list[str] | None) -> str | list[str] | None:
        stops = [value] if isinstance(value, str) else value or []
        if len(stops) > 4 or not all(stops):
            raise ValueError("takes one to four strings that are not empty")
        return value

    def turns(self) -> list[Message]:
        """The conversation as (role, content)."""
        return [message.plain() for message in self.messages]

    def options(self) -> Options:
        """The sampling settings, with OpenAI's defaults."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Options(
            max_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p, seed=self.seed, stop=tuple(stops),
        )


def read_request(body: bytes) -> ChatRequest:
    """Parse a body. Raises MalformedError for wrong shapes, BadRequestError for what this server cannot do."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise BadRequestError(f"the body is not JSON: {first['msg']}", code="invalid_json") from error
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise MalformedError(f"{where}: {first['msg']}", param=where) from error
    for name, value in (request.model_extra or {}).items():
        if name in _HARMLESS:
            continue
        if name not in _NEUTRAL:
            raise BadRequestError(f"unknown parameter {name!r}", param=name, code="unknown_parameter")
        if value not in _NEUTRAL[name]:
            raise BadRequestError(f"{name}={value!r} is not supported by this server: leave it out", param=name,
                             code="unsupported_parameter")
    return request
