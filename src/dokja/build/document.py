"""What flows through the corpus: a document is running text or a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Document:
    """Running text (`text`) or a conversation (`turns`); exactly one of the two is filled.

    source: where it came from, such as "korean/story" or a file's name; kept in the corpus manifest.
    exercise: a question with one right answer, which is what training is to learn of it.
    """

    source: str
    text: str = ""
    turns: tuple[Turn, ...] = ()
    exercise: bool = False

    def __post_init__(self) -> None:
        if bool(self.text) == bool(self.turns):
            raise ValueError(f"a document of {self.source} needs either text or turns")

    @property
    def content(self) -> str:
        """All that a reader would see, turns on lines of their own; what bits per byte are counted over."""
        return self.text or "\n".join(turn.content for turn in self.turns)
