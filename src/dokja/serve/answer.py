"""One answer of an engine: its steps turned into pieces of text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import cached_property

from .engine.types import Generation, Grammar, Request, Step, TokenEngine, TokenLogprob
from .reading import ParsedReader, Reader
from .service import Content, End, Finish, Options, Piece, TokenText, Usage
from .text import StopStrings, TextStream, Vocabulary


class EngineAnswer:
    """`service.Answer` over a `TokenEngine`.

    decode: ids to text, as the reader wants it. after_reasoning: a grammar, and what reads its text, that holds once
    the reasoning is over; the rest of the answer is then asked for as a second request, whose prompt the prefix cache
    already has.
    """

    def __init__(self, name: str, engine: TokenEngine, request: Request, reader: Reader, *, options: Options,
                 decode: Callable[[Sequence[int]], str], vocabulary: Vocabulary, dropped: int = 0,
                 after_reasoning: tuple[Grammar, Reader, Sequence[int]] | None = None) -> None:
        self.model, self.seed, self.dropped = name, request.sampling.seed, dropped
        self.prompt: Sequence[int] = request.prompt
        self._engine, self._reader, self._options, self._vocabulary = engine, reader, options, vocabulary
        self._after = after_reasoning
        self._decode = decode
        self._text, self._stops = TextStream(decode), StopStrings(options.stop, include=options.include_stop)
        self._tokens: list[int] = []
        self._reasoning_tokens = 0
        self._generation: Generation = engine.submit(request)
        self._first = self._generation
        self._pieces = self._read()

    def stop(self) -> None:
        self._generation.cancel()

    def __aiter__(self) -> AsyncIterator[Piece]:
        return self._pieces

    @cached_property
    def prompt_logprobs(self) -> Sequence[TokenText | None] | None:
        found = self._first.prompt_logprobs
        return None if found is None else [self._token_text(entry) if entry else None for entry in found]

    async def _read(self) -> AsyncIterator[Piece]:
        try:
            finish: Finish | None = None
            while finish is None:
                async for step in self._generation:
                    pieces, finish = self._step(step)
                    for piece in pieces:
                        yield piece
                    if finish is not None or self._reasoning_over(step):
                        break
                else:
                    finish = finish or "cancelled"
                if self._after is not None and finish in (None, "stop"):
                    finish = None
                    self._go_on()
            for piece in self._rest(finish):
                yield piece
            yield End("tool_calls" if self._reader.calls and finish == "stop" else finish, self._usage())
        finally:
            self._generation.cancel()

    def _step(self, step: Step) -> tuple[list[Piece], Finish | None]:
        """The pieces of a step, and why the answer ends with it if it does."""
        pieces: list[Piece] = []
        logprobs = step.logprobs or (None,) * len(step.tokens)
        for token, logprob in zip(step.tokens, logprobs, strict=True):
            self._tokens.append(token)
            text = self._text.push(token)
            self._reader.token(text, self._token_text(logprob) if logprob else None)
            shown, reached = (text, False) if len(self._tokens) < self._options.min_tokens else self._stops.push(text)
            pieces += self._reader.feed(shown)
            if reached or (isinstance(self._reader, ParsedReader) and self._reader.full):
                return _joined(pieces), "stop"
            if self._reasoning_over(step):
                break
        return _joined(pieces), step.finish

    def _reasoning_over(self, step: Step) -> bool:
        return (self._after is not None and isinstance(self._reader, ParsedReader) and not self._reader.in_reasoning
                and step.finish is None)

    def _go_on(self) -> None:
        """The second request of an answer whose grammar waits for the end of the reasoning."""
        assert self._after is not None
        assert isinstance(self._reader, ParsedReader)
        grammar, reader, closing = self._after
        self._generation.cancel()
        closing = closing if self._reader.in_reasoning else ()  # a model that stopped in the middle of its reasoning
        self._reader.close()
        self._reasoning_tokens = self._reader.reasoning_tokens
        request = self._first.request
        sampling = replace(request.sampling, grammar=grammar, seed=request.sampling.seed + 1,
                           max_tokens=max(1, request.sampling.max_tokens - len(self._tokens)))
        self._generation = self._engine.submit(replace(
            request, id=f"{request.id}-answer", prompt=(*request.prompt, *self._tokens, *closing), sampling=sampling))
        self._reader, self._after = reader, None
        self._text, self._stops = TextStream(self._decode), StopStrings(self._options.stop)

    def _rest(self, finish: Finish) -> list[Piece]:
        shown = self._stops.flush() if finish != "stop" or not self._stops.reached else ""
        return _joined([*self._reader.feed(shown), *self._reader.close()])

    def _usage(self) -> Usage:
        return Usage(len(self.prompt), len(self._tokens), self._first.cached,
                     self._reasoning_tokens + self._reader.reasoning_tokens)

    def _token_text(self, entry: TokenLogprob) -> TokenText:
        top = tuple(self._one(token, logprob) for token, logprob in entry.top)
        return replace(self._one(entry.token, entry.logprob), top=top)

    def _one(self, token: int, logprob: float) -> TokenText:
        return TokenText(token, self._vocabulary.text(token), self._vocabulary.data(token), logprob)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours of content as one piece."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and isinstance(piece, Content) and isinstance(joined[-1], Content):
            joined[-1] = Content(joined[-1].text + piece.text, joined[-1].logprobs + piece.logprobs)
        else:
            joined.append(piece)
    return joined


