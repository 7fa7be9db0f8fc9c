"""Korean text of the project's own: stories, diaries, notices, dialogues, explanations, conversations from a grammar.

A document is a pure function of (seed, index): a plan (people, places, things, numbers) is drawn, then told in varied
sentences; questions ask about the plan, so that their answers are true. Nothing is copied from anyone's text.
"""

from __future__ import annotations

from collections.abc import Iterator

from dokja.build.document import Document
from dokja.build.korean.compose import KINDS, compose_document

__all__ = ["KINDS", "document", "documents"]


def document(seed: int, index: int) -> Document:
    """The document at `index` (0 and up) of the endless text of a seed."""
    return compose_document(seed, index)


def documents(seed: int, start: int = 0, stop: int | None = None) -> Iterator[Document]:
    """The documents from `start` up to `stop` (endless when it is None)."""
    index = start
    while stop is None or index < stop:
        yield compose_document(seed, index)
        index += 1
