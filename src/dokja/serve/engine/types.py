"""What an engine is asked and what it answers: token ids in, token ids out.

Text, chat templates and HTTP are above it (`service.py`), so that any engine that meets `TokenEngine`, ours or vLLM's,
has the same API and pages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

from ...models.model import Model

Finish = Literal["stop", "length", "cancelled", "deadline"]


@dataclass(frozen=True)
class Grammar:
    """What an answer must match: a JSON schema, any JSON object (`json`, empty text), a regular expression, or one of
    several strings (`choice`: a JSON list)."""

    kind: Literal["json_schema", "json", "regex", "choice"]
    text: str


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen, in this order: bias, penalties, temperature, top_k, top_p, min_p, draw.

    temperature 0 is greedy. top_p keeps the smallest set of tokens with that much probability, top_k the k likeliest
    (0: all), min_p those at least that share of the likeliest one's probability. repetition_penalty divides positive
    and multiplies negative logits of tokens seen in prompt or answer (Keskar et al. 2019, arXiv 1909.05858);
    presence_penalty and frequency_penalty are subtracted, once and per occurrence, for tokens of the answer (OpenAI).
    logit_bias is added to the logits of those ids. seed: draw n of an answer is a function of (seed, n) alone.
    stop: ids that end the answer and are not part of it, from min_tokens on. logprobs: also the log-probabilities of
    the chosen token and of that many likeliest ones, after bias and penalties are left out (the model's own);
    prompt_logprobs: the same for every prompt token but the first.
    """

    max_tokens: int = 256
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0
    stop: tuple[int, ...] = ()
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    grammar: Grammar | None = None

    @cached_property
    def penalised(self) -> bool:
        """Whether what was seen before counts."""
        return bool(self.repetition_penalty != 1 or self.presence_penalty or self.frequency_penalty)

    @cached_property
    def adjusted(self) -> bool:
        """Whether logits are changed before the temperature, wherever the answer is."""
        return bool(self.logit_bias or self.penalised)


@dataclass(frozen=True)
class Request:
    """One continuation to write. id: for logs, unique. adapter: name of a LoRA adapter loaded at start.

    deadline: the moment (`time.monotonic`) after which nobody waits for it. speculate: whether drafts may be used.
    """

    id: str
    prompt: tuple[int, ...]
    sampling: SamplingParams
    adapter: str | None = None
    deadline: float | None = None
    speculate: bool = True


@dataclass(frozen=True)
class TokenLogprob:
    """Natural log-probability of a token, and those of the likeliest ones at its place, best first."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class Step(NamedTuple):
    """Tokens that a generation grew by, more than one where drafts were accepted; the last step has `finish`."""

    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None


class Generation(Protocol):
    """The steps of one request as they come. It is worked on whether or not it is read; `cancel` ends it.

    cached: how many prompt tokens came from the prefix cache, known with the first step. prompt_logprobs: known with
    the first step, where asked for; one entry a prompt token, None for the first.
    """

    request: Request
    cached: int
    prompt_logprobs: Sequence[TokenLogprob | None] | None

    def __aiter__(self) -> AsyncIterator[Step]: ...

    def cancel(self) -> None:
        """Stop working on it and free what it holds; the reader sees a step with finish "cancelled"."""


@dataclass(frozen=True)
class Stats:
    """An engine's counters since its start, and where it stands now (for /metrics and tests).

    pages_free, pages_total: over all attention kinds; equal again when nothing runs and the prefix cache is cleared,
    pages that only the prefix cache holds count as free. drafted, accepted: tokens of speculative decoding.
    """

    waiting: int = 0
    running: int = 0
    pages_free: int = 0
    pages_total: int = 0
    kv_bytes: int = 0
    steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    drafted: int = 0
    accepted: int = 0
    preempted: int = 0


class TokenEngine(Protocol):
    """One model that answers many requests at once.

    model: spec, tokenizer and family; the decoder may be on the meta device where another engine holds the weights.
    context: how many tokens prompt and answer may have together.
    """

    model: Model
    context: int

    def submit(self, request: Request) -> Generation:
        """Begin a request; needs a running event loop, whose thread gets the steps.

        Raises BusyError (queue full) or BadRequestError (prompt empty, past the context, an id outside the vocabulary,
        a grammar that does not compile, an unknown adapter) at once.
        """

    async def compile(self, grammar: Grammar) -> None:
        """Make a grammar ready for `submit`, in another thread where that takes long, so that no answer waits for it.

        Raises BadRequestError for one that does not compile, where that is known before a request has it.
        """

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """The mean over each prompt of the states that the head reads, of length 1."""

    def stats(self) -> Stats:
        """Counters; callable from any thread."""

    def close(self) -> None:
        """Cancel what runs and end the worker thread."""
