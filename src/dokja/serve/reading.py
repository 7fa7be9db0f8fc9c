"""The text of an answer as pieces: reasoning, content with its log-probabilities, tool calls."""

from __future__ import annotations

import json
import re
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from ..models import chat
from ..models.chat import Markup, StreamParser, Syntax, ToolCall
from .service import Content, Piece, Reasoning, TokenText, ToolCallDelta


class Reader:
    """Feed it text with the tokens that begin there; it answers with pieces.

    Tokens are told apart by where in the text they begin, so a token belongs to the answer exactly if its first
    character does. reasoning_tokens: how many began in the reasoning so far. calls: how many tool calls there were.
    """

    def __init__(self) -> None:
        self.reasoning_tokens = 0
        self.calls = 0
        self._waiting: deque[tuple[int, TokenText | None]] = deque()  # where a token begins
        self._read = self._given = 0  # characters that came in and went out

    def token(self, text: str, logprob: TokenText | None) -> None:
        """A token, whose text (none while a character is incomplete) `feed` will bring."""
        self._waiting.append((self._read, logprob))
        self._read += len(text)

    def feed(self, text: str) -> list[Piece]:
        """What this text makes certain; it may come later than its tokens."""
        raise NotImplementedError

    def close(self) -> list[Piece]:
        """The rest."""
        raise NotImplementedError

    def _begun(self, length: int) -> list[TokenText | None]:
        """The tokens that begin in the next `length` characters, which go out now."""
        self._given += length
        begun = []
        while self._waiting and self._waiting[0][0] < self._given:
            begun.append(self._waiting.popleft()[1])
        return begun

    def _content(self, text: str) -> Content:
        return Content(text, tuple(token for token in self._begun(len(text)) if token))


class PlainReader(Reader):
    """All of it is content: completions, and answers that match a grammar."""

    def feed(self, text: str) -> list[Piece]:
        return [self._content(text)] if text else []

    def close(self) -> list[Piece]:
        rest = tuple(token for at, token in self._waiting if token and at <= self._given)
        return [Content("", rest)] if rest else []


class ParsedReader(Reader):
    """A family's syntax tells reasoning, content and calls apart; without tools a call is only text."""

    def __init__(self, syntax: Syntax, *, in_reasoning: bool, tools: Sequence[Mapping[str, Any]], many: bool) -> None:
        super().__init__()
        self._parser = StreamParser(syntax, in_reasoning=in_reasoning, tools=tools, markup=True)
        self._tools, self._many = bool(tools), many

    @property
    def in_reasoning(self) -> bool:
        return self._parser.in_reasoning

    @property
    def full(self) -> bool:
        """Whether the one tool call that was wanted is there."""
        return not self._many and self.calls > 0

    def feed(self, text: str) -> list[Piece]:
        return self._pieces(self._parser.feed(text))

    def close(self) -> list[Piece]:
        return self._pieces(self._parser.close())

    def _pieces(self, deltas: Sequence[chat.parser.Delta]) -> list[Piece]:
        pieces: list[Piece] = []
        for delta in deltas:
            match delta:
                case chat.Reasoning(text):
                    self.reasoning_tokens += len(self._begun(len(text)))
                    pieces.append(Reasoning(text))
                case chat.Content(text):
                    pieces.append(self._content(text))
                case Markup(text):
                    self._begun(len(text))
                case ToolCall() if not self._tools:
                    pieces.append(self._content(delta.source))
                case ToolCall():
                    self._begun(len(delta.source))
                    if not self.full:
                        pieces.append(ToolCallDelta(self.calls, delta.arguments, delta.id or call_id(), delta.name))
                        self.calls += 1
        return [piece for piece in pieces if not isinstance(piece, Content) or piece.text]


class NamedReader(Reader):
    """A grammar made the model write one tool's arguments and nothing else."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def feed(self, text: str) -> list[Piece]:
        self._begun(len(text))
        if not text:
            return []
        first = self.calls == 0
        self.calls = 1
        return [ToolCallDelta(0, text, call_id() if first else None, self._name if first else None)]

    def close(self) -> list[Piece]:
        return []


class RequiredReader(Reader):
    """A grammar made the model write a list of calls; each one's arguments come as they are written."""

    _HEAD = re.compile(r'[\s\[\]{},]*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"parameters"\s*:\s*(?=\{)')

    def __init__(self) -> None:
        super().__init__()
        self._text = ""  # what has not gone out
        self._depth: int | None = None  # brackets that are open in the arguments; None between two calls
        self._quoted = self._escaped = False

    def feed(self, text: str) -> list[Piece]:
        self._text += text
        pieces: list[Piece] = []
        while self._text:
            if self._depth is None:
                head = self._HEAD.match(self._text)
                if head is None:
                    break
                pieces.append(ToolCallDelta(self.calls, "", call_id(), json.loads(head[1])))
                self._text, self._depth = self._text[head.end():], 0
                self._begun(head.end())
                self.calls += 1
            else:
                pieces.append(ToolCallDelta(self.calls - 1, self._arguments()))
        return pieces

    def close(self) -> list[Piece]:
        return [self._content(self._text)] if self._text and not self.calls else []

    def _arguments(self) -> str:
        """As much of one call's arguments as is there."""
        end = 0
        while self._depth is not None and end < len(self._text):
            letter, end = self._text[end], end + 1
            if self._quoted:
                self._quoted = self._escaped or letter != '"'
                self._escaped = letter == "\\" and not self._escaped
            elif letter == '"':
                self._quoted = True
            else:
                self._depth += (letter in "{[") - (letter in "}]")
                self._depth = self._depth or None
        found, self._text = self._text[:end], self._text[end:]
        self._begun(end)
        return found


def call_id() -> str:
    """A fresh id for a tool call whose family writes none."""
    return f"call_{uuid.uuid4().hex[:24]}"
