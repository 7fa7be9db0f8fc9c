"""The chat page: conversations with the served models, streamed as they are written and kept in the store."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from nicegui import ui

from ...errors import DokjaError
from ..store import ChangedError, Conversation, GoneError, Message, Settings
from . import turns
from .card import ModelCard, known, pocket, team
from .desk import Desk
from .door import Allowance
from .problems import reason, too_long
from .shell import announce_language, box, composer, head, shortcuts, text, top_bar
from .sidebar import Sidebar, heading
from .transcript import Transcript
from .words import Lang, word


class ChatPage:
    """One reader's view of one conversation; lives as long as the browser's page."""

    def __init__(self, desk: Desk, visitor: str, allowance: Allowance, title: str, lang: Lang) -> None:
        # Kept, because a button that was clicked may be gone by the time its handler speaks to the browser.
        self.client = ui.context.client
        self.desk = desk
        self.visitor = visitor
        self.allowance = allowance
        self.title = title
        self.lang: Lang = lang
        self.models = desk.service.models()
        self.settings = Settings(next(iter(self.models)))
        self.conversation: Conversation | None = None
        self.messages: list[Message] = []
        self.editing: str | None = None  # id of the message that is being changed
        self.asking = asyncio.Lock()
        self.sidebar = Sidebar()
        self.card = ModelCard(self.models, self.configure)
        self.transcript: Any = None
        self.trouble: tuple[str, dict[str, Any]] | None = None

    async def build(self, conversation: str | None) -> None:
        """Create the page for the current client; a conversation that is not there says so."""
        head(self.lang)
        self.client.on_delete(self.leave)
        self.sidebar.conversations = await asyncio.to_thread(self.desk.store.conversations, self.visitor)
        if conversation is not None:
            try:
                await self.load(conversation)
            except GoneError:
                self.trouble = ("gone", {})
        self.sidebar.current = self.conversation.id if self.conversation else None
        self.page()
        self.desk.watch(self.visitor, self.noticed)

    async def load(self, conversation: str) -> None:
        """Read a conversation and follow it; GoneError."""
        found, self.messages = await asyncio.to_thread(self.desk.store.conversation, self.visitor, conversation)
        self.settings = known(Settings(found.model, found.system, found.reasoning), self.models)
        if self.conversation is None:
            self.desk.watch(conversation, self.noticed)
        self.conversation = found

    def leave(self) -> None:
        """The browser's page is gone."""
        self.desk.unwatch(self.visitor, self.noticed)
        if self.conversation is not None:
            self.desk.unwatch(self.conversation.id, self.noticed)

    @property
    def writing(self) -> Any:
        """The answer being written in this conversation."""
        return self.desk.writings.get(self.conversation.id) if self.conversation else None

    @ui.refreshable_method
    def page(self) -> None:
        """Everything that depends on the language."""
        top_bar(self.lang, "chat", self.switch_language)
        with box("div", "with-side"):
            self.sidebar.build(self.lang)
            with box("main", "chat", id="main"):
                self.heading()
                self.model_card()
                self.transcript = Transcript(self, self.lang)
                self.show()
                composer(self.lang, self.button, key_of="/" if self.allowance.key else None)
        shortcuts(self.lang)

    @ui.refreshable_method
    def heading(self) -> None:
        """The conversation's title and what can be done with it."""
        with box("div", "title-row"):
            text("button", self.say("conversations"), "quiet side-open", type="button", aria_controls="side",
                 aria_expanded="false").on("click", js_handler="() => dokja.side(true)")
            if self.conversation is None:
                text("h1", self.title, "hidden-text")
                return
            heading(self.conversation, self.lang, rename=self.rename, delete=self.delete)

    @ui.refreshable_method
    def model_card(self) -> None:
        """Who answers, and how."""
        self.card.build(self.settings, self.lang)

    def show(self) -> None:
        """Bring the transcript in line with the messages."""
        self.transcript.show(self.messages, self.writing, editing=self.editing, trouble=self.trouble)

    @ui.refreshable_method
    def button(self) -> None:
        """Send, or Stop while an answer is being written."""
        turns.send_or_stop(self.lang, writing=self.writing is not None, send=self.send, stop=self.stop)

    def say(self, key: str, **values: object) -> str:
        """A text in the reader's language."""
        return word(key, self.lang, **values)

    @property
    def pocket(self) -> bool:
        """Whether the model that answers was trained here at pocket size."""
        return pocket(self.models[self.settings.model])

    def team(self, model: str) -> str:
        """The team behind a model's name."""
        return team(self.models[model]) if model in self.models else model

    def switch_language(self) -> None:
        """Show the page in the other language; the conversation stays."""
        self.lang = "en" if self.lang == "ko" else "ko"
        self.page.refresh()
        announce_language(self.client, self.lang, self.title)

    async def configure(self, settings: Settings) -> None:
        """Ask the next question otherwise."""
        self.settings = known(settings, self.models)
        self.model_card.refresh()
        self.show()
        if self.conversation is not None:
            try:
                await asyncio.to_thread(self.desk.store.configure, self.visitor, self.conversation.id, self.settings)
            except GoneError:
                await self.noticed("gone")

    async def noticed(self, what: str) -> None:
        """Something has happened to this conversation or to the list, here or in another tab."""
        if what == "grows":
            self.transcript.grow(self.writing)
        elif what == "listed":
            listed = await asyncio.to_thread(self.desk.store.conversations, self.visitor)
            self.sidebar.show(listed, self.conversation.id if self.conversation else None)
        elif what == "changed" and self.conversation is not None:
            before = self.conversation.title
            try:
                await self.load(self.conversation.id)
            except GoneError:
                what = "gone"
            else:
                if self.conversation.title != before:
                    self.heading.refresh()
                self.show()
                self.button.refresh()
        if what == "gone":
            self.forget()
            self.complain("gone")

    def forget(self) -> None:
        """Go on as a new conversation."""
        if self.conversation is not None:
            self.desk.unwatch(self.conversation.id, self.noticed)
        self.conversation, self.messages, self.editing = None, [], None
        self.client.run_javascript("dokja.address('/')")
        self.heading.refresh()
        self.show()
        self.button.refresh()

    def stop(self) -> None:
        """End the answer that is being written."""
        if (writing := self.writing) is not None:
            writing.stop()

    async def delete(self) -> None:
        """Delete the conversation; the page goes on with a new one."""
        if self.conversation is not None:
            gone = self.conversation.id
            self.desk.unwatch(gone, self.noticed)
            await self.desk.delete(self.visitor, gone)
            self.client.run_javascript("location.href = '/'")

    async def rename(self, event: Any) -> None:
        """Give the conversation another title."""
        if self.conversation is not None and isinstance(event.args, str):
            try:
                await self.desk.rename(self.visitor, self.conversation.id, event.args)
            except GoneError:
                await self.noticed("gone")

    def edit(self, message: str | None) -> None:
        """Open one message for changing, or none."""
        self.editing = message
        self.show()
        self.client.run_javascript("dokja.editing()")

    async def retry(self, message: Message) -> None:
        """Have a question answered again; what came after goes."""
        await self.ask(None, message)

    async def send(self, message: object, cut: Message | None = None) -> None:
        """Ask a question, or ask one otherwise (`cut`)."""
        if isinstance(message, str) and message.strip():
            await self.ask(message.strip(), cut)

    async def ask(self, question: str | None, cut: Message | None) -> None:
        """Begin an answer; a click while one is written changes nothing."""
        # An answer can be whole before the page is done with asking for it: the next question waits for that.
        async with self.asking:
            if self.writing is not None:
                if question is not None and cut is None:
                    self.give(question)
            elif cut is None or cut.id in [message.id for message in self.messages]:
                await self._ask(question, cut)
            elif question is not None:
                self.complain("changed_elsewhere")
                self.give(question)

    async def _ask(self, question: str | None, cut: Message | None) -> None:
        before, self.trouble = self.editing, None
        self.editing = None
        try:
            too_long(question or "")
            self.allowance.take()
            conversation = await self.desk.ask(self.visitor, self.conversation.id if self.conversation else None,
                                               self.settings, self.messages, question=question, cut=cut,
                                               spend=self.allowance.spend)
            if self.conversation is None:
                await self.load(conversation)
                self.client.run_javascript(f"dokja.address('/c/{conversation}')")
                self.heading.refresh()
                await self.noticed("listed")
                await self.noticed("changed")
            self.client.run_javascript("dokja.asked()")
        except GoneError:
            await self.noticed("gone")
            self.give(question)
        except ChangedError:
            await self.noticed("changed")
            self.complain("changed_elsewhere")
            self.give(question)
        except DokjaError as error:
            self.editing = before
            self.complain(*reason(error, self.models[self.settings.model].context))
            if cut is None:
                self.give(question)

    def complain(self, key: str, values: dict[str, Any] | None = None) -> None:
        """Say what went wrong."""
        self.trouble = (key, values or {})
        self.show()

    def give(self, question: str | None) -> None:
        """Put a message back into the field for another try."""
        if question is not None:
            self.client.run_javascript(f"dokja.give({json.dumps(question)})")
