"""What a family file holds: the official spec and how its chat turns are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..spec import ModelSpec


@dataclass(frozen=True)
class ChatFormat:
    """How a conversation becomes text: each turn is its role's opening, the content, `end`, and `between` after it.

    special: the markers that the tokenizer must keep whole.
    """

    user: str
    assistant: str
    end: str
    between: str
    special: tuple[str, ...]

    def turn(self, role: str, content: str) -> str:
        """One finished turn, without what stands between turns."""
        return self.opening(role) + content + self.end

    def opening(self, role: str) -> str:
        """What stands before a turn's content."""
        return {"user": self.user, "assistant": self.assistant}[role]

    def prompt(self, turns: Sequence[tuple[str, str]]) -> str:
        """The conversation so far, as (role, content), ending where the assistant is to go on."""
        return "".join(self.turn(role, content) + self.between for role, content in turns) + self.assistant


@dataclass(frozen=True)
class Family:
    """One published architecture.

    name: as typed on the command line. source: where the spec's values were read.
    """

    name: str
    title: str
    company: str
    spec: ModelSpec
    chat: ChatFormat
    source: str
