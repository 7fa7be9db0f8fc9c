"""POST /v1/responses: OpenAI's newer endpoint, over the same conversations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from ...errors import DokjaError
from ..errors import RequestError
from ..service import Answer
from .answers import error_body, event, finished, gather, merged, streamed
from .bodies import JsonRoute
from .chat_schema import asked
from .context import Context
from .responses_items import Items
from .responses_schema import ResponseBody, ResponsesRequest
from .shapes import ERRORS, EVENTS, MARK, NOTICE, now

router = APIRouter(tags=["OpenAI"], route_class=JsonRoute)


@router.post("/v1/responses", response_model=None, responses={
    **ERRORS, 200: {"model": ResponseBody, "description": "A response, whole or as events",
                    "content": EVENTS}})
async def responses(body: ResponsesRequest, request: Request) -> JSONResponse | StreamingResponse:
    """Answer a text or a conversation."""
    context = Context.of(request)
    options = body.options(body.max_output_tokens, body.wanted_logprobs, context.wait)
    ask = asked(body.messages(), body.model, tools=body.chat_tools(), tool_choice=body.chat_choice(),
                parallel=body.parallel_tool_calls, effort=body.reasoning.effort if body.reasoning else None,
                variables=body.chat_template_kwargs)
    try:
        answer = await context.service.chat(replace(ask, options=options, id=context.id,
                                                    drop_oldest=body.truncation == "auto"))
    except RequestError as error:
        error.param = "input" if error.param == "messages" else error.param
        raise
    items = Items(context.id, _frame(body, answer, context.id), logprobs=body.wanted_logprobs is not None)
    if body.stream:
        return streamed(_events(context, answer, items), [answer])
    for piece in (await gather([answer], request, context))[0].pieces:
        items.add(piece)
    assert items.end is not None
    items.close(items.end)
    return JSONResponse(items.response, headers=MARK)


async def _events(context: Context, answer: Answer, items: Items) -> AsyncIterator[bytes]:
    """The official events in their order; a failure on the way is response.failed."""
    try:
        for made in items.begin():
            yield event(made, made["type"])
        async for _, piece in merged([answer], context):
            made_now = items.add(piece)
            if items.end is not None:
                finished(items.end)
                made_now = items.close(items.end)
            for made in made_now:
                yield event(made, made["type"])
    except DokjaError as error:
        failed = items.fail(error_body(error)["error"])
        yield event(failed, failed["type"])


def _frame(body: ResponsesRequest, answer: Answer, name: str) -> dict[str, Any]:
    """A response before anything is written: what was asked, with what holds where nothing was said."""
    choice = body.tool_choice
    return {
        "id": f"resp_{name}", "object": "response", "created_at": now(), "status": "in_progress", "error": None,
        "incomplete_details": None, "instructions": body.instructions, "max_output_tokens": body.max_output_tokens,
        "model": answer.model, "output": [], "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": body.reasoning.effort if body.reasoning else None, "summary": None}, "store": False,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": {"format": body.text.format.model_dump(by_alias=True, exclude_none=True)
                 if body.text and body.text.format else {"type": "text"}},
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump() if choice else "auto",
        "tools": [{"strict": None, "parameters": None, **tool.model_dump()} for tool in body.tools or ()],
        "top_p": 1.0 if body.top_p is None else body.top_p, "truncation": body.truncation or "disabled",
        "usage": None, "user": body.user, "metadata": body.metadata or {}, "seed": answer.seed, "notice": NOTICE,
    }
