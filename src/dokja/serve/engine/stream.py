"""What the reader of one request holds: steps come from the worker thread, in batches, one hand-over a step."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from .core import Embedding
from .types import Request, Step, TokenLogprob

Event = Step | Embedding | BaseException


class Stream:
    """The steps of one request (`types.Generation`)."""

    def __init__(self, request: Request, cancel: Callable[[Stream], None]) -> None:
        self.request = request
        self.cached = 0
        self.prompt_logprobs: Sequence[TokenLogprob | None] | None = None
        self.loop = asyncio.get_running_loop()
        self._cancel = cancel
        # A queue for one reader, which costs less than asyncio's: this is done for every token.
        self._events: deque[Event] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def put(self, event: Event) -> None:
        """Called in the reader's event loop."""
        self._events.append(event)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def cancel(self) -> None:
        self._cancel(self)

    async def __aiter__(self) -> AsyncIterator[Step]:
        while True:
            while not self._events:
                self._waiting = self.loop.create_future()
                await self._waiting
            event = self._events.popleft()
            if isinstance(event, BaseException):
                raise event
            assert isinstance(event, Step)
            yield event
            if event.finish is not None:
                return


def hand_over(events: Iterable[tuple[Stream, Event]]) -> None:
    """Give events to their readers, from another thread; each event loop is woken once."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Stream, Event]]] = {}
    for stream, event in events:
        loops.setdefault(stream.loop, []).append((stream, event))
    for loop, its in loops.items():
        try:
            loop.call_soon_threadsafe(_put_all, its)
        except RuntimeError:  # the loop is closed: nobody is left to read
            for stream, event in its:
                if isinstance(event, Step) and event.finish is None:
                    stream.cancel()


def _put_all(events: list[tuple[Stream, Event]]) -> None:
    for stream, event in events:
        stream.put(event)
