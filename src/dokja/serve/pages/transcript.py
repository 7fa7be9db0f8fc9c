"""The messages of a conversation on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from nicegui import ui

from ..store import Message
from . import turns
from .shell import box, text
from .words import Lang, word
from .writing import Writing

# Questions that the models have been trained on in kind, and everyday talk; always Korean, whatever the interface.
EXAMPLES = (
    "'책' 뒤에 맞는 것은 '은'입니까, '는'입니까?",
    "17 + 25 = ?",
    "목요일에서 3일 뒤는 무슨 요일입니까?",
    "ㅊ, ㅐ, ㄱ을 모아 쓰면?",
    "안녕하세요?",
)
_Key = tuple[Any, ...]


class Actions(Protocol):
    """What a reader can do with messages."""

    @property
    def pocket(self) -> bool: ...
    def team(self, model: str) -> str: ...
    async def send(self, message: object, cut: Message | None = None) -> None: ...
    async def retry(self, message: Message) -> None: ...
    def edit(self, message: str | None) -> None: ...


class Transcript:
    """Shows messages; what has not changed stays as it is, so that a screen reader hears only what is new."""

    def __init__(self, actions: Actions, lang: Lang) -> None:
        self._do = actions
        self._lang: Lang = lang
        self._log = box("div", "log", role="log", aria_label=word("log", lang))
        self._shown: list[tuple[_Key, ui.element]] = []
        self._growing: turns.LiveText | None = None

    def show(self, messages: Sequence[Message], writing: Writing | None, *, editing: str | None,
             trouble: tuple[str, dict[str, Any]] | None) -> None:
        """Bring the elements in line, from the first that differs.

        writing: the last message while it is written. editing: id of the message that is being changed. trouble: what
        the page has to say at the end, as a key of its words with values.
        """
        wanted: list[tuple[_Key, Message | None]] = [] if messages else [(("examples", self._do.pocket), None)]
        for message in messages:
            live = writing is not None and message is messages[-1]
            state = "live" if live else "edit" if message.id == editing else message.finish
            wanted.append(((message.id, state), message))
        if trouble:
            wanted.append((("trouble", *trouble), None))
        same = 0
        while same < min(len(wanted), len(self._shown)) and wanted[same][0] == self._shown[same][0]:
            same += 1
        for key, element in self._shown[same:]:
            element.delete()
            if key[1:] == ("live",):
                self._growing = None
        del self._shown[same:]
        for key, shown in wanted[same:]:
            with self._log:
                self._shown.append((key, self._element(key, shown, writing)))

    def grow(self, writing: Writing | None) -> None:
        """Show more of the answer that is being written."""
        if self._growing is not None and writing is not None:
            self._growing.grow(writing.content, writing.reasoning)

    def _element(self, key: _Key, message: Message | None, writing: Writing | None) -> ui.element:
        lang, do = self._lang, self._do
        if message is None:
            return self._examples() if key[0] == "examples" else turns.problem(key[1], key[2], lang)
        if key[1] == "live":
            assert writing is not None
            element, self._growing = turns.live(do.team(message.model), writing, lang)
            return element
        if key[1] == "edit":
            return turns.editor(message, lang, send=lambda said: do.send(said, message), cancel=lambda: do.edit(None))
        if message.role == "user":
            return turns.question(message, lang, edit=lambda: do.edit(message.id))
        return turns.answer(message, do.team(message.model), lang, retry=lambda: do.retry(message))

    def _examples(self) -> ui.element:
        with box("div", "empty") as element:
            if not self._do.pocket:
                text("h2", word("empty_any", self._lang))
                return element
            text("h2", word("empty", self._lang))
            text("p", word("empty_more", self._lang), "soft")
            with box("div", "examples"):
                for example in EXAMPLES:
                    text("button", example, type="button", lang="ko").on("click", lambda _, e=example: self._do.send(e))
        return element
