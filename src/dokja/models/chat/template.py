"""A family's chat template: Jinja beside the families, and the reasoning switch under one name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...errors import DokjaError
from .messages import Message, declared, even, marked, parted, with_json_arguments
from .sandbox import rendered
from .syntax import PLAIN, Syntax

FOLDER = Path(__file__).parent.parent / "families" / "templates"
SWITCH = ("on", "off", "low", "high")  # the values that a ChatTemplate may map
NONE: Mapping[str, Any] = MappingProxyType({})
ENABLE_THINKING = MappingProxyType({"on": {"enable_thinking": True}, "off": {"enable_thinking": False}})


@dataclass(frozen=True)
class ChatTemplate:
    """How a family writes a conversation.

    name: the family, for messages to the user. file: families/templates/<file>.jinja, which several families may
    share. reasoning: for each value of the switch that the family has, the arguments of its own template.
    default_reasoning: the value that the family takes by itself; None where the model decides or nothing can be
    switched. syntax: how the model answers. note: what a user should know. unverified: what was read neither from a
    source of the developer's nor from a copy of their template. source: Jinja text that takes the file's place, such as
    a checkpoint's own template (`dataclasses.replace`); the switch and the syntax still hold.
    """

    name: str
    file: str
    reasoning: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default_reasoning: str | None = None
    syntax: Syntax = PLAIN
    note: str = ""
    unverified: tuple[str, ...] = ()
    source: str | None = None

    def text(self) -> str:
        """The Jinja text; DokjaError if the file is not there."""
        return self.source if self.source is not None else _read(self.file)

    def switched(self, reasoning: str | None) -> str | None:
        """The value of the switch that holds: the one given or the family's own; DokjaError if it has none such."""
        if reasoning is None:
            return self.default_reasoning
        if reasoning not in self.reasoning:
            has = f"has {', '.join(self.reasoning)}" if self.reasoning else "has nothing to switch"
            hint = f" ({self.note})" if self.note else ""
            raise DokjaError(f"reasoning={reasoning} is not known to {self.name}, which {has}{hint}")
        return reasoning


def render(
    template: ChatTemplate | str, messages: Sequence[Mapping[str, Any]], *,
    tools: Sequence[Mapping[str, Any]] | None = None, reasoning: str | None = None, add_generation_prompt: bool = True,
    now: datetime | None = None, variables: Mapping[str, Any] = NONE,
) -> str:
    """A conversation as the text that the model reads, up to where it is to go on.

    template: a family's, or the Jinja text of a downloaded checkpoint, which has no reasoning switch of ours. messages,
    tools: as in the OpenAI API. now: the date for templates that write it. variables: further arguments of the template
    (bos_token, eos_token, a family's own switches).

    Raises DokjaError for messages that are none, a reasoning value that the family lacks, tools where the family has no
    format for them, and a template that refuses, fails, or does what the sandbox forbids.
    """
    pieces = render_pieces(template, messages, tools=tools, reasoning=reasoning, now=now, variables=variables,
                           add_generation_prompt=add_generation_prompt)
    return "".join(text for text, _ in pieces)


def render_pieces(
    template: ChatTemplate | str, messages: Sequence[Mapping[str, Any]], *, special: Collection[str] = (),
    tools: Sequence[Mapping[str, Any]] | None = None, reasoning: str | None = None, add_generation_prompt: bool = True,
    now: datetime | None = None, variables: Mapping[str, Any] = NONE,
) -> list[tuple[str, bool]]:
    """`render`, in pieces: (text, whether it is a special token that a message or a tool holds as plain text).

    special: the tokenizer's special tokens. A piece that is True is to be encoded as ordinary characters, so that
    nobody can type a turn marker.
    """
    family = ChatTemplate("this checkpoint", file="", source=template) if isinstance(template, str) else template
    value = family.switched(reasoning)
    source = family.text()
    offered = declared(tools)
    turns = even(messages, developer="developer" in source)
    if family.source is None:
        turns = [_apart(turn, family.syntax) for turn in turns]
        if family.syntax.form is None:
            _without_tools(family, bool(offered), turns)
    turns, offered = marked(turns, special), marked(offered, special)
    arguments = {
        "bos_token": "", "eos_token": "", **family.reasoning.get(value or "", {}), **variables,
        "messages": turns, "tools": offered or None, "add_generation_prompt": add_generation_prompt,
    }
    title = f"the chat template of {family.name}"
    try:
        text = rendered(source, arguments, title=title, now=now)
    except DokjaError as error:
        if not isinstance(error.__cause__, TypeError) or not any("tool_calls" in turn for turn in turns):
            raise
        # Some published templates join a call's arguments to a string, as the API has them; most take an object.
        text = rendered(source, {**arguments, "messages": with_json_arguments(turns)}, title=title, now=now)
    return parted(text)


def _apart(turn: Message, syntax: Syntax) -> Message:
    """An assistant's message whose content still holds its reasoning, with the two apart."""
    ends = [mark.text for mark in syntax.marks if mark.does == "end" and mark.after]
    if turn["role"] != "assistant" or not ends or ends[0] not in turn["content"]:
        return turn
    opening = next(mark.text for mark in syntax.marks if mark.does == "reason")
    reasoning, _, content = turn["content"].partition(ends[0])
    reasoning = reasoning.strip().removeprefix(opening).strip()
    return {"reasoning_content": reasoning, **turn, "content": content.lstrip("\n")}


def _without_tools(family: ChatTemplate, offered: bool, turns: Sequence[Mapping[str, Any]]) -> None:
    if offered or any("tool_calls" in turn or turn["role"] == "tool" for turn in turns):
        raise DokjaError(f"no format for tools is known for {family.name}: leave out tools, calls and their results")


@lru_cache(maxsize=64)
def _read(file: str) -> str:
    path = FOLDER / f"{file}.jinja"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DokjaError(f"{path} cannot be read ({error.strerror})") from error
