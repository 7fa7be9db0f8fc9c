"""The text layer: several models by name, asked in messages and answered in pieces of text.

Above it are the API and the pages; below it a `TokenEngine` for each model, or another server. Whoever meets `Service`
has the same API and pages: `local.LocalService` runs models here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..models.model import Model
from .engine.types import Grammar, Stats

Finish = Literal["stop", "length", "tool_calls", "cancelled", "deadline"]
ToolChoice = Literal["auto", "none", "required", "named"]


@dataclass(frozen=True)
class Options:
    """How to write an answer: `engine.types.SamplingParams` as a client says it.

    max_tokens None: what the context leaves. seed None: a fresh one, told in `Answer.seed`. stop: strings that end the
    answer and are not part of it, unless include_stop. stop_token_ids: beside the model's own; ignore_eos: instead of
    them. deadline: a moment of `time.monotonic`.
    """

    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop: bool = False
    ignore_eos: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    grammar: Grammar | None = None
    deadline: float | None = None


@dataclass(frozen=True)
class ChatAsk:
    """A conversation to go on with.

    messages, tools: as in the OpenAI API. model None: the first. reasoning: a value of the model's switch
    (`ServedModel.reasoning`), None for its own default. tool: the tool's name where tool_choice is "named". variables:
    further arguments of the chat template. drop_oldest: leave out the oldest messages where the conversation does not
    fit, instead of refusing it; a pocket model always does. id: for logs.
    """

    messages: Sequence[Mapping[str, Any]]
    model: str | None = None
    options: Options = Options()
    reasoning: str | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: ToolChoice = "auto"
    tool: str = ""
    parallel_tool_calls: bool = True
    variables: Mapping[str, Any] = field(default_factory=dict)
    drop_oldest: bool = False
    id: str = ""


@dataclass(frozen=True)
class CompletionAsk:
    """A text, or token ids, to go on with as it stands."""

    prompt: str | Sequence[int]
    model: str | None = None
    options: Options = Options()
    id: str = ""


@dataclass(frozen=True)
class TokenText:
    """A token's log-probability with its text; top: the likeliest tokens at its place, best first."""

    token: int
    text: str
    data: bytes
    logprob: float
    top: tuple[TokenText, ...] = ()


@dataclass(frozen=True)
class Reasoning:
    """A piece of the reasoning."""

    text: str


@dataclass(frozen=True)
class Content:
    """A piece of the answer; logprobs: of the tokens that begin in it, where asked for."""

    text: str
    logprobs: tuple[TokenText, ...] = ()


@dataclass(frozen=True)
class ToolCallDelta:
    """A piece of the answer's tool call number `index`: id and name with the first one, then more of its arguments."""

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens of a request. cached: of the prompt, from the prefix cache; reasoning: of the completion."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class End:
    """The last piece: why it ended, what it took."""

    finish: Finish
    usage: Usage


Piece = Reasoning | Content | ToolCallDelta | End


class Answer(Protocol):
    """The pieces of one answer as they come, `End` last; a failure on the way raises DokjaError.

    It is worked on whether or not it is read; `stop` ends it. seed: the one it used. dropped: how many of the oldest
    messages were left out. prompt: the ids that the model read, where known. prompt_logprobs: known with the first
    piece, where asked for; None for the first token.
    """

    model: str
    seed: int
    dropped: int
    prompt: Sequence[int]

    @property
    def prompt_logprobs(self) -> Sequence[TokenText | None] | None: ...

    def __aiter__(self) -> AsyncIterator[Piece]: ...

    def stop(self) -> None:
        """End the work; a reader sees what was made so far and an End with finish "cancelled"."""


@dataclass(frozen=True)
class ServedModel:
    """What is known of a model that answers.

    name: what a client asks for. context: tokens of prompt and answer together. about: for people, JSON data. parent:
    the model that a LoRA adapter changes. reasoning: values of its reasoning switch; empty where there is nothing to
    switch. tools: whether it takes tools. system: whether it has a system turn. model: where it runs here.
    """

    name: str
    context: int
    about: Mapping[str, Any]
    parent: str | None = None
    reasoning: tuple[str, ...] = ()
    default_reasoning: str | None = None
    tools: bool = False
    system: bool = True
    model: Model | None = None


@dataclass(frozen=True)
class Tokens:
    """A text's tokens and their texts."""

    ids: list[int]
    texts: list[str]
    context: int


class Service(Protocol):
    """Models by name; the first is the default. Everything takes a model's name, None for the default.

    All of it raises UnknownError (no such model) or BadRequestError at once; chat and complete also BusyError.
    """

    def models(self) -> Mapping[str, ServedModel]:
        """What is served, by name."""

    async def chat(self, ask: ChatAsk) -> Answer:
        """Begin to answer a conversation."""

    async def complete(self, ask: CompletionAsk) -> Answer:
        """Begin to go on with a text; all of it is Content."""

    async def embed(self, model: str | None, inputs: Sequence[str | Sequence[int]]) -> tuple[list[list[float]], int]:
        """Vectors of length 1, one a text, and how many tokens were read."""

    async def tokenize(self, model: str | None, source: str | ChatAsk, *, special: bool = True) -> Tokens:
        """Tokens of a text (special: with those that the tokenizer puts around it) or of a conversation's prompt."""

    async def detokenize(self, model: str | None, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""

    def stats(self) -> Mapping[str, Stats]:
        """Counters of every engine that runs here, by model; an adapter's are its parent's."""

    def close(self) -> None:
        """Cancel what runs and free the models."""
