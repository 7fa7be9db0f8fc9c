"""The models of this process, asked in text: a `Service` over token engines."""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .about import about
from .answer import EngineAnswer
from .engine.types import Grammar, Request, SamplingParams, Stats, TokenEngine
from .errors import BadRequestError, UnavailableError, UnknownError
from .prompts import Prompt, Prompter
from .reading import NamedReader, ParsedReader, PlainReader, Reader, RequiredReader
from .service import Answer, ChatAsk, CompletionAsk, Options, ServedModel, Tokens
from .text import Vocabulary

LONG = 20_000  # characters; to encode more takes milliseconds
_A = TypeVar("_A")
_B = TypeVar("_B")


@dataclass(frozen=True)
class _Voice:
    """One name that answers: an engine, with or without an adapter, and what turns its text into ids and back."""

    served: ServedModel
    engine: TokenEngine
    adapter: str | None
    prompter: Prompter
    vocabulary: Vocabulary

    async def prompt(self, ask: ChatAsk) -> Prompt:
        """The prompt of a conversation; a template that is slow by itself has a thread too."""
        length = len(str(ask.messages)) if not self.prompter.slow else LONG + 1
        return await _apart(length, self.prompter.prompt, ask)

    def decoder(self, shown: Sequence[str]) -> Callable[[Sequence[int]], str]:
        """Ids to text without special tokens, except those that the syntax reads."""
        hidden, decode = self.vocabulary.hidden(frozenset(shown)), self.prompter.tokenizer.decode
        return lambda ids: decode([token for token in ids if token not in hidden], skip_special_tokens=False)


class LocalService:
    """Engines by model name, the first one's model the default. adapters: names of LoRA adapters, each with the name
    of the model whose engine has loaded it."""

    def __init__(self, engines: Mapping[str, TokenEngine], adapters: Mapping[str, str] | None = None) -> None:
        if not engines:
            raise UnavailableError("there is no model to serve")
        self.engines = dict(engines)
        self._voices: dict[str, _Voice] = {}
        for name, engine in self.engines.items():
            prompter = Prompter(engine.model, engine.context, name)
            template = prompter.template
            served = ServedModel(name, engine.context, about(engine.model), reasoning=prompter.reasoning,
                                 default_reasoning=template.default_reasoning if template else None,
                                 tools=prompter.tools, system=not prompter.pocket, model=engine.model)
            self._voices[name] = _Voice(served, engine, None, prompter, Vocabulary(prompter.tokenizer))
        for name, parent in (adapters or {}).items():
            base = self._find(parent)
            self._voices[name] = replace(base, served=replace(base.served, name=name, parent=parent), adapter=name)

    def models(self) -> Mapping[str, ServedModel]:
        return {name: voice.served for name, voice in self._voices.items()}

    async def chat(self, ask: ChatAsk) -> Answer:
        voice = self._find(ask.model)
        prompt = await voice.prompt(ask)
        grammar, reader = _constrained(ask)
        if grammar is not None:
            await voice.engine.compile(grammar)
        if grammar is None:
            wanted = ask.tools if ask.tool_choice != "none" else ()
            reader = ParsedReader(prompt.syntax, in_reasoning=prompt.in_reasoning, tools=wanted,
                                  many=ask.parallel_tool_calls)
            return self._begin(voice, ask.options, prompt, reader, ask.id)
        if not prompt.in_reasoning:
            return self._begin(voice, replace(ask.options, grammar=grammar), prompt, reader, ask.id)
        closing = next((mark for mark in prompt.syntax.marks if mark.does == "end"), None)
        text = closing.text + "\n" * closing.after if closing else ""
        after = (grammar, reader, voice.prompter.encode(text, special=False))
        thinking = ParsedReader(prompt.syntax, in_reasoning=True, tools=(), many=True)
        return self._begin(voice, replace(ask.options, grammar=None), prompt, thinking, ask.id, after)

    async def complete(self, ask: CompletionAsk) -> Answer:
        voice = self._find(ask.model)
        ids = (await _apart(len(ask.prompt), voice.prompter.encode, ask.prompt) if isinstance(ask.prompt, str)
               else list(ask.prompt))
        room = voice.engine.context - len(ids)
        if not ids:
            raise BadRequestError("the prompt is empty: give at least one token", param="prompt")
        if room < 1:
            raise BadRequestError(f"the prompt takes {len(ids)} tokens, and this model has {voice.engine.context} for "
                                  "prompt and answer together", param="prompt", code="context_length_exceeded")
        if ask.options.grammar is not None:
            await voice.engine.compile(ask.options.grammar)
        prompt = Prompt(ids, min(room, ask.options.max_tokens or room))
        return self._begin(voice, ask.options, prompt, PlainReader(), ask.id)

    async def embed(self, model: str | None, inputs: Sequence[str | Sequence[int]]) -> tuple[list[list[float]], int]:
        voice = self._find(model)
        prompts = [await _apart(len(text), voice.prompter.encode, text) if isinstance(text, str) else list(text)
                   for text in inputs]
        for number, ids in enumerate(prompts, start=1):
            if not 0 < len(ids) <= voice.engine.context:
                raise BadRequestError(f"input {number} has {len(ids)} tokens: this model reads 1 to "
                                      f"{voice.engine.context}", param="input", code="context_length_exceeded")
            _check_ids(voice, ids, "input")
        return await voice.engine.embed(prompts), sum(map(len, prompts))

    async def tokenize(self, model: str | None, source: str | ChatAsk, *, special: bool = True) -> Tokens:
        voice = self._find(source.model if isinstance(source, ChatAsk) else model)
        if isinstance(source, str):
            ids = await _apart(len(source), lambda text: voice.prompter.encode(text, special=special), source)
        else:
            ids = (await voice.prompt(source)).ids
        texts = [voice.prompter.tokenizer.id_to_token(token) or "" for token in ids]
        return Tokens(ids, texts, voice.engine.context)

    async def detokenize(self, model: str | None, ids: Sequence[int]) -> str:
        voice = self._find(model)
        _check_ids(voice, ids, "tokens")
        return voice.prompter.tokenizer.decode(list(ids), skip_special_tokens=False)

    def stats(self) -> Mapping[str, Stats]:
        return {name: engine.stats() for name, engine in self.engines.items()}

    def close(self) -> None:
        for engine in self.engines.values():
            engine.close()

    def _find(self, name: str | None) -> _Voice:
        chosen = next(iter(self._voices)) if name is None else name
        if chosen not in self._voices:
            raise UnknownError(f"unknown model {name!r}: choose from {', '.join(self._voices)}", param="model",
                               code="model_not_found")
        return self._voices[chosen]

    def _begin(self, voice: _Voice, options: Options, prompt: Prompt, reader: Reader, name: str,
               after: tuple[Grammar, Reader, Sequence[int]] | None = None) -> Answer:
        """Submit a prompt; the reader gets the text of what follows."""
        model = voice.engine.model
        _check_ids(voice, tuple(options.logit_bias), "logit_bias")
        _check_ids(voice, options.stop_token_ids, "stop_token_ids")
        sampling = SamplingParams(
            max_tokens=prompt.room, min_tokens=min(options.min_tokens, prompt.room), temperature=options.temperature,
            top_p=options.top_p, top_k=options.top_k, min_p=options.min_p,
            repetition_penalty=options.repetition_penalty, presence_penalty=options.presence_penalty,
            frequency_penalty=options.frequency_penalty, logit_bias=dict(options.logit_bias),
            seed=secrets.randbits(32) if options.seed is None else options.seed,
            stop=tuple(dict.fromkeys((*(() if options.ignore_eos else model.stop), *options.stop_token_ids))),
            logprobs=options.logprobs, prompt_logprobs=options.prompt_logprobs, grammar=options.grammar)
        request = Request(name or uuid.uuid4().hex, tuple(prompt.ids), sampling, voice.adapter, options.deadline)
        return EngineAnswer(voice.served.name, voice.engine, request, reader, options=options,
                            decode=voice.decoder(prompt.syntax.special), vocabulary=voice.vocabulary,
                            dropped=prompt.dropped, after_reasoning=after)


async def _apart(length: int, work: Callable[[_A], _B], source: _A) -> _B:
    """What `work` makes of `source`; a long one in another thread, so that no other answer waits for it."""
    return await asyncio.to_thread(work, source) if length > LONG else work(source)


def _check_ids(voice: _Voice, ids: Sequence[int], param: str) -> None:
    vocab = voice.engine.model.spec.vocab
    if wrong := next((token for token in ids if not 0 <= token < vocab), None):
        raise BadRequestError(f"{param} has the token id {wrong}: this model's go from 0 to {vocab - 1}", param=param)


def _constrained(ask: ChatAsk) -> tuple[Grammar | None, Reader]:
    """The grammar that an answer must match, from its format or from the tools that must be called."""
    if ask.tool_choice in ("required", "named"):
        if ask.options.grammar is not None:
            raise BadRequestError("an answer cannot both call a tool and match a format: leave one of them out",
                                  param="tool_choice")
        functions = {tool["function"]["name"]: tool["function"] for tool in ask.tools}
        if ask.tool_choice == "required":
            if not functions:
                raise BadRequestError("tool_choice is required and there are no tools", param="tool_choice")
            return Grammar("json_schema", json.dumps(_calls_schema(ask, functions))), RequiredReader()
        if ask.tool not in functions:
            raise BadRequestError(f"tool_choice names {ask.tool!r}, which is none of the tools", param="tool_choice")
        schema = functions[ask.tool].get("parameters") or {"type": "object"}
        return Grammar("json_schema", json.dumps(schema)), NamedReader(ask.tool)
    if ask.options.grammar is not None and ask.tools and ask.tool_choice == "auto":
        raise BadRequestError("an answer that must match a format cannot call tools: set tool_choice to none or leave "
                              "the format out", param="tools")
    return ask.options.grammar, PlainReader()


def _calls_schema(ask: ChatAsk, functions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A list of calls, each with a tool's name and parameters that fit it; definitions move to the top."""
    definitions: dict[str, Any] = {}
    calls = []
    for name, function in functions.items():
        schema = dict(function.get("parameters") or {"type": "object"})
        definitions |= schema.pop("$defs", {})
        calls.append({"type": "object", "properties": {"name": {"const": name}, "parameters": schema},
                      "required": ["name", "parameters"], "additionalProperties": False})
    most = {} if ask.parallel_tool_calls else {"maxItems": 1}
    return {"type": "array", "minItems": 1, **most, "items": {"anyOf": calls},
            **({"$defs": definitions} if definitions else {})}
