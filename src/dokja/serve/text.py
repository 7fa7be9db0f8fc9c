"""Tokens to text as they come: no half syllables, and nothing of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"


class TextStream:
    """Decode token by token.

    A Korean syllable is three bytes of UTF-8 and may lie over several tokens, so the tail of a decoded text may be a
    U+FFFD that the next token completes. That one character is held back; whatever stands before it is final.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._before: list[int] = []  # tokens already shown, kept so that a decoder that trims the first space agrees
        self._pending: list[int] = []
        self._shown = 0  # characters of `_pending` already given out

    def push(self, token: int) -> str:
        """The text that this token makes final; "" while a character is incomplete."""
        self._pending.append(token)
        text = self._decode(self._before + self._pending)[len(self._decode(self._before)):]
        final = text[:-1] if text.endswith(REPLACEMENT) else text
        new = final[self._shown:]
        if final == text and text:
            self._before, self._pending, self._shown = self._pending, [], 0
        else:
            self._shown = max(self._shown, len(final))
        return new


class StopStrings:
    """Cut a text before the first of some strings, holding back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """(text to show, whether a stop string was reached)."""
        held = self._held + text
        found = [at for at in (held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self._held = ""
            return held[: min(found)], True
        keep = max((_overlap(held, stop) for stop in self._stops), default=0)
        self._held = held[len(held) - keep:]
        return held[: len(held) - keep], False

    def flush(self) -> str:
        """What was held back, once no more text comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
