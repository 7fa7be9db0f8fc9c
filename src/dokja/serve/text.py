"""Tokens to text as they come: no half syllables, and nothing of a stop string."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from tokenizers import Tokenizer

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
    """Cut a text before the first of some strings (include: after it), holding back what may begin one.

    reached: whether one came.
    """

    def __init__(self, stops: Sequence[str], *, include: bool = False) -> None:
        self._stops = tuple(stops)
        self._include = include
        self._held = ""
        self.reached = False

    def push(self, text: str) -> tuple[str, bool]:
        """(text to show, whether a stop string was reached)."""
        if not self._stops:
            return text, False
        held = self._held + text
        found = [(at, at + len(stop) * self._include) for stop in self._stops if (at := held.find(stop)) >= 0]
        if found:
            self._held, self.reached = "", True
            return held[: min(found)[1]], True
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


class Vocabulary:
    """A tokenizer's tokens one by one: the text and the bytes that each stands for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._byte_level = "ByteLevel" in json.dumps(json.loads(tokenizer.to_str())["decoder"])
        self._added = {index: token.content for index, token in tokenizer.get_added_tokens_decoder().items()}
        self.special = {index: token.content for index, token in tokenizer.get_added_tokens_decoder().items()
                        if token.special}
        self._hidden: dict[frozenset[str], frozenset[int]] = {}

    def hidden(self, shown: frozenset[str]) -> frozenset[int]:
        """The special tokens, except those of these texts."""
        if shown not in self._hidden:  # kept: a vocabulary may have thousands
            self._hidden[shown] = frozenset(token for token, text in self.special.items() if text not in shown)
        return self._hidden[shown]

    def data(self, token: int) -> bytes:
        """The token's bytes; part of a character where a character is several tokens."""
        piece = self._tokenizer.id_to_token(token) or ""
        if token in self._added:
            return piece.encode()
        if self._byte_level:
            return bytes(_BYTES[letter] for letter in piece if letter in _BYTES)
        if found := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", piece):
            return bytes.fromhex(found[1])
        return piece.replace("▁", " ").encode()

    def text(self, token: int) -> str:
        """The same as text; bytes that are no whole characters as OpenAI writes them: bytes:\\xec\\x84."""
        return shown(self.data(token))


def shown(data: bytes) -> str:
    """A token's bytes as text, or as OpenAI writes what is no whole characters."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def _alphabet() -> dict[str, int]:
    """GPT-2's letters for bytes: printable ones stand for themselves, the rest follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(rest)}


_BYTES = _alphabet()
