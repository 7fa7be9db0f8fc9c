"""The season board page, which looks again while the season is being played."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui

from .board_html import BoardView
from .shell import announce_language, box, head, text, top_bar
from .words import Lang, word

_EVERY = 5.0  # seconds between two looks


class BoardPage:
    """One reader's view of the board."""

    def __init__(self, board: Callable[[], Mapping[str, Any] | None], title: str, lang: Lang, *,
                 can_talk: bool) -> None:
        self.client = ui.context.client
        self.read = board
        self.title = title
        self.lang: Lang = lang
        self.can_talk = can_talk
        self.shown: Any = None
        self.timer: ui.timer | None = None

    def build(self) -> None:
        """Create the page for the current client."""
        head(self.lang)
        self.page()
        self.timer = ui.timer(_EVERY, self.look)

    @ui.refreshable_method
    def page(self) -> None:
        """Everything that depends on the language."""
        top_bar(self.lang, "board", self.switch_language)
        data = self.read()
        self.data = data
        with box("main", "board", id="main"):
            if data is None:
                with box("div", "empty"):
                    text("h1", word("no_board", self.lang))
                    text("p", word("no_board_more", self.lang), "soft")
                self.shown = None
            else:  # BoardView escapes every value
                self.shown = ui.html(self.html(data), sanitize=False)

    def html(self, data: Mapping[str, Any]) -> str:
        """The board in the reader's language."""
        return BoardView(data, self.lang, can_talk=self.can_talk).html()

    def look(self) -> None:
        """Show what has changed; a finished season is not looked at again."""
        data = self.read()
        if data != self.data:
            self.data = data
            if data is None or self.shown is None:
                self.page.refresh()
            else:
                self.shown.content = self.html(data)
        if data is not None and data.get("state") == "finished" and self.timer is not None:
            self.timer.deactivate()

    def switch_language(self) -> None:
        """Show the page in the other language."""
        self.lang = "en" if self.lang == "ko" else "ko"
        self.page.refresh()
        announce_language(self.client, self.lang, self.title)
