"""Cutting: long text into passages, long conversations into shorter ones, at the places where a reader would pause."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from dokja.build.document import Turn

# The end of a sentence, its closing quotes and brackets, and the space after it; Korean sentences end in . ! ? as well.
_SENTENCE = re.compile(r"[.!?。！？…][\"'”’」』)\]]*\s+")


def cut(text: str, limit: int) -> Iterator[str]:
    """Cut `text` into passages of at most `limit` characters whose concatenation is `text` again.

    A passage ends at the last blank line in reach, else at the last line end, the last sentence end, the last space;
    in text with none of them at `limit`, or up to 32 characters before it so as not to part a letter from its
    combining marks or a Hangul syllable that is spelt out in conjoining jamo. Boundaries in the first quarter of the
    reach are passed over for the next kind, so that no sliver is made.
    """
    if limit < 128:
        raise ValueError(f"a passage of {limit} characters is too short to look for a boundary in; use at least 128")
    start = 0
    while len(text) - start > limit:
        end = _boundary(text, start + limit // 4, start + limit)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _boundary(text: str, low: int, high: int) -> int:
    """Where to cut text so that the cut lies in (low, high]."""
    for mark in ("\n\n", "\n"):
        found = text.rfind(mark, low, high)
        if found >= 0:
            return found + len(mark)
    last = None
    for last in _SENTENCE.finditer(text, low, high):  # noqa: B007 - the last match is what is wanted
        pass
    if last is not None:
        return last.end()
    found = text.rfind(" ", low, high)
    if found >= 0:
        return found + 1
    end = high
    while _joined(text[end]) and high - end < 32:
        end -= 1
    return high if _joined(text[end]) else end


def _joined(char: str) -> bool:
    """Whether `char` belongs with the character before it: a combining mark, a joiner, a conjoining vowel or final."""
    return (
        unicodedata.category(char)[0] == "M"
        or char == "\u200d"
        or "\u1160" <= char <= "\u11ff"
        or "\ud7b0" <= char <= "\ud7fb"
    )


def cut_conversation(turns: tuple[Turn, ...], limit: int) -> Iterator[tuple[Turn, ...]]:
    """Cut a conversation before user turns, into conversations of at most `limit` characters where that is possible.

    One exchange that is longer by itself comes out whole; the caller decides what to do with it.
    """
    held: list[Turn] = []
    length = 0
    exchange: list[Turn] = []
    for turn in (*turns, None):
        if exchange and (turn is None or turn.role == "user"):
            size = sum(len(part.content) for part in exchange)
            if held and length + size > limit:
                yield tuple(held)
                held, length = [], 0
            held += exchange
            length += size
            exchange = []
        if turn is not None:
            exchange.append(turn)
    if held:
        yield tuple(held)
