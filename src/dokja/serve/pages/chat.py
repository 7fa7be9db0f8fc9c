"""The chat page: one conversation with a model of the season, streamed as it is written."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from nicegui import ui

from ...errors import DokjaError
from ..about import about, architecture
from ..errors import BadRequestError, BusyError
from ..service import Answer, ChatAsk, Content, End, Options, Service
from .shell import announce_language, box, head, text, top_bar
from .words import Lang, short_number, word

log = logging.getLogger("dokja.serve")

# Questions that the models have been trained on in kind, and everyday talk; always Korean, whatever the interface.
EXAMPLES = (
    "'책' 뒤에 맞는 것은 '은'입니까, '는'입니까?",
    "17 + 25 = ?",
    "목요일에서 3일 뒤는 무슨 요일입니까?",
    "ㅊ, ㅐ, ㄱ을 모아 쓰면?",
    "안녕하세요?",
)
# A pocket model is at its best close to its likeliest words; a little chance keeps small talk from repeating itself.
TALK = Options(temperature=0.4, top_p=0.9)
_FRAME = 0.04  # seconds between updates of the page while an answer comes


@dataclass
class Turn:
    """One message. notes: keys of `words` to say below it. problem: the page speaks, and `content` is such a key."""

    role: str
    content: str
    model: str = ""
    problem: bool = False
    notes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


class ChatPage:
    """One reader's conversation; lives as long as the browser's page."""

    def __init__(self, engine: Service | None, title: str, lang: Lang) -> None:
        # Kept, because a button that was clicked may be gone by the time its handler speaks to the browser.
        self.client = ui.context.client
        self.engine = engine
        self.title = title
        self.lang: Lang = lang
        self.model = next(iter(engine.models())) if engine else ""
        self.turns: list[Turn] = []
        self.answer: Answer | None = None
        # Elements of the conversation; a new message is added to them, so that a screen reader hears only that.
        self.log: Any = None
        self.shown: list[ui.element] = []
        self.live: Any = None  # the text of the answer being written

    def build(self) -> None:
        """Create the page for the current client."""
        head(self.lang)
        self.client.on_delete(self.stop)
        self.page()

    @ui.refreshable_method
    def page(self) -> None:
        """Everything that depends on the language."""
        top_bar(self.lang, "chat", self.switch_language)
        if self.engine is None:
            with box("main", "chat", id="main"), box("div", "empty"):
                text("h1", self.say("no_model"))
                text("p", self.say("no_model_more"), "soft")
                text("a", self.say("see_board"), href="/board")
            return
        with box("main", "chat", id="main"):
            text("h1", self.title, "hidden-text")
            self.model_card()
            self.conversation()
            self.composer()

    @ui.refreshable_method
    def model_card(self) -> None:
        """Whose architecture answers, what it is and what it is not."""
        assert self.engine is not None
        loaded = self.engine.models()[self.model].model
        assert loaded is not None
        facts = about(loaded)
        with box("section", "card model", aria_label=self.say("answers")):
            with box("div", "model-head"):
                text("span", facts["team"], "model-name team-name")
                text("span", facts["company"], "soft")
                if facts.get("rank") == 1:
                    text("span", self.say("winner"), "pill good")
            if len(self.engine.models()) > 1:
                with box("select", aria_label=self.say("choose_model")) as choice:
                    for name, other in self.engine.models().items():
                        option = text("option", other.about["team"], value=name)
                        if name == self.model:
                            option.props["selected"] = True
                choice.on("change", self.choose, js_handler="(e) => emit(e.target.value)")
            text("p", self.in_short(facts, architecture(loaded, self.lang)), "small in-short")
            text("p", self.say("not_company", team=facts["team"], company=facts["company"]), "statement small soft")
            with box("details", "facts"):
                text("summary", self.say("details"))
                with box("dl"):
                    for name, value in self.facts(facts):
                        text("dt", name)
                        text("dd", value)

    def in_short(self, facts: dict[str, Any], built: str) -> str:
        """Size, stage and architecture in one line."""
        size = f"{self.say('fact_parameters')} {short_number(facts['parameters'], self.lang)}"
        stage = [self.say("fact_stage_value", n=facts["stage"])] if facts.get("stage") is not None else []
        return " · ".join([size, *stage, built])

    def facts(self, facts: dict[str, Any]) -> list[tuple[str, str]]:
        """What is known about a model beyond one line, as (name, value)."""
        def number(value: float) -> str:
            return short_number(value, self.lang)

        rows = [(self.say("fact_parameters"), f"{number(facts['parameters'])} "
                 f"({self.say('fact_active', n=number(facts['active_parameters']))})"),
                (self.say("fact_context"), self.say("fact_context_value", n=facts["context"]))]
        if facts.get("tokens"):
            rows.append((self.say("fact_tokens"), self.say("fact_tokens_value", n=number(facts["tokens"]))))
        if facts.get("stage") is not None:
            rank = f" · {self.say('fact_rank', n=facts['rank'])}" if facts.get("rank") else ""
            rows.append((self.say("fact_stage"), self.say("fact_stage_value", n=facts["stage"]) + rank))
        return rows

    def conversation(self) -> None:
        """The messages so far, or examples to begin with."""
        self.log = box("div", "log", role="log", aria_label=self.say("log"))
        self.redraw()

    def redraw(self) -> None:
        """Show all messages anew."""
        self.log.clear()
        self.shown = []
        if not self.turns:
            with self.log:
                self.examples()
        for turn in self.turns:
            self.show(turn)

    def examples(self) -> None:
        """What one may say, each a button."""
        with box("div", "empty"):
            text("h2", self.say("empty"))
            text("p", self.say("empty_more"), "soft")
            with box("div", "examples"):
                for example in EXAMPLES:
                    text("button", example, type="button", lang="ko").on("click", lambda _, e=example: self.send(e))

    def show(self, turn: Turn) -> None:
        """Add one message at the end; the answer being written becomes `live`."""
        if turn.problem:
            with self.log, box("div", "turn problem", role="alert") as element:
                text("div", self.say(turn.content, **turn.notes[0][1]), "text")
        else:
            writing = turn is self.turns[-1] and self.answer is not None
            with self.log, box("div", f"turn {turn.role}{' live' if writing else ''}") as element:
                text("span", self.say("you") if turn.role == "user" else self.team(turn.model), "who")
                shown = text("div", turn.content or ("" if writing else self.say("silent")), "text", lang="ko")
                for key, values in turn.notes:
                    text("span", self.say(key, **values), "who")
            if writing:
                self.live = shown
        self.shown.append(element)

    def composer(self) -> None:
        """The field, its button, and what to know about the answers."""
        with box("div", "composer"):
            with box("div", "composer-in"):
                box("textarea", "say", rows=1, aria_label=self.say("say"), placeholder=self.say("placeholder"),
                    maxlength=4000, lang="ko", autofocus=True)
                self.button()
            with box("div", "under"):
                text("span", self.say("ai_notice"), "ai-notice")
                with box("span", "under-right"):
                    text("span", self.say("keys"), "keys")
                    text("button", self.say("new"), "link new", type="button").on("click", self.restart)

    @ui.refreshable_method
    def button(self) -> None:
        """Send, or Stop while an answer is being written."""
        if self.answer is None:
            text("button", self.say("send"), "main-button send", type="button").on(
                "click", lambda event: self.send(event.args),
                js_handler="() => { const t = dokja.take(); if (t !== null) emit(t); }")
        else:
            text("button", self.say("stop"), "main-button stop", type="button").on("click", self.stop)

    def say(self, key: str, **values: object) -> str:
        """A text in the reader's language."""
        return word(key, self.lang, **values)

    def team(self, model: str) -> str:
        """The team behind a model id."""
        assert self.engine is not None
        return str(self.engine.models()[model].about["team"])

    def switch_language(self) -> None:
        """Show the page in the other language; the conversation stays."""
        self.lang = "en" if self.lang == "ko" else "ko"
        self.page.refresh()
        announce_language(self.client, self.lang, self.title)

    def choose(self, event: Any) -> None:
        """Let another model answer from now on."""
        assert self.engine is not None
        if event.args in self.engine.models():
            self.model = event.args
            self.model_card.refresh()

    def restart(self) -> None:
        """Forget the conversation."""
        self.stop()
        self.turns = []
        self.redraw()
        self.client.run_javascript("document.querySelector('.say')?.focus()")

    def stop(self) -> None:
        """End the answer that is being written."""
        if self.answer is not None:
            self.answer.stop()

    async def send(self, message: object) -> None:
        """Ask, and show the answer as it comes."""
        assert self.engine is not None
        if self.answer is not None or not isinstance(message, str) or not message.strip():
            return
        message = message.strip()
        if not self.turns or self.turns[-1].problem:  # examples, or a complaint about the last try
            self.turns = self.turns[:-1]
            self.redraw() if self.turns else self.log.clear()
        turns = self.turns
        history = [(turn.role, turn.content) for turn in turns if turn.content]
        try:
            said = [{"role": role, "content": content} for role, content in [*history, ("user", message)]]
            self.answer = await self.engine.chat(ChatAsk(said, self.model, TALK, drop_oldest=True))
        except DokjaError as error:
            self.refuse(message, error)
            return
        turn = Turn("assistant", "", self.model)
        for new in (Turn("user", message), turn):
            turns.append(new)
            self.show(new)
        self.button.refresh()
        self.client.run_javascript("dokja.asked()")
        try:
            await self.follow(self.answer, turn)
        except Exception:
            log.exception("an answer failed")
            turns.append(Turn("assistant", "failed", problem=True, notes=[("", {})]))
        finally:
            self.answer = None
            if turns is self.turns:
                self.finish(turns, turn)
            self.button.refresh()

    def finish(self, turns: list[Turn], turn: Turn) -> None:
        """Replace the answer being written by the finished one, with its notes."""
        self.shown.pop().delete()
        self.live = None
        for last in turns[turns.index(turn):]:
            self.show(last)

    async def follow(self, answer: Answer, turn: Turn) -> None:
        """Show the pieces of an answer, a few times a second at most."""
        shown_at = 0.0
        finish = None
        async for piece in answer:
            turn.content += piece.text if isinstance(piece, Content) else ""
            finish = piece.finish if isinstance(piece, End) and piece.finish != "cancelled" else None
            if (now := time.monotonic()) - shown_at > _FRAME and self.live is not None:
                self.live.text = turn.content
                shown_at = now
        if finish != "stop":
            turn.notes.append(("cut" if finish else "stopped", {}))
        if answer.dropped:
            turn.notes.append(("dropped", {"n": answer.dropped}))

    def refuse(self, message: str, error: DokjaError) -> None:
        """Say why a message was not answered and give it back for another try."""
        assert self.engine is not None
        context = self.engine.models()[self.model].context
        key = "busy" if isinstance(error, BusyError) else "too_long" if isinstance(error, BadRequestError) else "failed"
        self.turns.append(Turn("assistant", key, problem=True, notes=[("", {"n": context * 3 // 4})]))
        self.show(self.turns[-1])
        self.client.run_javascript(f"dokja.give({json.dumps(message)})")
