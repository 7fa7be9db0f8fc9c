"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from ..service import Answer, Content, End, Piece, Reasoning, ToolCallDelta
from .answers import DONE, Gathered, event, finished, gather, merged, streamed
from .bodies import JsonRoute
from .chat_schema import ChatCompletion, ChatRequest
from .context import Context
from .shapes import ERRORS, EVENTS, MARK, NOTICE, logprob_body, now, prompt_logprobs_body, total, usage_body

router = APIRouter(tags=["OpenAI"], route_class=JsonRoute)


@router.post("/v1/chat/completions", response_model=None, responses={
    **ERRORS, 200: {"model": ChatCompletion, "description": "An answer, whole or streamed",
                    "content": EVENTS}})
async def chat(body: ChatRequest, request: Request) -> JSONResponse | StreamingResponse:
    """Answer a conversation."""
    context = Context.of(request)
    options = body.options(body.limit, body.wanted_logprobs, context.wait)
    answers = await begin(context, body, options, body.n or 1)
    frame = {"id": f"chatcmpl-{context.id}", "created": now(), "model": answers[0].model, "seed": answers[0].seed}
    if body.stream:
        return streamed(_chunks(context, answers, body, {**frame, "object": "chat.completion.chunk"}), answers)
    whole = await gather(answers, request, context)
    usage = total([one.end.usage for one in whole if one.end])
    logprobs = prompt_logprobs_body(answers[0].prompt_logprobs)
    return JSONResponse({
        **frame, "object": "chat.completion", "choices": [_choice(at, one, body) for at, one in enumerate(whole)],
        "usage": usage_body(usage), "notice": NOTICE, **({"prompt_logprobs": logprobs} if logprobs else {})},
        headers=MARK)


async def begin(context: Context, body: Any, options: Any, count: int) -> list[Answer]:
    """`count` answers to one conversation; all are stopped if one cannot begin."""
    ask = replace(body.ask(), options=options, id=context.id)
    answers: list[Answer] = []
    try:
        for number in range(count):
            if number:  # the seed that was drawn for the first gives the others theirs
                seed = answers[0].seed + number
                ask = replace(ask, options=replace(options, seed=seed), id=f"{context.id}-{number}")
            answers.append(await context.service.chat(ask))
    except BaseException:
        for answer in answers:
            answer.stop()
        raise
    return answers


def _choice(index: int, one: Gathered, body: ChatRequest) -> dict[str, Any]:
    assert one.end is not None
    message: dict[str, Any] = {"role": "assistant", "content": one.content, "refusal": None}
    if one.reasoning:
        message |= {"reasoning_content": one.reasoning, "reasoning": one.reasoning}
    if one.calls:
        message |= {"content": one.content or None, "tool_calls": one.calls}
    return {"index": index, "message": message, "logprobs": _logprobs(one.logprobs, body),
            "finish_reason": one.end.finish}


def _logprobs(tokens: Sequence[Any], body: ChatRequest) -> dict[str, Any] | None:
    return {"content": [logprob_body(token) for token in tokens], "refusal": None} if body.logprobs else None


async def _chunks(context: Context, answers: Sequence[Answer], body: ChatRequest, frame: dict[str, Any],
                  ) -> AsyncIterator[bytes]:
    """Role and notice, the pieces, why it ended, the usage if asked for, [DONE]."""
    counted = body.stream_options is not None and body.stream_options.include_usage

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None, tokens: Sequence[Any] = (),
              **more: Any) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": _logprobs(tokens, body) if tokens else None,
                  "finish_reason": finish}
        usage = {"usage": None} if counted else {}
        return event({**frame, "choices": [choice], **usage, **more})

    for index in range(len(answers)):
        yield chunk(index, {"role": "assistant", "content": ""}, notice=NOTICE)
    usages = []
    async for index, piece in merged(answers, context):
        if isinstance(piece, End):
            usages.append(piece.usage)
            yield chunk(index, {}, finished(piece), notice=NOTICE)
        else:
            yield chunk(index, _delta(piece), tokens=piece.logprobs if isinstance(piece, Content) else ())
    if counted:
        yield event({**frame, "choices": [], "usage": usage_body(total(usages))})
    yield DONE


def _delta(piece: Piece) -> dict[str, Any]:
    match piece:
        case Content(text):
            return {"content": text}
        case Reasoning(text):
            return {"reasoning_content": text, "reasoning": text}
        case ToolCallDelta(index, arguments, given, name):
            call: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
            if given is not None:
                call = {"index": index, "id": given, "type": "function",
                        "function": {"name": name, "arguments": arguments}}
            return {"tool_calls": [call]}
        case _:
            return {}
