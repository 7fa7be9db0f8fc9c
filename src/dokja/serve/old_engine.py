"""Models in memory that answer one request after another, in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from ..models.codec import Codec
from ..models.generate import Sampling, stream
from ..models.model import Model
from .errors import BadRequestError, BusyError, UnavailableError, UnknownError
from .text import StopStrings, TextStream

Finish = Literal["stop", "length"]
Message = tuple[str, str]  # (role, content)


@dataclass(frozen=True)
class Fitted:
    """Prompt ids, how many tokens the answer may have, and how many of the oldest messages were left out."""

    ids: list[int]
    room: int
    dropped: int


def fit(codec: Codec, context: int, messages: Sequence[Message], max_tokens: int | None = None) -> Fitted:
    """The newest messages that fit `context` tokens, at least a quarter of it (or max_tokens) kept for the answer.

    System messages are put before the first message that is kept, since the chat formats have no system turn.
    Raises BadRequestError when there is no question at the end or when the last message alone is too long.
    """
    system = "\n\n".join(content for role, content in messages if role == "system")
    turns = [(role, content) for role, content in messages if role != "system"]
    if not turns or turns[-1][0] != "user" or not turns[-1][1].strip():
        raise BadRequestError("messages must end with a message of the user that is not empty", param="messages")
    limit = context - max(1, min(max_tokens or context, context // 4))
    bare = len(codec.prompt([]))
    length, start = bare, len(turns)
    while start > 0:
        cost = len(codec.prompt(turns[start - 1:start])) - bare
        if length + cost > limit and start < len(turns):
            break
        length += cost
        start -= 1
    while True:
        while turns[start][0] != "user":  # the model has only seen texts that begin with a question
            start += 1
        ids = codec.prompt(_with_system(turns[start:], system))
        if len(ids) <= limit:
            break
        if start == len(turns) - 1:
            raise BadRequestError(
                f"the last message is too long: it takes {len(ids)} tokens and this model reads {limit} "
                f"of its {context} before the answer, so shorten it",
                param="messages", code="context_length_exceeded",
            )
        start += 1
    room = context - len(ids)
    return Fitted(ids, room if max_tokens is None else min(room, max_tokens), start)


def _with_system(turns: Sequence[Message], system: str) -> list[Message]:
    if not system.strip():
        return list(turns)
    (role, content), *rest = turns
    return [(role, f"{system}\n\n{content}"), *rest]



@dataclass(frozen=True)
class Options:
    """How to answer. max_tokens None: what the context leaves. seed None: a fresh one, told in `Answer.seed`."""

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delta:
    """A piece of an answer; the last one has `finish`. tokens: how many the model has written so far."""

    text: str
    tokens: int
    finish: Finish | None = None


class Answer(AsyncIterator[Delta]):
    """The pieces of one answer as they come. It is worked on whether or not it is read; `stop` ends it."""

    def __init__(self, model: str, fitted: Fitted, seed: int) -> None:
        self.model = model
        self.prompt_tokens = len(fitted.ids)
        self.dropped = fitted.dropped
        self.seed = seed
        self.work: Future[None] | None = None
        self.stopped = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Delta | BaseException | None] = asyncio.Queue()
        self._over = False

    def put(self, item: Delta | BaseException | None) -> None:
        """Hand over the next piece, an error, or None for the end; called from the worker."""
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
        except RuntimeError:  # the loop is closed: nobody is left to read
            self.stopped.set()

    def stop(self) -> None:
        """End the answer: the model stops at the next token, and a reader sees the end."""
        self.stopped.set()
        if self.work is not None:
            self.work.cancel()
        self._queue.put_nowait(None)

    async def __anext__(self) -> Delta:
        if self._over:
            raise StopAsyncIteration
        item = await self._queue.get()
        if isinstance(item, Delta):
            self._over = item.finish is not None
            return item
        self._over = True
        if item is None:
            raise StopAsyncIteration
        raise item


class Engine:
    """One or several models by id; the first is the default.

    Answers are made one at a time (a pocket model is bound by one core); `queue` more may wait, the next is refused.
    """

    def __init__(self, models: Mapping[str, Model], *, queue: int = 8) -> None:
        if not models:
            raise UnavailableError("there is no model to serve")
        self.models = dict(models)
        self.default = next(iter(self.models))
        self.limit = queue + 1
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="dokja-engine")
        self._answers: set[Answer] = set()
        self._lock = threading.Lock()

    @property
    def load(self) -> int:
        """How many answers are being made or wait."""
        return len(self._answers)

    def find(self, model_id: str | None) -> tuple[str, Model]:
        """The model of that id (None: the default); an unknown one raises UnknownError with the ids that exist."""
        name = self.default if model_id is None else model_id
        if name not in self.models:
            raise UnknownError(f"unknown model {name!r}: choose from {', '.join(self.models)}",
                          param="model", code="model_not_found")
        return name, self.models[name]

    def stream(self, model_id: str | None, messages: Sequence[Message], options: Options) -> Answer:
        """Start to answer a conversation of (role, content); needs a running event loop.

        Raises UnknownError, BadRequestError (`fit`) or BusyError at once, before anything is streamed.
        """
        name, loaded = self.find(model_id)
        fitted = fit(loaded.codec, loaded.spec.context, messages, options.max_tokens)
        seed = secrets.randbits(32) if options.seed is None else options.seed
        answer = Answer(name, fitted, seed)
        with self._lock:
            if len(self._answers) >= self.limit:
                raise BusyError(f"{self.limit} answers are being made or wait already: try again in a few seconds",
                           code="queue_full")
            self._answers.add(answer)
        sampling = Sampling(max_tokens=fitted.room, temperature=options.temperature, top_p=options.top_p, seed=seed,
                            stop=_stop_tokens(loaded))
        answer.work = self._worker.submit(_write, loaded, fitted.ids, sampling, options.stop, answer)
        answer.work.add_done_callback(lambda _: self._forget(answer))
        return answer

    def stop_all(self) -> None:
        """End every answer, so that a server can shut down at once."""
        with self._lock:
            answers = list(self._answers)
        for answer in answers:
            answer.stopped.set()
            answer.put(None)

    def _forget(self, answer: Answer) -> None:
        with self._lock:
            self._answers.discard(answer)


def _stop_tokens(loaded: Model) -> tuple[int, ...]:
    """Every marker ends an answer: a model that opens a new turn has finished its own."""
    codec = loaded.codec
    markers = (codec.tokenizer.token_to_id(token) for token in codec.chat.special)
    return tuple({codec.end_of_text, codec.end_of_turn, *(index for index in markers if index is not None)})


def _write(loaded: Model, ids: list[int], sampling: Sampling, stops: tuple[str, ...], answer: Answer) -> None:
    """Run the model in the worker thread and hand over its text."""
    text, stop_strings, count = TextStream(loaded.codec.decode), StopStrings(stops), 0
    try:
        with contextlib.closing(stream(loaded.decoder, ids, sampling)) as tokens:  # type: ignore[type-var]
            for token in tokens:
                if answer.stopped.is_set():
                    answer.put(None)
                    return
                count += 1
                new, reached = stop_strings.push(text.push(token))
                if reached:
                    answer.put(Delta(new, count, "stop"))
                    return
                if new:
                    answer.put(Delta(new, count))
        answer.put(Delta(stop_strings.flush(), count, "length" if count >= sampling.max_tokens else "stop"))
    except BaseException as error:
        answer.put(error)
