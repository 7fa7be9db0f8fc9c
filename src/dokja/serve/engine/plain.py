"""A token engine that answers one request after another over a contiguous cache: the simplest that can be."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field

import torch

from ...models.generate import Sampling, stream
from ...models.model import Model
from ..errors import BadRequestError, BusyError
from .types import Finish, Request, Stats, Step, TokenLogprob


@dataclass
class _Running:
    request: Request
    loop: asyncio.AbstractEventLoop
    cached: int = 0
    prompt_logprobs: Sequence[TokenLogprob | None] | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    steps: asyncio.Queue[Step | BaseException] = field(default_factory=asyncio.Queue)

    def put(self, step: Step | BaseException) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to read
            self.loop.call_soon_threadsafe(self.steps.put_nowait, step)

    def cancel(self) -> None:
        if not self.stopped.is_set():
            self.stopped.set()
            self.put(Step((), finish="cancelled"))

    async def __aiter__(self) -> AsyncIterator[Step]:
        while True:
            step = await self.steps.get()
            if isinstance(step, BaseException):
                raise step
            yield step
            if step.finish is not None:
                return


class PlainEngine:
    """`TokenEngine` over `models.generate.stream`; `queue` requests may wait."""

    def __init__(self, model: Model, *, queue: int = 8) -> None:
        self.model, self.context = model, model.spec.context
        self._limit = queue + 1
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="dokja-engine")
        self._running: list[_Running] = []

    def submit(self, request: Request) -> _Running:
        sampling = request.sampling
        if sampling.grammar or sampling.logprobs is not None or sampling.prompt_logprobs is not None:
            raise BadRequestError("this engine knows neither grammars nor log-probabilities")
        if len(self._running) >= self._limit:
            raise BusyError(f"{self._limit} answers are being made or wait already: try again in a few seconds",
                            code="queue_full")
        running = _Running(request, asyncio.get_running_loop())
        self._running.append(running)
        self._worker.submit(self._write, running)
        return running

    def _write(self, running: _Running) -> None:
        asked = running.request
        sampling = Sampling(asked.sampling.max_tokens, asked.sampling.temperature, asked.sampling.top_p,
                            asked.sampling.top_k, asked.sampling.seed, asked.sampling.stop)
        finish: Finish = "stop"
        try:
            with closing(stream(self.model.decoder, asked.prompt, sampling)) as tokens:  # type: ignore[type-var]
                for count, token in enumerate(() if running.stopped.is_set() else tokens, start=1):
                    running.put(Step((token,)))
                    finish = "length" if count >= sampling.max_tokens else "stop"
                    if running.stopped.is_set():
                        break
                    if asked.deadline is not None and time.monotonic() > asked.deadline:
                        finish = "deadline"
                        break
        except BaseException as error:
            self._running.remove(running)
            running.put(error)
        else:
            self._running.remove(running)
            running.put(Step((), finish=finish))

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        with torch.inference_mode():
            states = [self.model.decoder.hidden(torch.tensor([list(prompt)]))[0].float().mean(0) for prompt in prompts]
            return [(state / state.norm()).tolist() for state in states]

    def stats(self) -> Stats:
        return Stats(waiting=max(0, len(self._running) - 1), running=min(1, len(self._running)))

    def close(self) -> None:
        for running in list(self._running):
            running.cancel()
        self._worker.shutdown(wait=True)
