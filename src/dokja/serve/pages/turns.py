"""Messages as elements. Text that people typed or models wrote is only ever text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from ..store import Message
from .shell import box, text
from .words import Lang, word
from .writing import Writing

# What is said below an answer that did not end by itself.
_ENDS: dict[str | None, str] = {"length": "cut", "stopped": "stopped", "failed": "failed", None: "unfinished"}


class LiveText:
    """An answer that is being written: its folded reasoning and its text, which grow."""

    def __init__(self, lang: Lang) -> None:
        self._lang: Lang = lang
        self._thought = box("details", "thought")
        with self._thought:
            self._summary = text("summary", word("thinking", lang))
            self._reasoning = text("div", "", "thought-text", lang="ko")
        self._thought.set_visibility(False)
        self._content = text("div", "", "text", lang="ko", dir="auto")

    def grow(self, content: str, reasoning: str) -> None:
        """Show what there is now."""
        if reasoning and reasoning != self._reasoning.text:
            self._thought.set_visibility(True)
            self._reasoning.text = reasoning
        if content != self._content.text:
            self._content.text = content
            if content and reasoning:
                self._summary.text = word("thought", self._lang)


def live(who: str, writing: Writing, lang: Lang) -> tuple[ui.element, LiveText]:
    """The element of an answer that is being written. A screen reader waits until it is whole."""
    with box("div", "turn assistant live", aria_busy="true") as element:
        text("span", who, "who")
        growing = LiveText(lang)
    growing.grow(writing.content, writing.reasoning)
    return element, growing


def question(message: Message, lang: Lang, *, edit: Callable[[], Any]) -> ui.element:
    """A reader's message."""
    with box("div", "turn user") as element:
        text("span", word("you", lang), "who")
        text("div", message.content, "text", lang="ko", dir="auto")
        with box("div", "acts"):
            copy_button(lang)
            text("button", word("edit", lang), "act edit", type="button").on("click", edit)
    return element


def editor(message: Message, lang: Lang, *, send: Callable[[object], Any], cancel: Callable[[], Any]) -> ui.element:
    """A reader's message being changed."""
    with box("div", "turn user editing") as element:
        text("textarea", message.content, "edit-text", rows=3, aria_label=word("edit_label", lang), lang="ko")
        text("p", word("edit_more", lang), "small soft")
        with box("div", "acts"):
            text("button", word("cancel", lang), "quiet cancel", type="button").on("click", cancel)
            text("button", word("send", lang), "main-button resend", type="button").on(
                "click", lambda event: send(event.args),
                js_handler="(e) => emit(e.target.closest('.turn').querySelector('textarea').value)")
    return element


def answer(message: Message, who: str, lang: Lang, *, retry: Callable[[], Any]) -> ui.element:
    """A finished answer with its reasoning folded, and what is to be said about it."""
    with box("div", "turn assistant") as element:
        text("span", who, "who")
        written(message.content, message.reasoning, lang)
        _notes(message.finish, message.notices, lang)
        with box("div", "acts"):
            if message.content:
                copy_button(lang)
            text("button", word("retry", lang), "act retry", type="button").on("click", retry)
    return element


def written(content: str, reasoning: str, lang: Lang) -> None:
    """The text of an answer, and the reasoning before it."""
    if reasoning:
        with box("details", "thought"):
            text("summary", word("thought", lang))
            text("div", reasoning, "thought-text", lang="ko")
    text("div", content or word("silent", lang), "text", lang="ko", dir="auto")


def _notes(finish: str | None, notices: list[Any], lang: Lang) -> None:
    ends: list[tuple[str, dict[str, Any]]] = [(_ENDS[finish], {})] if finish in _ENDS else []
    for key, values in (*ends, *notices):
        text("span", word(key, lang, **values), "who note")


def copy_button(lang: Lang) -> None:
    """Copies the text of the message it stands in."""
    text("button", word("copy", lang), "act copy", type="button", data_done=word("copied", lang)).on(
        "click", js_handler="(e) => dokja.copy(e.currentTarget)")


def problem(key: str, values: dict[str, Any], lang: Lang) -> ui.element:
    """What the page itself has to say, at once."""
    with box("div", "turn problem", role="alert") as element:
        text("div", word(key, lang, **values), "text")
    return element


def unchangeable(writing: Writing, who: str, lang: Lang) -> None:
    """A finished answer that is not to be asked for again."""
    with box("div", "turn assistant"):
        text("span", who, "who")
        written(writing.content, writing.reasoning, lang)
        _notes(writing.finish, writing.notices, lang)


def send_or_stop(lang: Lang, *, writing: bool, send: Callable[[object], Any], stop: Callable[[], Any]) -> None:
    """The composer's button; `send` gets what was typed."""
    if writing:
        text("button", word("stop", lang), "main-button stop", type="button").on("click", stop)
    else:
        text("button", word("send", lang), "main-button send", type="button").on(
            "click", lambda event: send(event.args),
            js_handler="() => { const t = dokja.take(); if (t !== null) emit(t); }")
