"""Text to token ids and back, with the turn markers of a family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from ..errors import DokjaError
from .families import ChatFormat

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class Encoded:
    """Token ids; counted[i] is True where ids[i] is the text's own or ends it, False for markers around it."""

    ids: list[int]
    counted: list[bool]


def marker_ids(tokenizer: Tokenizer, chat: ChatFormat | None) -> tuple[int, ...]:
    """Ids that end a text: every marker does, for a model that opens a new turn has finished its own."""
    found = map(tokenizer.token_to_id, (END_OF_TEXT, *(chat.special if chat else ())))
    return tuple(index for index in found if index is not None)


class Codec:
    """A tokenizer together with a chat format.

    What a user writes is encoded with special tokens switched off, so that nobody can type a turn marker.
    """

    def __init__(self, tokenizer: Tokenizer, chat: ChatFormat) -> None:
        self.chat = chat
        self.tokenizer = tokenizer
        self._plain = Tokenizer.from_str(tokenizer.to_str())
        self._plain.encode_special_tokens = True
        self.end_of_text = self._special(END_OF_TEXT)
        self.end_of_turn = self._special(chat.end)
        self._openings = {role: self._marker(chat.opening(role)) for role in ("user", "assistant")}
        self._end = self._marker(chat.end)
        self._between = self._marker(chat.between) if chat.between else []

    @classmethod
    def load(cls, path: Path, chat: ChatFormat) -> Codec:
        """Read a tokenizer.json; a missing or broken one raises DokjaError."""
        try:
            return cls(Tokenizer.from_file(str(path)), chat)
        except Exception as error:  # the library raises plain Exception
            raise DokjaError(f"{path} is not a readable tokenizer.json ({error})") from error

    @property
    def vocab(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; markers in it are ordinary characters."""
        return self._plain.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many texts at once."""
        return [encoding.ids for encoding in self._plain.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens left out; bytes that are no UTF-8 become U+FFFD."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def running_text(self, ids: list[int]) -> Encoded:
        """A text's ids and the end of text."""
        return Encoded([*ids, self.end_of_text], [True] * (len(ids) + 1))

    def conversation(self, turns: Sequence[tuple[str, list[int]]], *, answers_only: bool) -> Encoded:
        """Turns given as (role, ids of the content), with markers, and the end of text after the last.

        answers_only: only the assistant's turns count.
        """
        ids: list[int] = []
        counted: list[bool] = []

        def add(piece: list[int], counts: bool) -> None:
            ids.extend(piece)
            counted.extend([counts] * len(piece))

        for role, content in turns:
            counts = role == "assistant" or not answers_only
            add(self._openings[role], False)
            add(content, counts)
            add(self._end, counts)
            add(self._between, False)
        add([self.end_of_text], False)
        return Encoded(ids, counted)

    def prompt(self, turns: Sequence[tuple[str, str]]) -> list[int]:
        """Ids of a conversation up to where the assistant is to answer, from the start of a text."""
        ids = [self.end_of_text]
        for role, content in turns:
            ids += [*self._openings[role], *self.encode(content), *self._end, *self._between]
        return ids + self._openings["assistant"]

    def _marker(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _special(self, token: str) -> int:
        index = self.tokenizer.token_to_id(token)
        if index is None:
            raise DokjaError(f"the tokenizer lacks the special token {token!r}: it was trained for another family")
        return index
