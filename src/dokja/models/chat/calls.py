"""A captured tool call: whether its closing mark is text or ends it, and what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from .syntax import Channels, Form, JsonCalls, KeyValueCalls, PartedCalls

Json = Any  # what json.loads gives
State = Literal["open", "inside", "bad"]
DEEPEST = 200  # nesting of arguments; Python's JSON reader gives up at about a thousand
LONGEST_NAME = 256  # characters before a call's arguments


@dataclass(frozen=True)
class ToolCall:
    """A call that the model makes. arguments: a JSON object as text; id: the family's own, if it writes one.

    source: the text it was read from, marks included.
    """

    name: str
    arguments: str
    id: str | None = None
    source: str = field(default="", compare=False, repr=False)


class Guard(Protocol):
    """Reads a call as it comes: where the closing mark is part of a string ("inside"), and when it can be no call."""

    state: State

    def feed(self, text: str) -> None: ...


class JsonGuard:
    """Follows strings and brackets of one JSON value, far enough to know whether a mark lies in a string.

    It refuses early what can no longer become JSON: characters that JSON has only in strings, a string that follows or
    is followed by something other than a separator, brackets that do not match. The parser's linear time rests on that:
    of two calls that both seem open, one has the other's mark inside a string, and a third cannot be in a string of
    both.
    """

    _PLAIN = re.compile(r"[^\"\\\x00-\x1f]+")
    _OTHER = re.compile(r"[-+.0-9A-Za-z]+")

    def __init__(self, opening: str = "{") -> None:
        self.state: State = "open"
        self._opening = opening
        self._stack: list[str] = []
        self._escaped = False
        self._after: Literal["start", "separator", "string", "other", "end"] = "start"

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text) and self.state != "bad":
            at = self._in_string(text, at) if self.state == "inside" else self._outside(text, at)

    def _in_string(self, text: str, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        if plain := self._PLAIN.match(text, at):
            return plain.end()
        match text[at]:
            case '"':
                self.state, self._after = "open", "string"
            case "\\":
                self._escaped = True
            case _:
                self.state = "bad"  # JSON has no bare control characters in strings
        return at + 1

    def _outside(self, text: str, at: int) -> int:
        character = text[at]
        if character in " \t\r\n":
            return at + 1
        if self._after == "end" or (self._after == "start" and character not in self._opening):
            self.state = "bad"
        elif character == '"':
            self.state = "inside" if self._after == "separator" else "bad"
        elif character in "{[":
            self._stack.append("}" if character == "{" else "]")
            self.state = "open" if self._after != "string" and len(self._stack) <= DEEPEST else "bad"
            self._after = "separator"
        elif character in "}]":
            if not self._stack or self._stack.pop() != character:
                self.state = "bad"
            self._after = "other" if self._stack else "end"
        elif character in ",:":
            self._after = "separator"
        elif self._after != "string" and (word := self._OTHER.match(text, at)):
            self._after = "other"
            return word.end()
        else:
            self.state = "bad"
        return at + 1


class PartedGuard:
    """A name, the mark before the arguments, then JSON."""

    def __init__(self, mark: str) -> None:
        self._json = JsonGuard()
        self._mark = mark
        self._head: str | None = ""
        self.state: State = "open"

    def feed(self, text: str) -> None:
        if self._head is not None:
            self._head += text
            at = self._head.find(self._mark)
            if at < 0:
                if len(self._head) > LONGEST_NAME or '"' in self._head:
                    self.state = "bad"
                return
            text, self._head = self._head[at + len(self._mark):], None
        self._json.feed(text)
        self.state = self._json.state


class KeyValueGuard:
    """Knows whether the text is inside a value, where a closing mark is the value's own; a name is one word."""

    _SENTENCE = re.compile(r"\s*[^\s<>]+\s+[^\s<]|\s*[<>]")

    def __init__(self, form: KeyValueCalls) -> None:
        self._open, self._close = form.value
        self._key = form.key[0]
        self._head: str | None = ""
        self._tail = ""
        self.state: State = "open"

    def feed(self, text: str) -> None:
        if self._head is not None:
            self._head += text
            at = self._head.find(self._key)
            head = self._head if at < 0 else self._head[:at]
            if len(head) > LONGEST_NAME or (at >= 0 and not head.strip()) or self._SENTENCE.match(head):
                self.state = "bad"
            if at < 0 or self.state == "bad":
                return
            text, self._head = self._head[at:], None
        text, at = self._tail + text, 0
        while True:
            mark = self._close if self.state == "inside" else self._open
            found = text.find(mark, at)
            if found < 0:
                break
            at = found + len(mark)
            self.state = "open" if self.state == "inside" else "inside"
        longest = max(len(self._open), len(self._close)) - 1
        self._tail = text[max(at, len(text) - longest):]


def guard(form: Form) -> Guard:
    """A fresh guard for a call of that form."""
    match form:
        case JsonCalls(many=many):
            return JsonGuard("[{" if many else "{")
        case PartedCalls(arguments_mark=mark):
            return PartedGuard(mark)
        case KeyValueCalls():
            return KeyValueGuard(form)
        case Channels():
            return JsonGuard()


def read_calls(form: Form, body: str, tools: Mapping[str, Mapping[str, Json]], name: str = "") -> list[ToolCall] | None:
    """The calls that a captured text makes, or None when it makes none that can be read.

    tools: parameter schemas by tool name, for forms that do not write types. name: where the header named the tool.
    """
    match form:
        case JsonCalls():
            return _read_json(form, body)
        case PartedCalls():
            return _read_parted(form, body)
        case KeyValueCalls():
            return _read_key_value(form, body, tools)
        case Channels():
            arguments = _object_text(body)
            return None if arguments is None or not name else [ToolCall(name, arguments)]


def _load(text: str) -> Json:
    """JSON as the standard has it; ValueError for anything else."""
    def refuse(constant: str) -> Json:
        raise ValueError(constant)

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _dump(value: Json) -> str:
    """JSON text that can be sent as UTF-8; ValueError for a number that is none."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return json.dumps(value, allow_nan=False) if any("\ud800" <= letter <= "\udfff" for letter in text) else text


def _object_text(text: str) -> str | None:
    """The text itself, trimmed, if it is a JSON object."""
    try:
        return text.strip() if isinstance(_load(text), dict) else None
    except ValueError:
        return None


def _read_json(form: JsonCalls, body: str) -> list[ToolCall] | None:
    try:
        value = _load(body)
        items = value if form.many and isinstance(value, list) else [value]
        calls = [_one_call(item, form.arguments) for item in items]
    except ValueError:
        return None
    return calls or None


def _one_call(item: Json, keys: Sequence[str]) -> ToolCall:
    """{"name": ..., "arguments": ...}; arguments that are text must themselves be an object's JSON."""
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or not item["name"]:
        raise ValueError("no name")
    arguments: Json = next((item[key] for key in keys if key in item), {})
    if isinstance(arguments, str):
        arguments = _load(arguments)
    if not isinstance(arguments, dict):
        raise ValueError("arguments are no object")
    given = item.get("id")
    return ToolCall(item["name"], _dump(arguments), given if isinstance(given, str) else None)


def _read_parted(form: PartedCalls, body: str) -> list[ToolCall] | None:
    head, mark, rest = body.partition(form.arguments_mark)
    arguments = _object_text(rest) if mark else None
    call_id: str | None = None
    if form.name_mark:
        before, found, head = head.partition(form.name_mark)
        call_id = before.strip() or None
        if not found:
            return None
    name = head.strip()
    return [ToolCall(name, arguments, call_id)] if name and arguments is not None else None


def _read_key_value(form: KeyValueCalls, body: str, tools: Mapping[str, Mapping[str, Json]]) -> list[ToolCall] | None:
    pair = re.compile(r"\s*{}(.*?){}\s*{}(.*?){}\s*".format(*map(re.escape, (*form.key, *form.value))), re.DOTALL)
    start = body.find(form.key[0])
    name, at = (body if start < 0 else body[:start]).strip(), start
    if not re.fullmatch(r"[^\s<>]{1,256}", name):
        return None
    arguments: dict[str, Json] = {}
    while 0 <= at < len(body):
        found = pair.match(body, at)
        if found is None:
            return None
        key = found[1].strip()
        arguments[key] = _typed(found[2], tools.get(name, {}).get(key))
        at = found.end()
    try:
        return [ToolCall(name, _dump(arguments))]
    except ValueError:
        return None


def _typed(text: str, schema: Json) -> Json:
    """A value as the schema has it: a string stays as it is, anything else is JSON where it can be read as such."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind == "string":
        return text
    try:
        value = _load(text)
        return text if isinstance(value, str) else value  # strings are written without quotes
    except ValueError:
        return text
