"""Another server's models, asked over its OpenAI-compatible API: our pages, keys, notices and votes before any
endpoint."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI, AsyncStream, OpenAI, OpenAIError

from ..errors import DokjaError
from .engine.types import Grammar, Stats
from .errors import BadRequestError, BusyError, RequestError, UnavailableError, UnknownError
from .service import (
    Answer,
    ChatAsk,
    CompletionAsk,
    Content,
    End,
    Finish,
    Options,
    Piece,
    Reasoning,
    ServedModel,
    Tokens,
    TokenText,
    ToolCallDelta,
    Usage,
)

CONTEXT = 131_072  # where an endpoint does not tell its own
_FINISHES: dict[str | None, Finish] = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}


class UpstreamService:
    """`service.Service` over an OpenAI-compatible endpoint.

    url: up to and with /v1. key: its API key. names: the models to offer; None is all that it lists. What the endpoint
    does not know of a request is its own to refuse: sampling settings that OpenAI has not (top_k, min_p ...) are sent
    only where they were asked for. An endpoint that cannot be reached or refuses raises DokjaError at once.
    """

    def __init__(self, url: str, *, key: str | None = None, names: Sequence[str] | None = None,
                 timeout: float = 600.0) -> None:
        options: dict[str, Any] = {"base_url": url, "api_key": key or "none", "timeout": timeout, "max_retries": 0}
        try:
            with OpenAI(**{**options, "timeout": 10.0}) as client:
                listed = {model.id: model for model in client.models.list().data}
        except OpenAIError as error:
            raise DokjaError(f"the endpoint {url} does not list its models ({_reason(error)}): give the address up to "
                             "and with /v1, and its key") from error
        if missing := [name for name in names or () if name not in listed]:
            raise DokjaError(f"the endpoint {url} has no model {missing[0]!r}: it has {', '.join(listed) or 'none'}")
        if not listed:
            raise DokjaError(f"the endpoint {url} lists no model")
        self._url, self._client = url, AsyncOpenAI(**options)
        self._models = {name: _served(name, listed[name], url) for name in names or listed}

    def models(self) -> Mapping[str, ServedModel]:
        return self._models

    async def chat(self, ask: ChatAsk) -> Answer:
        name, seed = self._name(ask.model), _seed(ask.options)
        options = ask.options
        choice: Any = ask.tool_choice
        if choice == "named":
            choice = {"type": "function", "function": {"name": ask.tool}}
        asked: dict[str, Any] = {
            **_common(options, seed), "messages": list(ask.messages), "max_completion_tokens": options.max_tokens,
            **({"tools": list(ask.tools), "tool_choice": choice, "parallel_tool_calls": ask.parallel_tool_calls}
               if ask.tools else {}),
            **({"logprobs": True, "top_logprobs": options.logprobs} if options.logprobs is not None else {}),
            **({"response_format": _format(options.grammar)} if options.grammar else {}),
        }
        extra = _extra(options) | ({"chat_template_kwargs": dict(ask.variables)} if ask.variables else {})
        if ask.reasoning in ("on", "off"):  # as vLLM and SGLang have it
            extra["chat_template_kwargs"] = {**extra.get("chat_template_kwargs", {}),
                                             "enable_thinking": ask.reasoning == "on"}
        elif ask.reasoning is not None:
            asked["reasoning_effort"] = ask.reasoning
        try:
            stream = await self._client.chat.completions.create(
                model=name, stream=True, stream_options={"include_usage": True}, extra_body=extra,
                **{key: value for key, value in asked.items() if value is not None})
        except OpenAIError as error:
            raise _refusal(error, self._url) from error
        return _Upstream(name, seed, stream, _chat_pieces, self._url)

    async def complete(self, ask: CompletionAsk) -> Answer:
        name, seed = self._name(ask.model), _seed(ask.options)
        asked = {**_common(ask.options, seed), "max_tokens": ask.options.max_tokens, "logprobs": ask.options.logprobs,
                 "prompt": ask.prompt if isinstance(ask.prompt, str) else list(ask.prompt)}
        try:
            stream = await self._client.completions.create(
                model=name, stream=True, stream_options={"include_usage": True}, extra_body=_extra(ask.options),
                **{key: value for key, value in asked.items() if value is not None})
        except OpenAIError as error:
            raise _refusal(error, self._url) from error
        return _Upstream(name, seed, stream, _completion_pieces, self._url)

    async def embed(self, model: str | None, inputs: Sequence[str | Sequence[int]]) -> tuple[list[list[float]], int]:
        try:
            found = await self._client.embeddings.create(
                model=self._name(model), encoding_format="float",
                input=[text if isinstance(text, str) else list(text) for text in inputs])  # type: ignore[arg-type]
        except OpenAIError as error:
            raise _refusal(error, self._url) from error
        return [one.embedding for one in found.data], found.usage.prompt_tokens

    async def tokenize(self, model: str | None, source: str | ChatAsk, *, special: bool = True) -> Tokens:
        if isinstance(source, ChatAsk):
            asked: dict[str, Any] = {"model": self._name(source.model), "messages": list(source.messages)}
        else:
            asked = {"model": self._name(model), "prompt": source, "add_special_tokens": special}
        found = await self._root("/tokenize", {**asked, "return_token_strs": True})
        return Tokens(found["tokens"], found.get("token_strs") or [], found.get("max_model_len") or CONTEXT)

    async def detokenize(self, model: str | None, ids: Sequence[int]) -> str:
        found = await self._root("/detokenize", {"model": self._name(model), "tokens": list(ids)})
        return str(found["prompt"])

    def stats(self) -> Mapping[str, Stats]:
        return {}

    def close(self) -> None:
        """Connections end with the event loop that they belong to."""

    def _name(self, name: str | None) -> str:
        chosen = next(iter(self._models)) if name is None else name
        if chosen not in self._models:
            raise UnknownError(f"unknown model {name!r}: choose from {', '.join(self._models)}", param="model",
                               code="model_not_found")
        return chosen

    async def _root(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """vLLM's endpoints beside /v1."""
        address = str(self._client.base_url).rstrip("/").removesuffix("/v1") + path
        try:
            found: Any = await self._client.post(address, cast_to=object, body=body)
        except OpenAIError as error:
            raise _refusal(error, self._url) from error
        return dict(found)


class _Upstream:
    """`service.Answer` over the events of an endpoint."""

    prompt_logprobs = None

    def __init__(self, model: str, seed: int, stream: AsyncStream[Any], read: Any, url: str) -> None:
        self.model, self.seed, self.dropped = model, seed, 0
        self.prompt: Sequence[int] = ()
        self._stream, self._read, self._url = stream, read, url
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._pieces = self._follow()

    def stop(self) -> None:
        self._stopped = True
        self._closing = self._loop.create_task(self._stream.close())  # which ends the endpoint's work

    def __aiter__(self) -> AsyncIterator[Piece]:
        return self._pieces

    async def _follow(self) -> AsyncIterator[Piece]:
        finish: Finish | None = None
        usage, written = Usage(0, 0), 0
        try:
            async for chunk in self._stream:
                if self._stopped:
                    break
                if chunk.usage is not None:
                    usage = _usage(chunk.usage)
                for choice in chunk.choices:
                    for piece in self._read(choice):
                        written += 1
                        yield piece
                    finish = _FINISHES.get(choice.finish_reason, "stop") if choice.finish_reason else finish
        except Exception as error:  # also those of the HTTP library under the client, which is its own choice
            if not self._stopped:
                raise _refusal(error, self._url) from error
        finally:
            await self._stream.close()
        yield End(finish or "cancelled", usage if usage.completion else Usage(usage.prompt, written))


def _chat_pieces(choice: Any) -> list[Piece]:
    delta, pieces = choice.delta, list[Piece]()
    extra = delta.model_extra or {}
    if reasoning := extra.get("reasoning_content") or extra.get("reasoning"):
        pieces.append(Reasoning(reasoning))
    if delta.content:
        found = choice.logprobs.content if choice.logprobs else None
        pieces.append(Content(delta.content, tuple(_token(one) for one in found or ())))
    for call in delta.tool_calls or ():
        function = call.function
        pieces.append(ToolCallDelta(call.index, (function.arguments if function else None) or "", call.id,
                                    function.name if function else None))
    return pieces


def _completion_pieces(choice: Any) -> list[Piece]:
    return [Content(choice.text)] if choice.text else []


def _token(one: Any) -> TokenText:
    """A token whose id the endpoint does not tell."""
    top = tuple(_token(best) for best in getattr(one, "top_logprobs", None) or ())
    return TokenText(-1, one.token, bytes(one.bytes or one.token.encode()), one.logprob, top)


def _usage(usage: Any) -> Usage:
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(usage.prompt_tokens, usage.completion_tokens, (prompt.cached_tokens or 0) if prompt else 0,
                 (completion.reasoning_tokens or 0) if completion else 0)


def _seed(options: Options) -> int:
    return secrets.randbits(31) if options.seed is None else options.seed


def _common(options: Options, seed: int) -> dict[str, Any]:
    """The settings that OpenAI's API has."""
    left = None if options.deadline is None else max(0.1, options.deadline - time.monotonic())
    return {"temperature": options.temperature, "top_p": options.top_p, "seed": seed,
            "presence_penalty": options.presence_penalty or None,
            "frequency_penalty": options.frequency_penalty or None,
            "logit_bias": {str(token): bias for token, bias in options.logit_bias.items()} or None,
            "stop": list(options.stop) or None, "timeout": left}


def _extra(options: Options) -> dict[str, Any]:
    """Settings of vLLM's API that differ from their defaults."""
    plain = Options()
    names = ("min_tokens", "top_k", "min_p", "repetition_penalty", "ignore_eos", "prompt_logprobs")
    extra = {name: getattr(options, name) for name in names if getattr(options, name) != getattr(plain, name)}
    if options.stop_token_ids:
        extra["stop_token_ids"] = list(options.stop_token_ids)
    if options.include_stop:
        extra["include_stop_str_in_output"] = True
    if options.grammar and options.grammar.kind in ("regex", "choice"):
        value = json.loads(options.grammar.text) if options.grammar.kind == "choice" else options.grammar.text
        extra["structured_outputs"] = {options.grammar.kind: value}
    return extra


def _format(grammar: Grammar) -> dict[str, Any] | None:
    if grammar.kind == "json":
        return {"type": "json_object"}
    if grammar.kind != "json_schema":
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": json.loads(grammar.text)}}


def _served(name: str, model: Any, url: str) -> ServedModel:
    extra = model.model_extra or {}
    context = extra.get("max_model_len") or CONTEXT
    return ServedModel(name, context, {"team": name, "company": model.owned_by, "context": context, "endpoint": url},
                       reasoning=("on", "off"), tools=True)


def _reason(error: Exception) -> str:
    if isinstance(error, APIConnectionError):
        return "it cannot be reached"
    if isinstance(error, APIStatusError):
        return f"status {error.status_code}: {_told(error)}"
    return str(error).partition("\n")[0]


def _told(error: APIError) -> str:
    body = error.body
    return str(body["message"]) if isinstance(body, dict) and body.get("message") else error.message


def _refusal(error: Exception, url: str) -> RequestError:
    """An endpoint's refusal as ours: what is wrong with the request stays that, the rest is the endpoint's."""
    if not isinstance(error, APIStatusError):
        return UnavailableError(f"the endpoint {url} failed: {_reason(error)}")
    told = _told(error)
    if error.status_code == 429:
        return BusyError(f"the endpoint {url} is busy: {told}", code="upstream_busy")
    if error.status_code in (400, 404, 413, 422):
        kind = UnknownError if error.status_code == 404 else BadRequestError
        return kind(told, param=error.param, code=error.code)
    return UnavailableError(f"the endpoint {url} answered with status {error.status_code}: {told}")
