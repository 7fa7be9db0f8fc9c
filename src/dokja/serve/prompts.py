"""A conversation as the token ids that a model reads: by a chat template, or by a pocket model's turn markers."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from jinja2.exceptions import SecurityError, TemplateSyntaxError
from tokenizers import Tokenizer

from ..errors import DokjaError
from ..models.chat import ChatTemplate, Syntax, render_pieces
from ..models.chat.messages import even
from ..models.chat.sandbox import checked
from ..models.chat.syntax import PLAIN
from ..models.checkpoint.kept import CONFIG, TOKENIZER_CONFIG
from ..models.model import Model
from .conversation import Fitted, Message, fit
from .errors import BadRequestError, BrokenError
from .service import ChatAsk

SLOW = 0.05
log = logging.getLogger("dokja.serve")
_T = TypeVar("_T")
_EFFORT = {"none": "off", "minimal": "off", "low": "on", "medium": "on", "high": "on", "xhigh": "high", "max": "high"}


@dataclass(frozen=True)
class Prompt:
    """What the model reads and how its answer is to be read.

    room: tokens that the answer may have. dropped: how many of the oldest messages were left out. in_reasoning:
    whether the prompt has opened the reasoning.
    """

    ids: list[int]
    room: int
    dropped: int = 0
    syntax: Syntax = PLAIN
    in_reasoning: bool = False


class Prompter:
    """How conversations with one model are written.

    A checkpoint's own template comes first, then its family's; a model that was trained here and has neither writes
    turns by its codec. name: what clients call the model. slow: whether the last prompt took more than SLOW seconds.
    """

    def __init__(self, model: Model, context: int, name: str) -> None:
        self.model, self.context, self.name = model, context, name
        self.slow = False
        if model.tokenizer is None:
            raise DokjaError(f"{name} came without a tokenizer.json: put one beside its weights to serve it")
        self.tokenizer: Tokenizer = model.tokenizer
        self._plain = Tokenizer.from_str(model.tokenizer.to_str())
        self._plain.encode_special_tokens = True
        template = chat_template(model)
        self.template = replace(template, name=name) if template else None
        if self.template:
            try:
                checked(self.template.text(), title=f"the chat template of {name}")
            except DokjaError as error:  # completions and embeddings do without
                log.warning("%s: mend it where the model lies and start again, for chats are refused until then", error)
        self.pocket = self.template is None and "family" in model.card and CONFIG not in model.files
        if self.pocket:
            assert model.codec  # a tokenizer without the turn markers is told now
        added = model.tokenizer.get_added_tokens_decoder().values()
        self._special = tuple(token.content for token in added if token.special)
        self._variables = _special_tokens(model)

    @property
    def reasoning(self) -> tuple[str, ...]:
        """Values of the model's reasoning switch."""
        return tuple(self.template.reasoning) if self.template else ()

    @property
    def tools(self) -> bool:
        """Whether the model takes tools."""
        return self.template is not None and (self.template.syntax.form is not None or self.template.source is not None)

    def prompt(self, ask: ChatAsk) -> Prompt:
        """The prompt of a conversation; BadRequestError for one that the model cannot read."""
        _text_only(ask.messages, self.name)
        if self.pocket:
            return self._pocket(ask)
        if self.template is None:
            raise BadRequestError(f"{self.name} has no chat template: use /v1/completions with a text",
                                  code="no_chat_template")
        template, value = self.template, self.switch(ask.reasoning)
        tools = [] if ask.tool_choice == "none" else list(ask.tools)
        variables = {**self._variables, **ask.variables}
        rendered: dict[int, str] = {}

        def ids(messages: Sequence[Message]) -> list[int]:
            pieces = render_pieces(template, messages, special=self._special, tools=tools or None, reasoning=value,
                                   variables=variables)
            rendered[0] = "".join(text for text, _ in pieces)
            return [token for text, plain in pieces
                    for token in (self._plain if plain else self.tokenizer).encode(text, add_special_tokens=False).ids]

        begun = time.monotonic()
        try:
            fitted = self._fit(ids, ask, drop=ask.drop_oldest)
        finally:
            self.slow = time.monotonic() - begun > SLOW
        return Prompt(fitted.ids, fitted.room, fitted.dropped, template.syntax,
                      template.syntax.opened_by(rendered[0]))

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Ids of a text as it stands; special: with the tokens that the tokenizer puts around it."""
        return self.tokenizer.encode(text, add_special_tokens=special).ids

    def switch(self, wanted: str | None) -> str | None:
        """The model's own value for what a client calls the reasoning: on, off, or OpenAI's efforts."""
        if wanted is None or wanted in self.reasoning:
            return wanted
        value = _EFFORT.get(wanted, wanted)
        if value in self.reasoning:
            return value
        if value == "off" and not self.reasoning:
            return None  # there is nothing to switch off
        if value in ("on", "high") and set(self.reasoning) & {"on", "high"}:
            return "on" if "on" in self.reasoning else "high"
        has = f"has {', '.join(self.reasoning)}" if self.reasoning else "has no reasoning to switch"
        raise BadRequestError(f"reasoning {wanted!r} is not known to {self.name}, which {has}",
                              param="reasoning_effort", code="unsupported_value")

    def _pocket(self, ask: ChatAsk) -> Prompt:
        self.switch(ask.reasoning)
        if ask.tools and ask.tool_choice != "none":
            raise BadRequestError(f"{self.name} takes no tools: leave them out", param="tools",
                                  code="unsupported_parameter")
        turns = _checked(lambda: even(ask.messages, developer=False))
        if wrong := next((turn["role"] for turn in turns if turn["role"] == "tool" or "tool_calls" in turn), None):
            raise BadRequestError(f"{self.name} takes no tools: leave out the {wrong}'s message",
                                  param="messages")
        last = turns[-1]
        if last["role"] != "user" or not last["content"].strip():
            raise BadRequestError("messages must end with a message of the user that is not empty", param="messages")
        codec = self.model.codec

        def ids(messages: Sequence[Message]) -> list[int]:
            """System messages go before the first message that is kept: the turn markers know no system."""
            system = "\n\n".join(turn["content"] for turn in messages if turn["role"] == "system")
            said = [(turn["role"], turn["content"]) for turn in messages if turn["role"] != "system"]
            if system.strip():
                said[0] = (said[0][0], f"{system}\n\n{said[0][1]}")
            return codec.prompt(said)

        fitted = self._fit(ids, replace(ask, messages=turns), drop=True)
        return Prompt(fitted.ids, fitted.room, fitted.dropped)

    def _fit(self, ids: Callable[[Sequence[Message]], list[int]], ask: ChatAsk, *, drop: bool) -> Fitted:
        return _checked(lambda: fit(ids, self.context, ask.messages, ask.options.max_tokens, drop=drop))


def chat_template(model: Model) -> ChatTemplate | None:
    """The template of published models: the checkpoint's own text with its family's switch and syntax."""
    family = model.family
    release = next((one for one in family.releases if one.spec.name == model.spec.name), None) if family else None
    known = family.chat_template(release) if family else None
    own = own_template(model.files)
    if own is not None:
        return replace(known, source=own) if known else ChatTemplate(model.spec.name, file="", source=own)
    return None if "family" in model.card and CONFIG not in model.files else known


def own_template(files: Mapping[str, bytes]) -> str | None:
    """The chat template that came with a checkpoint: chat_template.jinja, .json, or in tokenizer_config.json.

    DokjaError for a file that cannot be read.
    """
    if found := files.get("chat_template.jinja"):
        try:
            return found.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DokjaError(f"chat_template.jinja is no UTF-8 text ({error.reason} at byte {error.start}): mend it in "
                             "the model's folder") from error
    for name in ("chat_template.json", TOKENIZER_CONFIG):
        value = _table(files, name).get("chat_template")
        if isinstance(value, list):
            value = next((one.get("template") for one in value
                          if isinstance(one, dict) and one.get("name") == "default"), None)
        if isinstance(value, str):
            return value
    return None


def _table(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """A JSON file that came with a checkpoint, empty where there is none."""
    try:
        found = json.loads(files.get(name, b"{}"))
    except ValueError as error:
        raise DokjaError(f"{name} is no JSON ({error}): mend it in the model's folder") from error
    if not isinstance(found, dict):
        raise DokjaError(f"{name} is no JSON table: mend it in the model's folder")
    return found


def _special_tokens(model: Model) -> dict[str, str]:
    """bos_token and eos_token, as templates name them."""
    found: dict[str, str] = {}
    settings = _table(model.files, TOKENIZER_CONFIG)
    for name in ("bos_token", "eos_token"):
        value = settings.get(name)
        if isinstance(text := value.get("content") if isinstance(value, dict) else value, str):
            found[name] = text
    assert model.tokenizer is not None
    before = model.tokenizer.encode("").tokens  # what it puts before a text by itself
    if "bos_token" not in found and before:
        found["bos_token"] = before[0]
    return found


def _text_only(messages: Sequence[Mapping[str, Any]], name: str) -> None:
    for number, message in enumerate(messages, start=1):
        content = message.get("content")
        parts = content if isinstance(content, list) else []
        kinds = [part.get("type") for part in parts if isinstance(part, Mapping)]
        if kind := next((kind for kind in kinds if kind != "text"), None):
            raise BadRequestError(f"message {number} has a part of type {kind}, and {name} reads text only: leave it "
                                  "out", param="messages", code="unsupported_content")


def _checked(work: Callable[[], _T]) -> _T:
    """Errors of messages and templates as the API tells them: ours where the template is broken, else the client's."""
    try:
        return work()
    except BadRequestError:
        raise
    except DokjaError as error:
        if isinstance(error.__cause__, (TemplateSyntaxError, SecurityError, OverflowError, TimeoutError, SyntaxError)):
            raise BrokenError(f"{error}: mend it in the model's folder", code="broken_template") from error
        raise BadRequestError(str(error), param="messages") from error
