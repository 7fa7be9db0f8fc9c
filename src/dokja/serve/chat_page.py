"""The chat page: one conversation with a model of the season, streamed as it is written."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from nicegui import ui

from ..errors import DokjaError
from .about import about, architecture
from .engine import Answer, Engine, Options
from .errors import BadRequestError, BusyError
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
    """One message. `problem` marks what the page says, not the model; `ended` why an answer ended early."""

    role: str
    content: str
    model: str = ""
    problem: bool = False
    ended: str = ""
    notes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


class ChatPage:
    """One reader's conversation; lives as long as the browser's page."""

    def __init__(self, engine: Engine | None, title: str, lang: Lang) -> None:
        self.engine = engine
        self.title = title
        self.lang: Lang = lang
        self.model = engine.default if engine else ""
        self.turns: list[Turn] = []
        self.answer: Answer | None = None
        self.live: Any = None  # the element that shows the answer being written

    def build(self) -> None:
        """Create the page for the current client."""
        head(self.lang)
        ui.context.client.on_delete(self.stop)
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
        loaded = self.engine.models[self.model]
        facts = about(loaded)
        with box("section", "card model", aria_label=self.say("answers")):
            with box("div", "model-head"):
                text("span", facts["team"], "model-name team-name")
                text("span", facts["company"], "soft")
                if facts.get("rank") == 1:
                    text("span", self.say("winner"), "pill good")
            if len(self.engine.models) > 1:
                with box("select", aria_label=self.say("choose_model")) as choice:
                    for name, other in self.engine.models.items():
                        option = text("option", about(other)["team"], value=name)
                        if name == self.model:
                            option.props["selected"] = True
                choice.on("change", self.choose, js_handler="(e) => emit(e.target.value)")
            text("p", self.say("not_company", team=facts["team"], company=facts["company"]), "statement small soft")
            with box("details", "facts"):
                text("summary", self.say("details"))
                with box("dl"):
                    for name, value in self.facts(facts, architecture(loaded, self.lang)):
                        text("dt", name)
                        text("dd", value)

    def facts(self, facts: dict[str, Any], built: str) -> list[tuple[str, str]]:
        """What is known about a model, as (name, value)."""
        def number(value: float) -> str:
            return short_number(value, self.lang)

        rows = [("구조" if self.lang == "ko" else "Architecture", built),
                (self.say("fact_parameters"), f"{number(facts['parameters'])} "
                 f"({self.say('fact_active', n=number(facts['active_parameters']))})"),
                (self.say("fact_context"), self.say("fact_context_value", n=facts["context"]))]
        if facts.get("tokens"):
            rows.append((self.say("fact_tokens"), self.say("fact_tokens_value", n=number(facts["tokens"]))))
        if facts.get("stage") is not None:
            rank = f" · {self.say('fact_rank', n=facts['rank'])}" if facts.get("rank") else ""
            rows.append((self.say("fact_stage"), self.say("fact_stage_value", n=facts["stage"]) + rank))
        return rows

    @ui.refreshable_method
    def conversation(self) -> None:
        """The messages so far, or examples to begin with."""
        busy = "true" if self.answer else "false"
        with box("div", "log", role="log", aria_label=self.say("log"), aria_busy=busy):
            if not self.turns:
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
        """One message; the answer being written becomes `live`."""
        writing = turn is self.turns[-1] and self.answer is not None
        kind = f"{turn.role}{' live' if writing else ''}{' problem' if turn.problem else ''}"
        with box("div", f"turn {kind}") as element:
            if turn.problem:
                element.props["role"] = "alert"
            else:
                text("span", self.say("you") if turn.role == "user" else self.team(turn.model), "who")
            content = turn.content
            if turn.problem:
                content = self.say(turn.content, **(turn.notes[0][1] if turn.notes else {}))
            elif not content and not writing and turn.role == "assistant":
                content = self.say("silent")
            shown = text("div", content, "text", lang=self.lang if turn.problem else "ko")
            if turn.ended:
                text("span", self.say(turn.ended), "who")
            for key, values in [] if turn.problem else turn.notes:
                text("span", self.say(key, **values), "who")
        if writing:
            self.live = shown

    def composer(self) -> None:
        """The field, its button, and what to know about the answers."""
        with box("div", "composer"):
            with box("div", "composer-in"):
                box("textarea", "say", rows=1, aria_label=self.say("say"), placeholder=self.say("placeholder"),
                    maxlength=4000, lang="ko", autofocus=True)
                self.button()
            with box("div", "under"):
                text("span", self.say("ai_notice"), "ai-notice")
                text("span", self.say("keys"), "keys")
            with box("div", "under"):
                text("button", self.say("new"), "quiet new", type="button").on("click", self.restart)

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
        return str(about(self.engine.models[model])["team"])

    def switch_language(self) -> None:
        """Show the page in the other language; the conversation stays."""
        self.lang = "en" if self.lang == "ko" else "ko"
        self.page.refresh()
        announce_language(self.lang, self.title)

    def choose(self, event: Any) -> None:
        """Let another model answer from now on."""
        assert self.engine is not None
        if event.args in self.engine.models:
            self.model = event.args
            self.model_card.refresh()

    def restart(self) -> None:
        """Forget the conversation."""
        self.stop()
        self.turns = []
        self.conversation.refresh()
        ui.run_javascript("document.querySelector('.say')?.focus()")

    def stop(self) -> None:
        """End the answer that is being written."""
        if self.answer is not None:
            self.answer.stop()

    async def send(self, message: object) -> None:
        """Ask, and show the answer as it comes."""
        assert self.engine is not None
        if self.answer is not None or not isinstance(message, str) or not message.strip():
            return
        asked = Turn("user", message.strip())
        self.turns = [*(turn for turn in self.turns if not turn.problem), asked]
        history = [(turn.role, turn.content) for turn in self.turns if turn.content]
        try:
            self.answer = self.engine.stream(self.model, history, TALK)
        except DokjaError as error:
            self.refuse(asked, error)
            return
        turn = Turn("assistant", "", self.model)
        turns = self.turns
        turns.append(turn)
        self.conversation.refresh()
        self.button.refresh()
        ui.run_javascript("dokja.follow = true")
        try:
            await self.follow(self.answer, turn)
        except Exception:
            log.exception("an answer failed")
            turns.append(Turn("assistant", "failed", problem=True))
        finally:
            self.answer = None
            if turns is self.turns:
                self.conversation.refresh()
            self.button.refresh()

    async def follow(self, answer: Answer, turn: Turn) -> None:
        """Show the pieces of an answer, a few times a second at most."""
        shown_at = 0.0
        finish = None
        async for delta in answer:
            turn.content += delta.text
            finish = delta.finish
            if (now := time.monotonic()) - shown_at > _FRAME and self.live is not None:
                self.live.text = turn.content
                shown_at = now
        if finish is None:
            turn.ended = "stopped"
        elif finish == "length":
            turn.ended = "cut"
        if answer.dropped:
            turn.notes.append(("dropped", {"n": answer.dropped}))

    def refuse(self, asked: Turn, error: DokjaError) -> None:
        """Say why a message was not answered and give it back for another try."""
        assert self.engine is not None
        self.turns.remove(asked)
        context = self.engine.models[self.model].model.spec.context
        key = "busy" if isinstance(error, BusyError) else "too_long" if isinstance(error, BadRequestError) else "failed"
        self.turns.append(Turn("assistant", key, problem=True, notes=[("", {"n": context * 3 // 4})]))
        self.conversation.refresh()
        ui.run_javascript(f"dokja.give({json.dumps(asked.content)})")
