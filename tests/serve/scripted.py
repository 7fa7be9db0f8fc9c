"""A token engine that writes what a test says, and an app on a free port."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence

import uvicorn

from dokja.models.model import Model
from dokja.serve.engine.types import Grammar, Request, Stats, Step, TokenLogprob
from dokja.serve.errors import BusyError
from dokja.serve.server import _bind


class Script:
    """`TokenEngine`: every request is answered with `text`, a token every `pause` seconds.

    asked: all requests so far. given: tokens written. fail: raised after the first token. logprobs: -1 for each token,
    and for the likeliest ones -1, -2, ... of the ids from the token's on.
    """

    def __init__(self, model: Model, text: str, *, limit: int = 1000, context: int | None = None) -> None:
        self.model, self.text, self.limit = model, text, limit
        self.context = context or model.spec.context
        self.pause = 0.0
        self.fail: Exception | None = None
        self.text_of: Callable[[Request], str] | None = None  # instead of `text`, by request
        self.asked: list[Request] = []
        self.given = 0
        self.running: set[Written] = set()

    def submit(self, request: Request) -> Written:
        if len(self.running) >= self.limit:
            raise BusyError("too many requests wait: try again in a few seconds", code="queue_full")
        self.asked.append(request)
        written = Written(self, request)
        self.running.add(written)
        return written

    def pause_of(self, request: Request) -> float:
        """Seconds before each token of this answer."""
        return self.pause

    async def compile(self, grammar: Grammar) -> None:
        pass

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[math.cos(len(prompt)), math.sin(len(prompt))] for prompt in prompts]

    def stats(self) -> Stats:
        return Stats(running=len(self.running))

    def close(self) -> None:
        for written in list(self.running):
            written.cancel()


class Written:
    """`Generation` of a Script."""

    def __init__(self, script: Script, request: Request) -> None:
        self.script, self.request, self.cached = script, request, 0
        self.prompt_logprobs = None
        if request.sampling.prompt_logprobs is not None:
            self.prompt_logprobs = [None, *(TokenLogprob(token, -1.0) for token in request.prompt[1:])]
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
        self.script.running.discard(self)

    async def __aiter__(self) -> AsyncIterator[Step]:
        script, sampling = self.script, self.request.sampling
        try:
            ids = script.model.tokenizer.encode(script.text_of(self.request) if script.text_of else script.text,
                                                    add_special_tokens=False).ids
            for number, token in enumerate(ids[: sampling.max_tokens]):
                await asyncio.sleep(script.pause_of(self.request))
                if self.cancelled:
                    yield Step((), finish="cancelled")
                    return
                if self.request.deadline is not None and time.monotonic() > self.request.deadline:
                    yield Step((), finish="deadline")
                    return
                if script.fail is not None and number:
                    raise script.fail
                script.given += 1
                top = tuple((token + place, -1.0 - place) for place in range(sampling.logprobs or 0))
                yield Step((token,), (TokenLogprob(token, -1.0, top),) if sampling.logprobs is not None else ())
            yield Step((), finish="length" if len(ids) >= sampling.max_tokens else "stop")
        finally:
            self.script.running.discard(self)


class Running:
    """An app on a free port, in a thread."""

    def __init__(self, app) -> None:
        listening = _bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]})
        self.thread.start()
        end = time.monotonic() + 20
        while not self.server.started:
            assert time.monotonic() < end
            time.sleep(0.01)

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        assert not self.thread.is_alive()
