"""A response as it grows: its output items, and the events that tell of each step."""

from __future__ import annotations

import copy
import uuid
from typing import Any

from ..service import Content, End, Piece, Reasoning, ToolCallDelta, Usage
from .shapes import logprob_body

Event = dict[str, Any]
_TEXT = {"message": "output_text", "reasoning": "reasoning_text"}  # the part type of an item, and of its events


class Items:
    """Feed it pieces; it answers with events and keeps `response`, the object that the last event carries.

    Order (OpenAI): created, in_progress; for each item output_item.added, content_part.added, deltas, the text's done,
    content_part.done, output_item.done (calls: no parts, function_call_arguments instead); completed or incomplete.
    """

    def __init__(self, name: str, frame: dict[str, Any], *, logprobs: bool) -> None:
        self.response = frame
        self.end: End | None = None
        self._name, self._logprobs = name, logprobs
        self._item: dict[str, Any] | None = None
        self._call = -1
        self._number = 0

    def begin(self) -> list[Event]:
        """The events before anything is written."""
        return [self._event(f"response.{name}", response=copy.deepcopy(self.response))
                for name in ("created", "in_progress")]

    def add(self, piece: Piece) -> list[Event]:
        """The events of one piece; `end` is set by the last, after which `close` is due."""
        match piece:
            case Reasoning(text):
                return [*self._open("reasoning"), self._grow("reasoning", text)]
            case Content(text, logprobs):
                events = [*self._open("message"), self._grow("message", text)]
                if self._logprobs and self._item is not None:
                    told = [logprob_body(token) for token in logprobs]
                    self._item["content"][0]["logprobs"] += told
                    events[-1]["logprobs"] = told
                return events
            case ToolCallDelta(index, arguments, given, name):
                events = self._open_call(index, given, name)
                assert self._item is not None
                self._item["arguments"] += arguments
                return [*events, self._of_item("response.function_call_arguments.delta", delta=arguments)]
            case End():
                self.end = piece
        return []

    def close(self, end: End) -> list[Event]:
        """The last events: what is open is done, and the response complete or cut."""
        cut = end.finish == "length"
        events = self._done("incomplete" if cut else "completed")
        self.response |= {"status": "incomplete" if cut else "completed", "usage": _usage(end.usage),
                          "incomplete_details": {"reason": "max_output_tokens"} if cut else None}
        return [*events, self._event(f"response.{self.response['status']}", response=self.response)]

    def fail(self, error: dict[str, Any]) -> Event:
        """The event of a response that cannot go on."""
        self.response |= {"status": "failed", "error": {"code": error["code"] or "server_error",
                                                        "message": error["message"]}}
        return self._event("response.failed", response=self.response)

    def _open(self, kind: str) -> list[Event]:
        if self._item is not None and self._item["type"] == kind:
            return []
        events = self._done()
        item: dict[str, Any] = {"id": f"{kind[:3]}_{uuid.uuid4().hex}", "type": kind, "status": "in_progress"}
        if kind == "message":
            item["role"] = "assistant"
        else:
            item["summary"] = []
        part: dict[str, Any] = {"type": _TEXT[kind], "text": ""}
        if kind == "message":
            part |= {"annotations": [], "logprobs": []}
        events.append(self._added({**item, "content": []}))
        assert self._item is not None
        self._item["content"].append(part)
        return [*events, self._of_item("response.content_part.added", content_index=0, part=copy.deepcopy(part))]

    def _open_call(self, index: int, given: str | None, name: str | None) -> list[Event]:
        if index == self._call:
            return []
        events = self._done()
        self._call = index
        return [*events, self._added({"id": f"fc_{uuid.uuid4().hex}", "type": "function_call", "call_id": given,
                                      "name": name, "arguments": "", "status": "in_progress"})]

    def _added(self, item: dict[str, Any]) -> Event:
        self._item = item
        self.response["output"].append(item)
        return self._of_item("response.output_item.added", with_id=False, item=copy.deepcopy(item))

    def _grow(self, kind: str, text: str) -> Event:
        assert self._item is not None
        self._item["content"][0]["text"] += text
        more: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        return self._of_item(f"response.{_TEXT[kind]}.delta", content_index=0, delta=text, **more)

    def _done(self, status: str = "completed") -> list[Event]:
        """The events that end the open item."""
        item = self._item
        if item is None:
            return []
        item["status"] = status
        if item["type"] == "function_call":
            events = [self._of_item("response.function_call_arguments.done", arguments=item["arguments"],
                                    name=item["name"])]
        else:
            part = item["content"][0]
            more = {"logprobs": part["logprobs"]} if item["type"] == "message" else {}
            events = [
                self._of_item(f"response.{_TEXT[item['type']]}.done", content_index=0, text=part["text"], **more),
                self._of_item("response.content_part.done", content_index=0, part=copy.deepcopy(part))]
        events.append(self._of_item("response.output_item.done", with_id=False, item=copy.deepcopy(item)))
        self._item = None
        return events

    def _of_item(self, kind: str, *, with_id: bool = True, **more: Any) -> Event:
        assert self._item is not None
        named = {"item_id": self._item["id"]} if with_id else {}
        return self._event(kind, **named, output_index=len(self.response["output"]) - 1, **more)

    def _event(self, kind: str, **more: Any) -> Event:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **more}


def _usage(usage: Usage) -> dict[str, Any]:
    return {"input_tokens": usage.prompt, "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.completion, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.prompt + usage.completion}
