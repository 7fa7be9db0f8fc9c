"""The compare page: the same question to two unnamed models side by side, then a vote, then their names."""

from __future__ import annotations

import json
import logging
from typing import Any

from nicegui import ui

from ...errors import DokjaError
from ..store import ChangedError, GoneError
from . import turns
from .card import in_short, team
from .desk import Desk
from .door import Allowance
from .problems import reason, too_long
from .round import SIDES, Round, Side
from .shell import announce_language, box, composer, head, shortcuts, text, top_bar, under
from .words import Lang, word
from .writing import Writing

log = logging.getLogger("dokja.serve")

LETTERS: dict[Side, str] = {"left": "A", "right": "B"}
CHOICES = ("left", "right", "tie", "bad")


class ComparePage:
    """One reader's comparison; lives as long as the browser's page."""

    def __init__(self, desk: Desk, visitor: str, allowance: Allowance, title: str, lang: Lang) -> None:
        self.client = ui.context.client
        self.desk = desk
        self.visitor = visitor
        self.allowance = allowance
        self.title = title
        self.lang: Lang = lang
        self.models = desk.service.models()
        self.round: Round | None = None
        self.growing: dict[Side, turns.LiveText] = {}
        self.trouble: tuple[str, dict[str, Any]] | None = None

    async def build(self, round_id: str | None) -> None:
        """Create the page for the current client; a round that is not there says so, and another begins."""
        head(self.lang)
        self.client.on_delete(self.leave)
        if round_id is not None:
            try:
                self.round = await self.desk.round(self.visitor, round_id)
            except GoneError:
                self.trouble = ("round_gone", {})
        if self.round is None and len(self.models) > 1:
            self.round = self.desk.begin(self.visitor)
        if self.round is not None:
            self.desk.watch(self.round.id, self.noticed)
        self.page()

    def leave(self) -> None:
        """This page no longer shows its round."""
        if self.round is not None:
            self.desk.unwatch(self.round.id, self.noticed)

    async def noticed(self, what: str) -> None:
        """Something has happened to the round, here or in another tab."""
        if what == "grows":
            self.grow()
        else:
            self.show()
            if self.round is not None and self.round.choice is not None:
                self.composer.refresh()

    @ui.refreshable_method
    def page(self) -> None:
        """Everything that depends on the language."""
        top_bar(self.lang, "compare", self.switch_language)
        with box("main", "compare", id="main"):
            text("h1", self.say("compare_title"), "compare-title")
            if self.round is None:
                with box("div", "empty"):
                    text("p", self.say("compare_one", n=len(self.models)))
                    text("p", self.say("compare_how"), "soft")
                    text("a", self.say("chat"), href="/")
                return
            text("p", self.say("compare_more"), "soft small")
            with box("div", "log", role="log", aria_label=self.say("log")):
                self.exchanges()
            self.voting()
            self.composer()
        shortcuts(self.lang)

    @ui.refreshable_method
    def exchanges(self) -> None:
        """The questions, each with two answers."""
        assert self.round is not None
        self.growing = {}
        for place, prompt in enumerate(self.round.prompts):
            with box("div", "turn user"):
                text("span", self.say("you"), "who")
                text("div", prompt, "text", lang="ko", dir="auto")
            with box("div", "pair"):
                for side in SIDES:
                    self.answer(side, self.round.answers[side][place])
        if self.trouble:
            turns.problem(*self.trouble, self.lang)

    def answer(self, side: Side, writing: Writing) -> None:
        """One answer, under its letter until the vote."""
        assert self.round is not None
        model = self.round.models[side]
        who = LETTERS[side] if self.round.choice is None else f"{LETTERS[side]} · {self.team(model)}"
        with box("section", f"side-{side}", aria_label=who):
            if writing.finish is None:
                _, self.growing[side] = turns.live(who, writing, self.lang)
            else:
                turns.unchangeable(writing, who, self.lang)

    @ui.refreshable_method
    def voting(self) -> None:
        """The four choices once both have answered; after the vote the names."""
        assert self.round is not None
        if self.round.choice is not None:
            # The second press of a double click on the vote lands here: it must neither take the focus nor go on.
            with box("div", "card revealed", role="status").on(
                    "mousedown", js_handler="(e) => { if (e.detail > 1) e.preventDefault(); }"):
                text("p", self.say("voted", choice=self.say(f"vote_{self.round.choice}")))
                for side in SIDES:
                    model = self.round.models[side]
                    with box("p"):
                        text("b", f"{LETTERS[side]}: {self.team(model)}", "name")
                        if (served := self.models.get(model)) is not None:
                            text("span", f" {served.about.get('company', '')}", "soft")
                            text("span", in_short(served, self.lang), "small soft in-short")
                text("button", self.say("next_round"), "main-button next", type="button").on(
                    "click", self.next, js_handler="(e) => { if (e.detail < 2) emit(); }")
        elif self.round.prompts:
            with box("div", "votes", role="group", aria_label=self.say("vote")):
                for choice in CHOICES:
                    button = text("button", self.say(f"vote_{choice}"), "quiet", type="button")
                    if not self.round.complete:
                        button.props["disabled"] = True
                    button.on("click", lambda _, c=choice: self.vote(c))

    @ui.refreshable_method
    def composer(self) -> None:
        """The field; after the vote the round is over, and what stays is what to know about the answers."""
        key_of = "/compare" if self.allowance.key else None
        if self.round is not None and self.round.choice is None:
            composer(self.lang, self.button, key_of=key_of)
        else:
            under(self.lang, key_of=key_of)

    @ui.refreshable_method
    def button(self) -> None:
        """Send, or Stop while an answer is being written."""
        turns.send_or_stop(self.lang, writing=bool(self.round and self.round.writing), send=self.send, stop=self.stop)

    def say(self, key: str, **values: object) -> str:
        """A text in the reader's language."""
        return word(key, self.lang, **values)

    def team(self, model: str) -> str:
        """The team behind a model's name, which may be served no longer."""
        return team(self.models[model]) if model in self.models else model

    def switch_language(self) -> None:
        """Show the page in the other language; the round stays."""
        self.lang = "en" if self.lang == "ko" else "ko"
        self.page.refresh()
        announce_language(self.client, self.lang, self.title)

    def stop(self) -> None:
        """End what is being written."""
        if self.round is not None:
            self.round.stop()

    async def send(self, message: object) -> None:
        """Ask both; a second click meanwhile changes nothing."""
        asked = self.round
        if asked is None or asked.choice is not None or not isinstance(message, str) or not message.strip():
            return
        question = message.strip()
        if asked.writing or asked.asking:
            self.give(question)
            return
        self.trouble = None
        try:
            too_long(question)
            self.allowance.take(len(SIDES))
            await self.desk.compare(self.visitor, asked, question, spend=self.allowance.spend)
        except DokjaError as error:
            contexts = [self.models[name].context for name in asked.models.values() if name in self.models]
            self.trouble = reason(error, min(contexts, default=0))
            self.exchanges.refresh()
            self.give(question)
            return
        self.client.run_javascript(f"dokja.address('/compare/{asked.id}'); dokja.asked()")

    def grow(self) -> None:
        """Show more of the answers; one that has ended alone stays as it is until the other has."""
        if self.round is not None:
            for side, live in self.growing.items():
                writing = self.round.answers[side][-1]
                live.grow(writing.content, writing.reasoning)

    async def vote(self, choice: str) -> None:
        """Keep the vote and show the names; a second click changes nothing."""
        voted = self.round
        if voted is None or voted.choice is not None or not voted.complete:
            return
        self.trouble = None
        try:
            await self.desk.vote(self.visitor, voted, choice, self.lang)
        except ChangedError:
            self.trouble = ("voted_elsewhere", {})
        except Exception:
            log.exception("a vote could not be kept")
            self.trouble = ("vote_failed", {})
        if self.trouble:
            self.show()
        self.client.run_javascript("document.querySelector('.next')?.focus()")

    def next(self) -> None:
        """Two models anew."""
        self.leave()
        self.trouble, self.round = None, self.desk.begin(self.visitor)
        self.desk.watch(self.round.id, self.noticed)
        self.show()
        self.composer.refresh()
        self.client.run_javascript("dokja.address('/compare'); document.querySelector('.say')?.focus()")

    def show(self) -> None:
        """Bring the page in line with the round."""
        self.exchanges.refresh()
        self.voting.refresh()
        self.button.refresh()

    def give(self, question: str) -> None:
        """Put a message back into the field for another try."""
        self.client.run_javascript(f"dokja.give({json.dumps(question)})")
