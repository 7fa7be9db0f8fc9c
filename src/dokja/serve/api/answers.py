"""Answers on their way to a client: several at once, whole or as server-sent events, stopped when nobody reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from ...errors import DokjaError
from ..errors import BrokenError, DeadlineError, RequestError, UnavailableError
from ..service import Answer, Content, End, Piece, Reasoning, TokenText, ToolCallDelta
from .context import Context
from .shapes import MARK

log = logging.getLogger("dokja.serve")
DONE = b"data: [DONE]\n\n"
FAILED = BrokenError("the server failed on this request: its log says why", code="internal_error")


@dataclass
class Gathered:
    """One answer, whole."""

    pieces: list[Piece] = field(default_factory=list)
    content: str = ""
    reasoning: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[TokenText] = field(default_factory=list)
    end: End | None = None

    def add(self, piece: Piece) -> None:
        """Take in the next piece."""
        self.pieces.append(piece)
        match piece:
            case Content(text, logprobs):
                self.content += text
                self.logprobs += logprobs
            case Reasoning(text):
                self.reasoning += text
            case ToolCallDelta(index, arguments, given, name):
                if index == len(self.calls):
                    self.calls.append({"id": given, "type": "function", "function": {"name": name, "arguments": ""}})
                self.calls[index]["function"]["arguments"] += arguments
            case End():
                self.end = piece


async def gather(answers: Sequence[Answer], request: Request, context: Context) -> list[Gathered]:
    """Whole answers; those that nobody waits for any more are stopped, and a passed deadline is an error."""
    gone = asyncio.create_task(_disconnected(request, answers))
    try:
        return await asyncio.gather(*(_whole(answer, context) for answer in answers))
    finally:
        gone.cancel()
        for answer in answers:
            answer.stop()


async def _whole(answer: Answer, context: Context) -> Gathered:
    gathered = Gathered()
    async for piece in answer:
        gathered.add(piece)
    assert gathered.end is not None
    context.note(answer.model, gathered.end.usage)
    finished(gathered.end)
    return gathered


def finished(end: End) -> str:
    """The finish_reason of an answer that ended by itself; DeadlineError or UnavailableError for one that was ended."""
    if end.finish == "deadline":
        raise DeadlineError(f"the deadline passed after {end.usage.completion} tokens: allow more time, or ask for "
                            "fewer", code="deadline_exceeded")
    if end.finish == "cancelled":
        raise UnavailableError("the server ended the answer, since it is shutting down: try again in a few seconds",
                               code="cancelled")
    return end.finish


async def _disconnected(request: Request, answers: Sequence[Answer]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    for answer in answers:
        answer.stop()


async def merged(answers: Sequence[Answer], context: Context) -> AsyncIterator[tuple[int, Piece]]:
    """The pieces of several answers as they come, each with its answer's number."""
    if len(answers) == 1:  # no task between its engine and its reader
        async for piece in answers[0]:
            if isinstance(piece, End):
                context.note(answers[0].model, piece.usage)
            yield 0, piece
        return
    queue: asyncio.Queue[tuple[int, Piece | BaseException]] = asyncio.Queue()

    async def read(number: int, answer: Answer) -> None:
        try:
            async for piece in answer:
                queue.put_nowait((number, piece))
        except Exception as error:
            queue.put_nowait((number, error))

    readers = [asyncio.create_task(read(number, answer)) for number, answer in enumerate(answers)]
    try:
        left = len(answers)
        while left:
            number, item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, End):
                left -= 1
                context.note(answers[number].model, item.usage)
            yield number, item
    finally:
        for reader in readers:
            reader.cancel()


def streamed(events: AsyncIterator[bytes], answers: Sequence[Answer]) -> StreamingResponse:
    """A response of server-sent events; an error on the way is its last event."""
    async def guarded() -> AsyncIterator[bytes]:
        try:
            async for data in events:
                yield data
        except DokjaError as error:
            yield event(error_body(error))
        except Exception:
            log.exception("an answer failed")
            yield event(error_body(FAILED))
        finally:  # also when the client has gone: the server cancels this generator
            for answer in answers:
                answer.stop()

    return StreamingResponse(guarded(), media_type="text/event-stream",
                             headers={**MARK, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})


def error_body(error: DokjaError) -> dict[str, Any]:
    """OpenAI's error object."""
    known = error if isinstance(error, RequestError) else UnavailableError(str(error))
    return {"error": {"message": str(known), "type": known.kind, "param": known.param, "code": known.code}}


def event(data: dict[str, Any], name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return b"%bdata: %b\n\n" % (head, to_json(data))
