"""The report of a season: one HTML file that needs no server, no script and nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

from .charts import Line, learning_curves, stage_points
from .markup import (
    NONE,
    Column,
    both,
    mark,
    number,
    pair,
    power,
    short,
    table,
)
from .replies import replies_section
from .stage_report import score_table, skill_table
from .words import WORDS

_BLANK_LINES = re.compile(r"\s*\n\s*\n\s*")


def render(summary: Mapping[str, Any]) -> str:
    """The report of a season, finished or not, from `summary.summarise`.

    It holds Korean and English, light and dark, and fits a phone and paper. All text from models is escaped.
    """
    template = Template(resources.files(__package__).joinpath("report.html").read_text("utf-8"))
    title = f"Dokja: {summary['season']}, 시즌 보고서 / season report"
    return template.substitute(title=escape(title), body=_Report(summary).html())


class _Report:
    def __init__(self, summary: Mapping[str, Any]) -> None:
        self.summary = summary
        self.teams: list[Mapping[str, Any]] = list(summary["teams"])
        self.stages: list[Mapping[str, Any]] = list(summary["stages"])
        self.places = {team["name"]: place for place, team in enumerate(self.teams)}
        self.by_name = {team["name"]: team for team in self.teams}

    def html(self) -> str:
        """The body of the page."""
        sections = (self._head(), self._winner(), self._plan(), self._curves(), self._results(), self._costs(),
                    self._writing(), replies_section(self.summary, self.team))
        return "\n".join(section for section in sections if section) + f'\n<footer>{both("made")}</footer>'

    def team(self, name: str, *, company: bool = True) -> str:
        """A team's mark and title, with its company in small print."""
        team = self.by_name[name]
        small = f"<small>{escape(team['company'])}</small>" if company else ""
        return f"{mark(self.places[name])}{escape(team['title'])}{small}"

    def _head(self) -> str:
        summary = self.summary
        finished = summary["state"] == "finished"
        return (f'<header><h1>Dokja {both("report")} · {escape(str(summary["season"]))}</h1>'
                f'<span class="pill{" good" if finished else ""}">{both("finished" if finished else "playing")}</span>'
                '<div class="langs" role="group" aria-label="언어 / Language">'
                '<label for="lang-ko" lang="ko">한국어</label><label for="lang-en" lang="en">English</label></div>'
                "</header>"
                f'<div class="notice"><p>{both("notice")}</p></div>')

    def _winner(self) -> str:
        name = self.summary["winner"]
        if name is None:
            return f'<section class="card winner"><p>{both("no_winner")}</p></section>'
        team = self.by_name[name]
        rows = [row for stage in self.stages for row in stage["table"] if row["team"] == name]
        more = both("wins_more", company=team["company"], points=number(rows[-1]["score"], 1),
                    bits=number(rows[-1]["bpb"]["value"], 3)) if rows else ""
        return (f'<section class="card winner"><strong>{mark(self.places[name])}{both("wins", team=team["title"])}'
                f'</strong><p class="soft">{more}</p></section>')

    def _plan(self) -> str:
        summary, plan = self.summary, self.summary["plan"]
        texts = [escape(str(text)) for text in plan["texts"]]
        facts = {
            "seed": escape(str(summary["seed"])), "flops": power(summary["budget_flops"]),
            "size": both("size_value", n=number(plan["size"])),
            "sequences": both("sequences_value", context=plan["context"]),
            "text": f"{', '.join(texts) or both('text_built_in')}, "
                    + both("text_value", mb=number(plan["train_bytes"] / 1e6, 1)),
            "heldout": both("heldout_value", kb=number(plan["heldout_bytes"] / 1e3)),
            "workers": both("workers_value", workers=plan["workers"], threads=plan["threads"]),
            "seconds": _clock(sum(team["seconds"] for team in self.teams)),
        }
        shown = "".join(f"<div><dt>{both(key)}</dt><dd>{value}</dd></div>" for key, value in facts.items())
        line_up = "".join(f"<span>{self.team(team['name'], company=False)}</span>" for team in self.teams)
        text_points, exercise_points = summary["score"]["text_points"], summary["score"]["exercise_points"]
        rules, before = [], len(self.teams)
        for stage in self.stages:
            rules.append(_titled("rule_stage", stage, before=before, keep=stage["keep"]))
            before = stage["keep"]
        rules += [both("rule_score", points=f"{text_points + exercise_points:g}", text=f"{text_points:g}",
                       exercises=f"{exercise_points:g}"), both("rule_rank"), both("rule_interval")]
        return (f'<section class="card"><h2>{both("plan")}</h2><dl class="facts">{shown}</dl>'
                f'<p class="line-up">{line_up}</p><h4>{both("rules")}</h4>'
                f'<ul class="small">{"".join(f"<li>{rule}</li>" for rule in rules)}</ul></section>')

    def _curves(self) -> str:
        lines = [Line(self.places[team["name"]], team["title"], team.get("curve") or [], team["state"] == "out")
                 for team in self.teams]
        chart = learning_curves(lines, self._stage_ends(), self.summary["budget_flops"])
        if not chart:
            return f'<section class="card"><h2>{both("curves")}</h2><p class="soft">{both("no_curves")}</p></section>'
        bits = self._bits()
        below = (f'<h4>{both("bits")}</h4><p class="soft small">{both("bits_more")}</p><figure>{bits}</figure>'
                 if bits else "")
        return (f'<section class="card"><h2>{both("curves")}</h2><p class="soft small">{both("curves_more")}</p>'
                f'<p class="small caution">{both("curves_warning")}</p><figure>{chart}</figure>{below}</section>')

    def _stage_ends(self) -> dict[tuple[str, str], float]:
        """Where judged stages ended: the FLOPs of the teams that stopped there, equal up to a step."""
        ends = {}
        for stage in self.stages:
            last = stage is self.stages[-1]
            stopped = [team["flops"] for team in self.teams if "flops" in team
                       and (team["out_stage"] == stage["number"] or (last and team["state"] == "winner"))]
            if stage["table"] and stopped:
                ends[stage["title"], stage["title_en"]] = max(stopped)
        return ends

    def _bits(self) -> str:
        judged = [stage for stage in self.stages if stage["table"]]
        points: dict[str, list[tuple[float, float]]] = {team["name"]: [] for team in self.teams}
        intervals: dict[int, list[tuple[float, float]]] = {place: [] for place in self.places.values()}
        for place, stage in enumerate(judged, start=1):
            for row in stage["table"]:
                points[row["team"]].append((place, row["bpb"]["value"]))
                intervals[self.places[row["team"]]].append((row["bpb"]["low"], row["bpb"]["high"]))
        lines = [Line(self.places[team["name"]], team["title"], points[team["name"]], team["state"] == "out")
                 for team in self.teams]
        return stage_points(lines, intervals, [(stage["title"], stage["title_en"]) for stage in judged],
                            judged[-1]["baselines"] if judged else {})

    def _results(self) -> str:
        parts = []
        for stage in self.stages:
            state = both(f"state_{stage['state']}")
            head = (f'<div class="line-up"><h3>{pair(stage["title"], stage["title_en"])}</h3>'
                    f'<span class="pill">{state}</span></div>')
            body = (score_table(stage, self.summary, self.team) + skill_table(stage, self.summary, self.team)
                    if stage["table"] else f'<p class="soft small">{both("no_table")}</p>')
            parts.append(f'<div class="stage">{head}{body}</div>')
        return f'<section class="card"><h2>{both("results")}</h2>{"".join(parts)}</section>'

    def _costs(self) -> str:
        keys = ("parameters", "active", "shape", "vocab", "kv", "per_token", "tokens", "total_flops", "time",
                "official")
        columns = [Column(both("team"), number=False), *(Column(both(key)) for key in keys)]
        rows = []
        for team in self.teams:
            shape = f"{team['layers']} × {team['width']}" if "layers" in team else NONE
            rows.append(("", (
                self.team(team["name"]), number(team.get("parameters")), number(team.get("active")), shape,
                number(team.get("vocab")), number(team.get("kv_bytes_per_token")), power(team.get("flops_per_token")),
                number(team.get("tokens")), power(team.get("flops")), number(team["seconds"]),
                short(team["official_parameters"]))))
        return (f'<section class="card"><h2>{both("costs")}</h2><p class="soft small">'
                f'{both("costs_more", context=self.summary["plan"]["context"])}</p>{table(columns, rows)}</section>')

    def _writing(self) -> str:
        samples = self.summary["samples"]
        if not samples:
            return f'<section class="card"><h2>{both("writing")}</h2><p class="soft">{both("no_samples")}</p></section>'
        boxes = []
        for team in self.teams:
            found = samples.get(team["name"])
            if found is None:
                continue
            stage = self.stages[found["stage"] - 1]
            after = _titled("after_stage", stage)
            texts = "".join(f'<blockquote lang="ko"><span class="soft">{escape(opening)}</span>{_written(text)}'
                            f"</blockquote>" for opening, text in found["text"])
            boxes.append(f'<div class="box"><h3>{self.team(team["name"], company=False)} <small class="soft">{after}'
                         f"</small></h3>{texts}</div>")
        return (f'<section class="card"><h2>{both("writing")}</h2><p class="soft small">{both("writing_more")}</p>'
                f'<div class="columns">{"".join(boxes)}</div></section>')


def _written(text: str) -> str:
    """What a model wrote, with runs of empty lines as one."""
    return escape(_BLANK_LINES.sub("\n", text)) if text.strip() else f' <span class="soft">{both("silent")}</span>'


def _titled(key: str, stage: Mapping[str, Any], **values: object) -> str:
    """A text that names a stage, whose title differs between the languages."""
    ko, en = WORDS[key]
    return pair(ko.format(title=stage["title"], **values), en.format(title=stage["title_en"], **values))


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
