"""Split what a model writes into reasoning, answer and tool calls, as it comes.

The result does not depend on how the text is cut into pieces; every character is accounted for (an unfinished or
malformed call is content, character for character); nothing that a model writes raises an exception; the time is
linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

from .calls import Guard, ToolCall, guard, read_calls
from .marks import finder
from .syntax import Channels, JsonCalls, Mark, Syntax

RETRIES = 8  # how often an ended text is read again from behind a call that never ended
LONGEST_HEADER = 256
WINDOW = 1024  # how far a closing mark is looked for at once, since the call may turn out to be none before it


@dataclass(frozen=True)
class Reasoning:
    """A piece of the reasoning."""

    text: str


@dataclass(frozen=True)
class Content:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class Markup:
    """Text of the syntax itself, which is not shown; given out only on request."""

    text: str


Delta = Reasoning | Content | ToolCall | Markup


@dataclass(frozen=True)
class Parsed:
    """A whole text, split."""

    reasoning: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass
class _Capture:
    """A tool call or a channel header that is being read; it may turn out to be neither.

    opening: the mark before it (for a channel's body, the header). held: its text from earlier pieces; what came with
    the latest piece begins at `begin` in the parser's text. guard: None for a header. newlines: how many after it are
    its own.
    """

    opening: str
    guard: Guard | None
    begin: int
    held: list[str]
    name: str = ""
    newlines: int = 0


class StreamParser:
    """Feed it pieces of text; it answers with pieces of reasoning, of content, and whole tool calls.

    in_reasoning: whether the prompt has opened the reasoning (Syntax.opened_by). tools: the request's tools, which tell
    strings from numbers in forms that do not write types. markup: also give out the syntax's own text, so that the
    deltas together are the whole input.
    """

    def __init__(self, syntax: Syntax, *, in_reasoning: bool, tools: Iterable[Mapping[str, Any]] = (),
                 markup: bool = False) -> None:
        self._syntax = syntax
        self._markup = markup
        self._schemas = dict(_schema(tool) for tool in tools)
        self._text, self._at = "", 0  # what is not given out yet begins at _at
        self._mode: Literal["content", "reasoning"] = "reasoning" if in_reasoning else "content"
        self._blank = True  # nothing but white space in this mode so far
        self._newlines = max((mark.after for mark in syntax.marks if mark.does == "reason"), default=0) * in_reasoning
        self._fresh = not in_reasoning  # nothing at all so far
        self._capture: _Capture | None = None
        self._out: list[Delta] = []
        marks = [mark for mark in syntax.marks if not mark.at_start]
        self._find = {
            "start": finder(tuple(mark for mark in syntax.marks if mark.at_start)),
            "content": finder(tuple(mark for mark in marks if mark.does != "end")),
            "reasoning": finder(tuple(mark for mark in marks if mark.does in ("end", "reason"))),
            "close": finder(tuple(Mark(text, "drop") for text in (syntax.form.close if syntax.form else ()))),
        }

    @property
    def in_reasoning(self) -> bool:
        """Whether the text so far ends inside the reasoning."""
        return self._mode == "reasoning"

    def feed(self, text: str) -> list[Delta]:
        """What these characters make certain."""
        if self._capture is not None:
            self._capture.held.append(self._text[self._capture.begin:self._at])
            self._capture.begin = 0
        self._text, self._at = self._text[self._at:] + text, 0
        self._run(last=False)
        return self._taken()

    def close(self) -> list[Delta]:
        """The rest, when no more text comes."""
        self._run(last=True)
        tries = 0
        while (capture := self._capture) is not None:
            if not self._cut_off(capture):
                tries += 1
                if tries > RETRIES:  # calls that never end, one inside the other: the rest is read without calls
                    self._find["content"] = finder(tuple(
                        mark for mark in self._syntax.marks if mark.does in ("drop", "reason") and not mark.at_start))
                self._refuse(capture)
            self._run(last=True)
        return self._taken()

    def _taken(self) -> list[Delta]:
        """What is to be given out, neighbours of one kind joined."""
        out = [delta for delta in self._out if self._markup or not isinstance(delta, Markup)]
        self._out = []
        joined: list[Delta] = []
        for kind, same in groupby(out, key=type):
            if kind is ToolCall:
                joined += same
            else:
                text = "".join(delta.text for delta in same if not isinstance(delta, ToolCall))
                if text:
                    joined.append(kind(text))
        return joined

    # Steps over self._text from self._at. Each answers whether it went on; False waits for more text.

    def _run(self, *, last: bool) -> None:
        while self._at < len(self._text) and self._step(last):
            pass

    def _step(self, last: bool) -> bool:
        if self._capture is not None:
            return self._header(self._capture) if self._capture.guard is None else self._call(self._capture)
        if self._newlines:
            return self._layout()
        if self._fresh:
            found = self._find["start"].first(self._text, self._at)
            if found and found[0] == self._at:
                return self._marked(found[1], found[2])
            if not last and self._find["start"].safe(self._text, self._at) == self._at:
                return False  # it may still become a mark
            self._fresh = False
        found = self._find[self._mode].first(self._text, self._at)
        if found is None:
            return self._plain(len(self._text) if last else self._find[self._mode].safe(self._text, self._at))
        start, end, mark = found
        self._plain(start)
        misplaced = mark.does == "reason" and not self._blank and (mark.early or self._mode == "reasoning")
        return self._plain(end) if misplaced else self._marked(end, mark)

    def _plain(self, end: int) -> bool:
        """Text up to `end`, as it is."""
        text, self._at = self._text[self._at:end], end
        if text:
            self._blank = self._blank and not text.strip()
            self._out.append(Reasoning(text) if self._mode == "reasoning" else Content(text))
        return bool(text)

    def _layout(self) -> bool:
        """Newlines that belong to the mark before."""
        end = self._at
        while self._newlines and end < len(self._text) and self._text[end] == "\n":
            end, self._newlines = end + 1, self._newlines - 1
        if end < len(self._text):
            self._newlines = 0
        self._out.append(Markup(self._text[self._at:end]))
        self._at = end
        return True

    def _marked(self, end: int, mark: Mark) -> bool:
        """A whole mark, up to `end`."""
        text, self._at, self._fresh = self._text[self._at:end], end, False
        if mark.does in ("call", "header"):
            reader = guard(self._syntax.form) if mark.does == "call" and self._syntax.form else None
            self._capture = _Capture(text, reader, end, [], newlines=mark.before)
        else:
            self._out.append(Markup(text))
            self._newlines = mark.after
            if mark.does != "drop":
                self._mode, self._blank = ("reasoning" if mark.does == "reason" else "content"), True
        return True

    def _call(self, capture: _Capture) -> bool:
        """A call: up to a closing mark that its guard does not take for the call's own text."""
        close, window = self._find["close"], min(self._at + WINDOW, len(self._text))
        found = close.first(self._text, self._at, window)
        end = found[0] if found else close.safe(self._text, self._at, window)
        reader = capture.guard
        assert reader is not None
        reader.feed(self._text[self._at:end])
        went_on, self._at = end > self._at, end
        if reader.state == "bad":
            return self._refuse(capture)
        if found is None:
            return went_on
        if reader.state == "inside":
            reader.feed(self._text[end:found[1]])
            self._at = found[1]
            return True
        return self._ended(capture, found[1]) or self._refuse(capture)

    def _ended(self, capture: _Capture, end: int) -> bool:
        """The call is whole, its closing mark reaches to `end`; False if it says nothing that can be read."""
        assert self._syntax.form is not None
        body = "".join(capture.held) + self._text[capture.begin:self._at]
        calls = read_calls(self._syntax.form, body, self._schemas, capture.name)
        if calls is None:
            return False
        source = capture.opening + body + self._text[self._at:end]
        self._out += [replace(calls[0], source=source), *calls[1:]]
        self._at, self._capture, self._newlines, self._blank = end, None, capture.newlines, True
        return True

    def _cut_off(self, capture: _Capture) -> bool:
        """Whether the text ended where only the mark is missing that ends a turn, and there was a whole call."""
        form = self._syntax.form
        may = isinstance(form, Channels) or (isinstance(form, JsonCalls) and form.cut)
        if not may or capture.guard is None or capture.guard.state != "open" or self._at < len(self._text):
            return False
        return self._ended(capture, self._at)

    def _refuse(self, capture: _Capture) -> bool:
        """What was captured is no call: its opening is content, and what follows is read again as such."""
        if capture.held:
            self._text = "".join(capture.held) + self._text[capture.begin:]
            self._at = 0
        else:
            self._at = capture.begin
        self._capture, self._mode, self._blank = None, "content", False
        self._out.append(Content(capture.opening))
        return True

    def _header(self, capture: _Capture) -> bool:
        """A channel's header: up to the mark that ends it, if that comes soon."""
        form = self._syntax.form
        assert isinstance(form, Channels)
        before = "".join(capture.held)
        text = before + self._text[capture.begin:capture.begin + LONGEST_HEADER + len(form.message)]
        length = text.find(form.message)
        if length < 0 and len(text) < LONGEST_HEADER + len(form.message):
            self._at = len(self._text)
            return False
        whole = re.fullmatch(form.header, capture.opening + text[:length]) if 0 <= length <= LONGEST_HEADER else None
        if whole is None:
            return self._refuse(capture)
        self._at = capture.begin + length + len(form.message) - len(before)
        self._capture = None
        header = capture.opening + text[:length] + form.message
        if to := whole["to"] or whole["to2"]:
            name = to.removeprefix(form.namespace)
            self._capture = _Capture(header, guard(form), self._at, [], name)
        else:
            self._out.append(Markup(header))
            self._mode, self._blank = ("reasoning" if whole["channel"] == form.reasoning else "content"), True
        return True


def parse(text: str, syntax: Syntax, *, in_reasoning: bool = False, tools: Sequence[Mapping[str, Any]] = ()) -> Parsed:
    """A whole text at once."""
    parser = StreamParser(syntax, in_reasoning=in_reasoning, tools=tools)
    deltas = [*parser.feed(text), *parser.close()]
    return Parsed(
        "".join(delta.text for delta in deltas if isinstance(delta, Reasoning)),
        "".join(delta.text for delta in deltas if isinstance(delta, Content)),
        tuple(delta for delta in deltas if isinstance(delta, ToolCall)),
    )


def _schema(tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """A tool's name and the schemas of its parameters, as far as they are there."""
    function = tool.get("function")
    described = function if isinstance(function, Mapping) else tool
    parameters = described.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    return str(described.get("name")), properties if isinstance(properties, Mapping) else {}
