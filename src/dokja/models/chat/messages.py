"""Messages as the OpenAI API has them, checked at the edge and made even for the templates."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...errors import DokjaError

ROLES = ("system", "developer", "user", "assistant", "tool")
Message = dict[str, Any]
_BEGIN, _END = "\ufdd0", "\ufdd1"  # noncharacters: no text of a user or a template means anything by them


def even(messages: Sequence[Mapping[str, Any]], *, developer: bool) -> list[Message]:
    """Messages that every template can read.

    content is a string ("" for none); text parts are joined by a newline. A call's arguments are an object. A tool's
    message has the name of the tool it answers, found by its tool_call_id. A developer's message is a system message
    unless the template knows `developer`.

    Raises DokjaError, with the message's number, for what is no such message.
    """
    if not messages:
        raise DokjaError("the conversation has no messages: give at least one")
    names: dict[str, str] = {}
    done = []
    for number, message in enumerate(messages, start=1):
        where = f"message {number}"
        role = message.get("role")
        if role not in ROLES:
            raise DokjaError(f"{where} has the unknown role {role!r}: use one of {', '.join(ROLES)}")
        out: Message = {"role": "system" if role == "developer" and not developer else role,
                        "content": _text(message.get("content"), where)}
        reasoning = message.get("reasoning_content")
        if reasoning is not None and not isinstance(reasoning, str):
            raise DokjaError(f"{where} has a reasoning_content that is not text")
        if role == "assistant" and reasoning:
            out["reasoning_content"] = reasoning
        if calls := message.get("tool_calls"):
            if role != "assistant":
                raise DokjaError(f"{where} is of the role {role} and has tool_calls: only an assistant's message may")
            out["tool_calls"] = [_call(call, where) for call in calls]
            names |= {call["id"]: call["function"]["name"] for call in out["tool_calls"]}
        if role == "tool":
            answered = message.get("tool_call_id", "")
            out |= {"tool_call_id": answered, "name": message.get("name") or names.get(answered, "")}
        done.append(out)
    return done


def declared(tools: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Tools as `{"type": "function", "function": {...}}`, bare functions wrapped; DokjaError for one without a name."""
    done = []
    for number, tool in enumerate(tools or (), start=1):
        function = tool.get("function", tool)
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
            raise DokjaError(f"tool {number} is no function with a name")
        done.append({"type": "function", "function": dict(function)})
    return done


def with_json_arguments(messages: Sequence[Message]) -> list[Message]:
    """The same messages with every call's arguments as JSON text."""
    def written(call: dict[str, Any]) -> dict[str, Any]:
        function = call["function"]
        return {**call, "function": {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}}

    return [{**message, "tool_calls": [written(call) for call in message["tool_calls"]]} if "tool_calls" in message
            else message for message in messages]


def marked(value: Any, special: Collection[str]) -> Any:
    """Messages or tools with every special token in their texts between two characters that stand for nothing."""
    if not special:
        return value
    tokens = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))))

    def mark(value: Any) -> Any:
        if isinstance(value, str):
            return tokens.sub(rf"{_BEGIN}\g<0>{_END}", value.replace(_BEGIN, "").replace(_END, ""))
        if isinstance(value, Mapping):
            return {mark(key): mark(part) for key, part in value.items()}
        return [mark(part) for part in value] if isinstance(value, (list, tuple)) else value

    return mark(value)


def parted(text: str) -> list[tuple[str, bool]]:
    """A rendered text in pieces: (text, whether it was marked)."""
    pieces = re.split(f"{_BEGIN}(.*?){_END}", text, flags=re.DOTALL)
    return [(piece.replace(_BEGIN, "").replace(_END, ""), at % 2 == 1) for at, piece in enumerate(pieces) if piece]


def _text(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        if len(parts) == len(content) and all(isinstance(part, str) for part in parts):
            return "\n".join(str(part) for part in parts)
    raise DokjaError(f"{where} has a content that is not text: give a string or a list of text parts")


def _call(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise DokjaError(f"{where} has a tool call without a function name")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError) as error:
            raise DokjaError(f"{where} calls {function['name']} with arguments that are no JSON ({error})") from error
    if not isinstance(arguments, Mapping):
        raise DokjaError(f"{where} calls {function['name']} with arguments that are no JSON object")
    return {"id": str(call.get("id") or ""), "type": "function",
            "function": {"name": function["name"], "arguments": dict(arguments)}}
