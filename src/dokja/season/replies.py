"""The report's exercises: a question, the right answer, and what each team said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from ..build.exercises import Exercise, verify
from .markup import both, pair

_LONGEST = 120  # letters of a reply that are shown


@dataclass
class _Asked:
    skill: str
    question: str
    answer: str
    replies: dict[str, str] = field(default_factory=dict)


def replies_section(summary: Mapping[str, Any], team: Callable[..., str]) -> str:
    """Exercises with every team's reply, the others of each skill folded; "" before any judgement."""
    asked = _asked(summary)
    if not asked:
        return ""
    first: dict[str, _Asked] = {}
    rest: list[_Asked] = []
    for item in asked:
        if first.setdefault(item.skill, item) is not item:
            rest.append(item)
    order = [row["name"] for row in summary["teams"]]

    def boxes(items: list[_Asked]) -> str:
        return f'<div class="columns">{"".join(_box(item, summary, order, team) for item in items)}</div>'

    more = f'<details><summary>{both("more_exercises", n=len(rest))}</summary>{boxes(rest)}</details>' if rest else ""
    return (f'<section class="card"><h2>{both("replies")}</h2><p class="soft small">{both("replies_more")}</p>'
            f"{boxes(list(first.values()))}{more}</section>")


def _asked(summary: Mapping[str, Any]) -> list[_Asked]:
    """The exercises of all teams, which are the same ones, grouped by skill."""
    found: dict[tuple[str, str], _Asked] = {}
    for name, sample in summary["samples"].items():
        for skill, replies in sample["replies"].items():
            for question, answer, reply in replies:
                found.setdefault((skill, question), _Asked(skill, question, answer)).replies[name] = reply
    places = {skill: place for place, skill in enumerate(summary["skills"])}
    return sorted(found.values(), key=lambda item: places.get(item.skill, len(places)))


def _box(item: _Asked, summary: Mapping[str, Any], order: list[str], team: Callable[..., str]) -> str:
    title = summary["skills"].get(item.skill, {"ko": item.skill, "en": item.skill})
    rows = [f'<dt>{both("answer")}</dt><dd class="right" lang="ko">{escape(item.answer)}</dd>']
    for name in order:
        if name in item.replies:
            rows.append(f"<dt>{team(name, company=False)}</dt><dd lang=\"ko\">{_reply(item, item.replies[name])}</dd>")
    return (f'<div class="box quiz"><h4>{pair(title["ko"], title["en"])}</h4><p lang="ko">{escape(item.question)}</p>'
            f'<dl>{"".join(rows)}</dl></div>')


def _reply(item: _Asked, reply: str) -> str:
    words = " ".join(reply.split())
    if not words:
        return f'<span class="soft">{both("silent")}</span>'
    shown = escape(words if len(words) <= _LONGEST else words[:_LONGEST] + "…")
    # An exercise may take other replies too, which the summary does not know: equal ones are ticked, none is crossed.
    if verify(Exercise(item.skill, item.question, item.answer, key=""), reply):
        return f'<span class="ok" role="img" aria-label="정답과 같음 / equal to the right answer">✓</span> {shown}'
    return shown
