"""The list of a visitor's conversations, and the head of the one that is open."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from nicegui import ui

from ..store import Conversation
from .shell import box, text
from .words import Lang, word


class Sidebar:
    """Links to conversations; on a narrow screen a panel that a button opens."""

    def __init__(self) -> None:
        self.conversations: list[Conversation] = []
        self.current: str | None = None

    def build(self, lang: Lang) -> None:
        """Create it; `page.css` shows it beside the conversation where there is room."""
        self.lang: Lang = lang
        with box("aside", "side", id="side", aria_label=word("conversations", lang)):
            with box("div", "side-head"):
                text("a", word("new", lang), "new", href="/")
                text("button", word("close", lang), "quiet side-close", type="button").on(
                    "click", js_handler="() => dokja.side(false)")
            self.links()

    @ui.refreshable_method
    def links(self) -> None:
        """One link a conversation."""
        if not self.conversations:
            text("p", word("no_conversations", self.lang), "soft small")
            return
        with box("ul"):
            for conversation in self.conversations:
                with box("li"):
                    title = conversation.title or word("untitled", self.lang)
                    link = text("a", title, href=f"/c/{conversation.id}", dir="auto", title=title)
                    if conversation.id == self.current:
                        link.props["aria-current"] = "page"

    def show(self, conversations: list[Conversation], current: str | None) -> None:
        """Show these, if they are others than before."""
        def seen(listed: list[Conversation]) -> list[tuple[str, str]]:
            return [(conversation.id, conversation.title) for conversation in listed]

        if (seen(conversations), current) != (seen(self.conversations), self.current):
            self.conversations, self.current = conversations, current
            self.links.refresh()


def heading(conversation: Conversation, lang: Lang, *, rename: Callable[[Any], Any], delete: Callable[[], Any]) -> None:
    """The title of a conversation and what can be done with it."""
    def script(key: str) -> str:
        return json.dumps(word(key, lang))

    text("h1", conversation.title or word("untitled", lang), "title", dir="auto")
    with box("details", "menu"):
        text("summary", word("manage", lang), "quiet")
        with box("div", "menu-in"):
            text("button", word("rename", lang), "rename", type="button").on(
                "click", rename, js_handler=f"async () => {{ const said = await dokja.ask({script('rename_label')}, "
                f"{script('save')}, {script('cancel')}, document.querySelector('.title').textContent); "
                "if (said !== null) emit(said); }")
            for kind in ("json", "md"):
                text("a", word(f"export_{kind}", lang), href=f"/c/{conversation.id}/export.{kind}", download="")
            text("button", word("delete", lang), "delete", type="button").on(
                "click", delete, js_handler=f"async () => {{ if (await dokja.ask({script('delete_sure')}, "
                f"{script('delete')}, {script('cancel')}) !== null) emit(); }}")
