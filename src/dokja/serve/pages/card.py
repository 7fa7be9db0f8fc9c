"""Whose model answers, what it is and is not, and how the next question is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from ..about import POCKET, architecture
from ..service import ServedModel
from ..store import Settings
from .shell import box, text
from .words import WORDS, Lang, short_number, word

SYSTEM_LIMIT = 20_000  # characters of a system prompt


def team(served: ServedModel) -> str:
    """Who is behind a model."""
    return str(served.about.get("team") or served.name)


def pocket(served: ServedModel) -> bool:
    """Whether it was trained here at pocket size; of a published model nothing of the kind is said."""
    return served.about.get("statement") == POCKET


class ModelCard:
    """The model's card with its settings; `change` is called with new ones."""

    def __init__(self, models: Mapping[str, ServedModel], change: Callable[[Settings], Awaitable[None]]) -> None:
        self.models = models
        self.change = change

    def build(self, settings: Settings, lang: Lang) -> None:
        """Show a model; the settings take effect with the next question."""
        served = self.models[settings.model]
        about = served.about
        with box("section", "card model", aria_label=word("answers", lang)):
            with box("div", "model-head"):
                text("span", team(served), "model-name team-name")
                text("span", str(about.get("company", "")), "soft")
                if about.get("rank") == 1:
                    text("span", word("winner", lang), "pill good")
            if len(self.models) > 1:
                self.choice(settings, lang)
            text("p", in_short(served, lang), "small in-short")
            if pocket(served):
                text("p", word("not_company", lang, team=team(served), company=about.get("company", "")),
                     "statement small soft")
            with box("details", "facts"):
                text("summary", word("details", lang))
                with box("dl"):
                    for name, value in facts(served, lang):
                        text("dt", name)
                        text("dd", value)
            if served.reasoning:
                self.reasoning(served, settings, lang)
            with box("details", "facts system") as details:
                if settings.system:
                    details.props["open"] = True
                text("summary", word("system", lang))
                # The text is a child, not a value: a value would undo what is being typed at every update.
                text("textarea", settings.system, "system-text", rows=3, maxlength=SYSTEM_LIMIT,
                     aria_label=word("system", lang), placeholder=word("system_hint", lang)).on(
                    "change", lambda event: self.change(replace(settings, system=str(event.args)[:SYSTEM_LIMIT])),
                    js_handler="(e) => emit(e.target.value)")

    def choice(self, settings: Settings, lang: Lang) -> None:
        """Which model answers."""
        with box("select", aria_label=word("choose_model", lang)) as choice:
            for name, other in self.models.items():
                option = text("option", team(other) if other.parent is None else f"{team(other)} · {name}", value=name)
                if name == settings.model:
                    option.props["selected"] = True

        async def chosen(event: Any) -> None:
            if event.args in self.models:
                await self.change(Settings(event.args, settings.system, None))

        choice.on("change", chosen, js_handler="(e) => emit(e.target.value)")

    def reasoning(self, served: ServedModel, settings: Settings, lang: Lang) -> None:
        """The reasoning switch, with the values that this model has."""
        now = settings.reasoning or served.default_reasoning
        with box("fieldset", "switch"):
            text("legend", word("reasoning", lang))
            for value in served.reasoning:
                with box("label"):
                    button = box("input", type="radio", name="reasoning", value=value)
                    if value == now:
                        button.props["checked"] = True
                    button.on("change", lambda _, v=value: self.change(replace(settings, reasoning=v)))
                    text("span", word(f"reasoning_{value}", lang) if f"reasoning_{value}" in WORDS else value)


def in_short(served: ServedModel, lang: Lang) -> str:
    """Size, stage and architecture in one line."""
    about = served.about
    size = []
    if "parameters" in about:
        size = [f"{word('fact_parameters', lang)} {short_number(about['parameters'], lang)}"]
    stage = [word("fact_stage_value", lang, n=about["stage"])] if about.get("stage") is not None else []
    built = architecture(served.model, lang) if served.model else about.get("architecture")
    return " · ".join([*size, *stage, *([built] if built else [])])


def facts(served: ServedModel, lang: Lang) -> list[tuple[str, str]]:
    """What is known about a model beyond one line, as (name, value)."""
    about = served.about

    def number(key: str) -> str:
        return short_number(about[key], lang)

    rows = []
    if "parameters" in about:
        rows.append((word("fact_parameters", lang), number("parameters")))
        if "active_parameters" in about:
            rows[0] = (rows[0][0], f"{rows[0][1]} ({word('fact_active', lang, n=number('active_parameters'))})")
    rows.append((word("fact_context", lang), word("fact_context_value", lang, n=f"{served.context:,}")))
    if about.get("tokens"):
        rows.append((word("fact_tokens", lang), word("fact_tokens_value", lang, n=number("tokens"))))
    if about.get("stage") is not None:
        rank = f" · {word('fact_rank', lang, n=about['rank'])}" if about.get("rank") else ""
        rows.append((word("fact_stage", lang), word("fact_stage_value", lang, n=about["stage"]) + rank))
    return rows


def known(settings: Settings, models: Mapping[str, ServedModel]) -> Settings:
    """The settings with what the served models lack left out."""
    if settings.model not in models:
        settings = replace(settings, model=next(iter(models)), reasoning=None)
    return settings if settings.reasoning in models[settings.model].reasoning else replace(settings, reasoning=None)
