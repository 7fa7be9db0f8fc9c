"""POST /v1/completions: a text, or token ids, to go on with as it stands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import BadRequestError
from ..service import Answer, CompletionAsk, Content, End, Options, TokenText
from ..text import shown
from .answers import DONE, Gathered, event, finished, gather, merged, streamed
from .bodies import JsonRoute
from .context import Context
from .fields import Format, Sampling, StreamOptions, Text, TokenId
from .shapes import (
    ERRORS,
    EVENTS,
    MARK,
    NOTICE,
    Notice,
    PromptLogprob,
    UsageBody,
    now,
    prompt_logprobs_body,
    total,
    usage_body,
)

router = APIRouter(tags=["OpenAI"], route_class=JsonRoute)
Ids = Annotated[list[TokenId], Field(min_length=1, max_length=4_000_000)]


class CompletionRequest(Sampling):
    """The body of POST /v1/completions."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"prompt": "오늘은 날씨가", "max_tokens": 8}]})
    refused: ClassVar[Mapping[str, str]] = {"suffix": "models go on with a text and fill no gaps, leave it out"}
    model: str | None = None
    prompt: Text | Ids | Annotated[list[Text], Field(min_length=1, max_length=1024)] | Annotated[
        list[Ids], Field(min_length=1, max_length=1024)]
    max_tokens: int | None = Field(default=None, ge=0, lt=2**31, description="16 without it; 0 only with echo.")
    n: int | None = Field(default=None, ge=1, le=128)
    echo: bool | None = Field(default=None, description="Give the prompt back before what follows.")
    logprobs: int | None = Field(default=None, ge=0, le=20)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: Format | None = None
    best_of: int | None = Field(default=None, ge=1, le=128, description="More than n is not offered.")
    user: str | None = None

    @model_validator(mode="after")
    def _sensible(self) -> CompletionRequest:
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens is 0, so there is nothing to give back without echo")
        if (self.best_of or 1) > (self.n or 1):
            raise BadRequestError("best_of is over n, and choosing among answers is not offered here: ask for n "
                                  "answers with logprobs and choose", param="best_of", code="unsupported_value")
        return self

    def _format(self) -> Format | None:
        return self.response_format

    def prompts(self) -> list[str | list[int]]:
        """The prompts, of which there may be one or several, as text or as ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]  # type: ignore[list-item]
        return list(self.prompt)  # type: ignore[arg-type]


class CompletionLogprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["stop", "length"] | None
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = None


class Completion(BaseModel):
    """A whole answer. A `data:` line of a streamed one is alike; the notice is in the first and last of each choice."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    seed: int
    choices: list[CompletionChoice]
    usage: UsageBody | None = None
    notice: Notice


@dataclass
class _One:
    """One answer, with the prompt that `echo` gives back."""

    answer: Answer
    text: str
    echo: bool
    silent: bool  # only the prompt was wanted


@router.post("/v1/completions", response_model=None, responses={
    **ERRORS, 200: {"model": Completion, "description": "The text that follows, whole or streamed",
                    "content": EVENTS}})
async def completions(body: CompletionRequest, request: Request) -> JSONResponse | StreamingResponse:
    """Go on with a text."""
    context = Context.of(request)
    logprobs = body.logprobs
    options = body.options(max(1, 16 if body.max_tokens is None else body.max_tokens), logprobs, context.wait)
    if body.echo and logprobs is not None:
        options = replace(options, prompt_logprobs=max(logprobs, options.prompt_logprobs or 0))
    ones = await _begin(context, body, options)
    answers = [one.answer for one in ones]
    frame = {"id": f"cmpl-{context.id}", "object": "text_completion", "created": now(), "model": answers[0].model,
             "seed": answers[0].seed}
    if body.stream:
        return streamed(_chunks(context, ones, body, frame), answers)
    whole = await gather(answers, request, context)
    choices = [_choice(at, one, gathered, body) for at, (one, gathered) in enumerate(zip(ones, whole, strict=True))]
    return JSONResponse({**frame, "choices": choices, "usage": usage_body(_usage(whole, body)), "notice": NOTICE},
                        headers=MARK)


async def _begin(context: Context, body: CompletionRequest, options: Options) -> list[_One]:
    ones: list[_One] = []
    try:
        for prompt in body.prompts():
            text = ""
            if body.echo:
                text = prompt if isinstance(prompt, str) else await context.service.detokenize(body.model, prompt)
            for _ in range(body.n or 1):
                if ones:
                    options = replace(options, seed=ones[0].answer.seed + len(ones))
                ask = CompletionAsk(prompt, body.model, options, f"{context.id}-{len(ones)}")
                ones.append(_One(await context.service.complete(ask), text, bool(body.echo), body.max_tokens == 0))
    except BaseException:
        for one in ones:
            one.answer.stop()
        raise
    return ones


def _usage(whole: Sequence[Gathered], body: CompletionRequest) -> Any:
    """A prompt counts once, however many answers it has."""
    ends = [one.end.usage for one in whole if one.end]
    firsts = ends[::body.n or 1]
    written = replace(total(ends), prompt=sum(usage.prompt for usage in firsts),
                      cached=sum(usage.cached for usage in firsts))
    return replace(written, completion=0) if body.max_tokens == 0 else written


def _choice(index: int, one: _One, gathered: Gathered, body: CompletionRequest) -> dict[str, Any]:
    assert gathered.end is not None
    before = one.text if one.echo else ""
    tokens: list[TokenText | None] = [] if one.silent else list(gathered.logprobs)
    scored = one.answer.prompt_logprobs
    first = b""
    if one.echo and scored is not None:
        tokens, first = [*scored, *tokens], _first(one.text, scored)
    wanted = body.prompt_logprobs is not None
    return {"index": index, "text": before + ("" if one.silent else gathered.content),
            "logprobs": None if body.logprobs is None else _logprobs(tokens, 0, first),
            "finish_reason": "length" if one.silent else gathered.end.finish,
            **({"prompt_logprobs": prompt_logprobs_body(scored)} if wanted else {})}


def _logprobs(tokens: Sequence[TokenText | None], offset: int, first: bytes = b"") -> dict[str, Any]:
    """The four lists of the completions API; the first token of an echoed prompt has a text alone."""
    offsets, data = [], b""
    for token in tokens:
        offsets.append(offset + len(data.decode("utf-8", errors="ignore")))
        data += token.data if token else first
    return {"tokens": [token.text if token else shown(first) for token in tokens],
            "token_logprobs": [max(token.logprob, -9999.0) if token else None for token in tokens],
            "top_logprobs": [{other.text: max(other.logprob, -9999.0) for other in token.top} if token else None
                             for token in tokens],
            "text_offset": offsets}


def _first(prompt: str, tokens: Sequence[TokenText | None]) -> bytes:
    """The first token of an echoed prompt, which comes without a text: what the others leave of the prompt.

    Nothing where they are not the end of it, as with ids that make no whole characters.
    """
    whole, others = prompt.encode(), b"".join(token.data for token in tokens if token)
    return whole.removesuffix(others) if whole.endswith(others) else b""


async def _chunks(context: Context, ones: Sequence[_One], body: CompletionRequest, frame: dict[str, Any],
                  ) -> AsyncIterator[bytes]:
    counted = body.stream_options is not None and body.stream_options.include_usage
    offsets = [len(one.text) if one.echo else 0 for one in ones]
    whole = [Gathered() for _ in ones]
    echoing, told = [one.echo for one in ones], [False for _ in ones]

    def chunk(index: int, text: str, finish: str | None, tokens: Sequence[TokenText | None] = ()) -> bytes:
        first = _first(ones[index].text, tokens) if tokens and tokens[0] is None else b""
        logprobs = _logprobs(tokens, offsets[index], first) if body.logprobs is not None and tokens else None
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
        notice = {} if told[index] and finish is None else {"notice": NOTICE}
        told[index] = True
        return event({**frame, "choices": [choice], **notice, **({"usage": None} if counted else {})})

    async for index, piece in merged([one.answer for one in ones], context):
        one = ones[index]
        if echoing[index]:
            echoing[index], after, offsets[index] = False, offsets[index], 0
            yield chunk(index, one.text, None, one.answer.prompt_logprobs or ())
            offsets[index] = after
        match piece:
            case Content(text, logprobs) if not one.silent:
                yield chunk(index, text, None, logprobs)
                offsets[index] += len(text)
            case End():
                whole[index].end = piece  # all that the usage needs
                yield chunk(index, "", "length" if one.silent else finished(piece))
    if counted:
        yield event({**frame, "choices": [], "usage": usage_body(_usage(whole, body))})
    yield DONE
