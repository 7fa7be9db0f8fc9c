"""Our engine: a worker thread that runs step after step, and the asyncio side of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import cached_property

from ...errors import DokjaError
from ...models.model import Model
from ..errors import BadRequestError, BusyError, UnavailableError
from .core import Core, Embedding
from .grammar import Grammars, Matcher
from .lora import Adapters
from .scheduler import Sequence as Running
from .sizing import Limits
from .speculate import Speculator
from .stream import Event, Stream, hand_over
from .types import Finish, Grammar, Request, SamplingParams, Stats, Step

Sink = Stream | Future[list[float]]
Arrival = tuple[Request, Sink, Matcher | None]


class Engine:
    """One model, many requests at once (`types.TokenEngine`).

    queue: how many requests may wait besides the `limits.rows` that run. speculate: whether tokens are drafted, which
    changes no answer. adapters: of LoRA, which requests name. clock: what deadlines are compared with. Requests are
    taken in between steps, in the order of `submit`.
    """

    def __init__(self, model: Model, limits: Limits, *, queue: int = 256, speculate: bool = True,
                 adapters: Adapters | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.model, self.context = model, limits.context
        self.adapters = adapters.names if adapters is not None else ()
        drafter = Speculator(model.decoder, mtp=limits.mtp) if speculate else None
        self._core = Core(model.decoder, limits, drafter, adapters)
        self._clock, self._most = clock, limits.rows + queue
        self._arrivals: deque[Arrival] = deque()
        self._cancelled: list[Stream] = []
        self._gone: set[Stream] = set()
        self._sinks: dict[Running, Sink] = {}
        self._live = 0
        self._stats = self._core.stats()
        self._closed = False
        self._changed = threading.Condition()
        self._worker = threading.Thread(target=self._work, name=f"dokja-engine-{model.spec.name}", daemon=True)
        self._worker.start()

    def submit(self, request: Request) -> Stream:
        self._check(request)
        grammar = request.sampling.grammar
        matcher = self._grammars.matcher(grammar) if grammar is not None else None
        stream = Stream(request, self._cancel)
        self._enter([(request, stream, matcher)])
        return stream

    async def compile(self, grammar: Grammar) -> None:
        await asyncio.to_thread(lambda: self._grammars.matcher(grammar))  # `submit` finds it compiled

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        nothing = SamplingParams(max_tokens=0)
        requests = [Request(f"embedding-{i}", tuple(prompt), nothing) for i, prompt in enumerate(prompts)]
        for request in requests:
            self._check(request)
        futures: list[Future[list[float]]] = [Future() for _ in requests]
        self._enter([(request, future, None) for request, future in zip(requests, futures, strict=True)])
        return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))

    def stats(self) -> Stats:
        with self._changed:
            return self._stats

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._worker.join()

    def warm(self) -> None:
        """Make ready what the first grammar would otherwise hold everybody up for: seconds with a large vocabulary."""
        with suppress(DokjaError):  # told to whoever asks for one
            assert self._grammars

    @cached_property
    def _grammars(self) -> Grammars:
        if self.model.tokenizer is None:
            raise BadRequestError("structured output needs the model's tokenizer.json, and it came without one",
                                  param="response_format")
        return Grammars(self.model.tokenizer, self.model.spec.vocab)

    def _check(self, request: Request) -> None:
        length, vocab = len(request.prompt), self.model.spec.vocab
        if not length:
            raise BadRequestError("the prompt is empty: give at least one token", param="prompt")
        if length + min(1, request.sampling.max_tokens) > self.context:
            raise BadRequestError(f"the prompt has {length:,} tokens and the context holds {self.context:,}, the "
                                  "answer included: shorten it", param="prompt", code="context_length_exceeded")
        if not all(0 <= token < vocab for token in request.prompt):
            raise BadRequestError(f"a token id of the prompt is outside the vocabulary of {vocab:,}", param="prompt")
        if request.adapter is not None and request.adapter not in self.adapters:
            raise BadRequestError(f"there is no adapter {request.adapter!r}", param="model", code="model_not_found")

    def _enter(self, arrivals: list[Arrival]) -> None:
        with self._changed:
            if self._closed:
                raise UnavailableError("the engine is closed")
            if self._live + len(arrivals) > self._most and self._live:
                raise BusyError(f"{self._live} requests run or wait already and {self._most} may: try again in a few "
                                "seconds", code="queue_full")
            self._live += len(arrivals)
            self._arrivals.extend(arrivals)
            self._changed.notify()

    def _cancel(self, stream: Stream) -> None:
        with self._changed:
            self._cancelled.append(stream)
            self._changed.notify()

    def _work(self) -> None:
        """The worker thread: take in what came, run a step, hand over what it gave."""
        while self._take_in():
            try:
                if ended := self._ended():
                    self._settle(ended)
                self._settle(self._core.step())
            except BaseException as error:  # a defect of ours: its readers must not wait for ever
                failed = self._core.sequences
                for sequence in failed:
                    self._core.remove(sequence)
                self._core.pages.clear()  # what the step had half written must not be found again
                self._settle([(sequence, error) for sequence in failed])
        self._settle([(sequence, _end("cancelled")) for sequence in self._core.sequences])

    def _take_in(self) -> bool:
        """Wait until there is something to do; False when the engine is closed."""
        with self._changed:
            while not (self._closed or self._arrivals or self._cancelled or self._sinks):
                self._changed.wait()
            for request, sink, matcher in self._arrivals:
                self._sinks[self._core.add(request, embed=isinstance(sink, Future), matcher=matcher)] = sink
            self._arrivals.clear()
            self._gone, self._cancelled = set(self._cancelled), []
            return not self._closed

    def _ended(self) -> list[tuple[Running, Event]]:
        """Requests that were cancelled or whose deadline has passed, with what they held given back."""
        events: list[tuple[Running, Event]] = []
        now = self._clock()
        for sequence, sink in list(self._sinks.items()):  # the oldest first
            deadline = sequence.request.deadline
            gone = sink.cancelled() if isinstance(sink, Future) else sink in self._gone
            if gone or (deadline is not None and now > deadline):
                self._core.remove(sequence)
                events.append((sequence, _end("cancelled" if gone else "deadline")))
        return events

    def _settle(self, events: Iterable[tuple[Running, Event]]) -> None:
        """Hand events to their readers and forget those that are through."""
        steps: list[tuple[Stream, Event]] = []
        results: list[tuple[Future[list[float]], Event]] = []
        over = 0
        for sequence, event in events:
            sink = self._sinks[sequence]
            if not isinstance(event, Step) or event.finish is not None:
                del self._sinks[sequence]
                over += 1
            if isinstance(sink, Stream):
                sink.cached, sink.prompt_logprobs = sequence.cached or 0, sequence.prompt_logprobs
                steps.append((sink, event))
            else:
                results.append((sink, event))
        with self._changed:  # before readers learn of it: what has ended holds nothing
            self._live -= over
            self._stats = self._core.stats()
        hand_over(steps)
        for future, event in results:
            if not future.set_running_or_notify_cancel():
                continue
            if isinstance(event, Embedding):
                future.set_result(event.values)
            else:
                future.set_exception(event if isinstance(event, BaseException) else CancelledError())


def _end(finish: Finish) -> Step:
    return Step((), finish=finish)
