"""How a family writes reasoning, answers and tool calls: marks in the text, as data that one parser reads.

Sources per family: models/families. A mark is a string that the model writes (usually one special token), so
an engine must decode with special tokens kept for the text to be parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Does = Literal["reason", "end", "call", "header", "drop"]


@dataclass(frozen=True)
class Mark:
    """A string of the syntax and what it does.

    does: "reason" opens reasoning, "end" closes it, "call" opens a tool call, "header" a channel header, "drop" is left
    out of the answer.
    before, after: how many newlines next to the mark belong to it.
    at_start: only as the very first characters of what the model writes.
    early: only before the answer's first character that is not white space, so that an answer may speak of the mark.
    """

    text: str
    does: Does
    before: int = 0
    after: int = 0
    at_start: bool = False
    early: bool = False


@dataclass(frozen=True)
class JsonCalls:
    """JSON between a "call" mark and `close`: `{"name": ..., "arguments": {...}}`, or a list of such objects.

    arguments: the keys that may hold the arguments, the family's own first.
    cut: `close` ends the turn, so an engine may have cut it off; a complete call at the end of the text counts.
    """

    close: tuple[str, ...]
    arguments: tuple[str, ...] = ("arguments", "parameters")
    many: bool = False
    cut: bool = False


@dataclass(frozen=True)
class PartedCalls:
    """Name and arguments parted by marks: `[id name_mark] name arguments_mark {json} close`.

    name_mark: what stands between the call's id and its name; "" where calls have no id.
    """

    arguments_mark: str
    close: tuple[str, ...]
    name_mark: str = ""


@dataclass(frozen=True)
class KeyValueCalls:
    """`name`, then for each argument a marked key and a marked value, then `close`.

    A value is written as it is where it is a string, and as JSON otherwise; only the tool's schema tells the string "5"
    from the number 5 (without one, what reads as JSON is JSON).
    """

    close: tuple[str, ...] = ("</tool_call>",)
    key: tuple[str, str] = ("<arg_key>", "</arg_key>")
    value: tuple[str, str] = ("<arg_value>", "</arg_value>")


@dataclass(frozen=True)
class Channels:
    """Harmony (gpt-oss): every message has a header that names its channel and, for a call, its recipient.

    A "header" mark opens a header and `message` closes it; in between it is `header`, a pattern with the groups channel
    and to or to2. The channel `reasoning` holds reasoning, any other the answer; a recipient (`to=functions.NAME`)
    makes the body a call's arguments.
    """

    header: str = (
        r"(?:<\|start\|>assistant)?(?: to=(?P<to>[^\s<]+))?\s*(?:<\|channel\|>(?P<channel>\w+))?"
        r"(?: to=(?P<to2>[^\s<]+))?"
        r"\s*(?:<\|constrain\|>)?\s*\w*\s*"
    )
    message: str = "<|message|>"
    reasoning: str = "analysis"
    namespace: str = "functions."
    close: tuple[str, ...] = ("<|call|>", "<|end|>", "<|return|>")


Form = JsonCalls | PartedCalls | KeyValueCalls | Channels


@dataclass(frozen=True)
class Syntax:
    """What the parser must know of a family."""

    marks: tuple[Mark, ...] = ()
    form: Form | None = None

    def opened_by(self, prompt: str) -> bool:
        """Whether a prompt ends inside the reasoning, so that the parser must begin there."""
        end = prompt[-100:].rstrip("\n")
        return any(end.endswith(mark.text.rstrip("\n")) for mark in self.marks if mark.does == "reason")

    @property
    def special(self) -> tuple[str, ...]:
        """Every string of the syntax, longest first: what a tokenizer of this family should keep whole."""
        texts = {mark.text for mark in self.marks if not mark.at_start}
        match self.form:
            case JsonCalls(close=close):
                texts |= set(close)
            case PartedCalls(arguments_mark=mark, close=close, name_mark=name):
                texts |= {mark, name, *close} - {""}
            case KeyValueCalls(close=close, key=key, value=value):
                texts |= {*close, *key, *value}
            case Channels(message=message, close=close):
                texts |= {message, *close}
            case None:
                pass
        return tuple(sorted(texts, key=lambda text: (-len(text), text)))


def think(open: str = "<think>", close: str = "</think>") -> tuple[Mark, ...]:
    """Reasoning between two tags before the answer; newlines around them are layout."""
    return (Mark(open, "reason", before=2, after=2, early=True), Mark(close, "end", before=2, after=2))


PLAIN = Syntax()
"""No reasoning and no tool calls."""

HERMES_CALL = Mark("<tool_call>", "call", before=2)
HERMES = JsonCalls(close=("</tool_call>",))
"""`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, each call with its own tags."""


THINK_HERMES = Syntax((*think(), HERMES_CALL), HERMES)
"""`<think>` reasoning and Hermes calls: the most common pair."""

PLAIN_HERMES = Syntax((HERMES_CALL,), HERMES)
"""Hermes calls without reasoning."""

THINK_KEY_VALUE = Syntax((*think(), HERMES_CALL), KeyValueCalls())
"""`<think>` reasoning and calls of `<arg_key>` and `<arg_value>` (HyperCLOVA X SEED 32B Think, 8B Omni)."""

_HCX_CALL = " -> tool/function_call\n"
HCX_TURNS = Syntax(
    (
        Mark("/think\n", "reason", at_start=True), Mark("\n", "drop", at_start=True),
        Mark(_HCX_CALL, "call", at_start=True),
        Mark("<|im_start|>assistant/think\n", "reason"), Mark("<|im_start|>assistant\n", "drop"),
        Mark("<|im_start|>assistant" + _HCX_CALL, "call"),
        Mark("<|im_end|>", "end", after=1), Mark("<|im_end|>", "drop", after=1),
        Mark("<|endofturn|>", "drop"), Mark("<|stop|>", "drop"),
    ),
    JsonCalls(close=("<|im_end|>",), arguments=("arguments", "parameters", "input"), many=True, cut=True),
)
"""HyperCLOVA X SEED 14B Think: reasoning, answer and calls are turns of their own."""

SOLAR_TOKENS = Syntax(
    (
        Mark("<|think|>", "reason"), Mark("<|end|>", "end"),
        Mark("<|tool_call:begin|>", "call"),
        *(Mark(text, "drop") for text in
          ("<|begin|>assistant", "<|content|>", "<|end|>", "<|flush|>", "<|tool_calls|>", "<|calls|>")),
    ),
    PartedCalls(arguments_mark="<|tool_call:args|>", close=("<|tool_call:end|>",), name_mark="<|tool_call:name|>"),
)
"""Solar Open: one token before each part of a turn."""


DEEPSEEK_TOKENS = Syntax(  # written with a full-width bar and a lower block
    (
        *think(), Mark("<｜tool▁calls▁begin｜>", "drop", before=2), Mark("<｜tool▁call▁begin｜>", "call", before=2),
        Mark("<｜tool▁calls▁end｜>", "drop"), Mark("<｜end▁of▁sentence｜>", "drop"),
    ),
    PartedCalls(arguments_mark="<｜tool▁sep｜>", close=("<｜tool▁call▁end｜>",)),
)
"""DeepSeek-V3.1: `<think>` and a block of calls, name and arguments parted by a token."""

HARMONY = Syntax(
    (
        Mark(" to=", "header", at_start=True), Mark("<|start|>assistant", "header"), Mark("<|channel|>", "header"),
        *(Mark(text, does) for text in ("<|end|>", "<|return|>", "<|call|>") for does in ("end", "drop")),
    ),
    Channels(),
)
"""gpt-oss: https://cookbook.openai.com/articles/openai-harmony."""
