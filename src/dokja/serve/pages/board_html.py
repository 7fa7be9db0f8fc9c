"""The season board as HTML: bracket, stage tables, learning curves, costs. Everything may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from .chart import DASHES, flops, learning_curves, usable
from .words import Lang, short_number, word


class BoardView:
    """One board in one language."""

    def __init__(self, board: Mapping[str, Any], lang: Lang, *, can_talk: bool = False) -> None:
        self.lang: Lang = lang
        self.board = board
        self.can_talk = can_talk
        self.teams: list[Mapping[str, Any]] = [team for team in board.get("teams") or [] if team.get("name")]
        self.stages: list[Mapping[str, Any]] = list(board.get("stages") or [])
        self.places = {team["name"]: place for place, team in enumerate(self.teams)}
        self.titles = {team["name"]: str(team.get("title") or team["name"]) for team in self.teams}

    def html(self) -> str:
        """The whole board."""
        return "".join((self._title(), self._bracket(), self._results(), self._curves(), self._costs()))

    def say(self, key: str, **values: object) -> str:
        """A text in the reader's language, safe inside HTML."""
        return escape(word(key, self.lang, **values))

    def _local(self, row: Mapping[str, Any], key: str) -> str:
        """A text of the season's own in the reader's language where it is given in both (key_ko, key_en)."""
        return str(row.get(f"{key}_{self.lang}") or row.get(key) or "")

    def _title(self) -> str:
        finished = self.board.get("state") == "finished"
        state = self.say("finished" if finished else "playing")
        facts = []
        if self.board.get("seed") is not None:
            facts.append(f"{self.say('seed')} {escape(str(self.board['seed']))}")
        if self.board.get("budget_flops"):
            facts.append(f"{self.say('budget')} {_flops(self.board['budget_flops'])} FLOPs")
        if not finished:
            facts.append(self.say("refreshes"))
        talk = f'<p><a href="/">{self.say("talk")}</a></p>' if self.can_talk and finished else ""
        return (f'<div class="title-line"><h1>{escape(str(self.board.get("season") or word("board", self.lang)))}</h1>'
                f'<span class="pill{"" if finished else " good"}">{state}</span>'
                f'<span class="soft small">{" · ".join(facts)}</span></div>'
                f'<p class="soft pocket">{self.say("pocket")}</p>{talk}')

    def _team_style(self, name: str) -> str:
        return f"--team:var(--t{self.places.get(name, 0) % 5})"

    def _team(self, name: str) -> str:
        company = next((team.get("company") for team in self.teams if team["name"] == name), None)
        small = f"<small>{escape(str(company))}</small>" if company else ""
        return (f'<span class="team"><span class="dot" style="{self._team_style(name)}"></span>'
                f'<span>{escape(self.titles.get(name, name))}{small}</span></span>')

    # Bracket: a column for the start and one after each stage.

    def _bracket(self) -> str:
        if not self.teams:
            return ""
        rounds = [self._round(self.say("start"), len(self.teams),
                              [self._entry(team["name"], "", str(team.get("company") or "")) for team in self.teams])]
        for stage in self.stages:
            rounds.append(self._after(stage))
        return (f'<section class="card"><h2>{self.say("bracket")}</h2>'
                f'<div class="scroll" tabindex="0" role="group" aria-label="{self.say("bracket")}">'
                f'<div class="bracket">{"".join(rounds)}</div></div></section>')

    def _after(self, stage: Mapping[str, Any]) -> str:
        keep = int(stage.get("keep") or 0)
        rows = sorted(stage.get("table") or [], key=lambda row: row.get("rank") or 99)
        if stage.get("state") != "judged" or not rows:
            state = self.say(f"state_{stage.get('state')}" if stage.get("state") in ("waiting", "training", "judged")
                             else "state_waiting")
            entries = [f'<li class="open"><b>{self.say("undecided")}</b><small>{state}</small></li>'] * max(keep, 1)
            return self._round(self._stage_name(stage), keep, entries)
        entries = []
        for row in rows:
            fate = self._fate(stage, row)
            why = f": {escape(self._local(row, 'why'))}" if row.get("why") and fate == "goes_out" else ""
            kind = {"wins": "champion", "goes_out": "out"}.get(fate, "")
            note = self.say(fate) + why if fate else ""
            entries.append(self._entry(str(row.get("team") or "?"), kind, note, safe=True))
        return self._round(self._stage_name(stage), keep, entries)

    def _fate(self, stage: Mapping[str, Any], row: Mapping[str, Any]) -> str:
        """What a stage meant for a team: a key of the words, "" if it is not said."""
        if row.get("kept") is None:
            return ""
        if not row["kept"]:
            return "goes_out"
        alone = stage is self.stages[-1] and (stage.get("keep") == 1 or self.board.get("winner") == row.get("team"))
        return "wins" if alone else "goes_on"

    def _stage_name(self, stage: Mapping[str, Any]) -> str:
        return self.say("stage_n", n=stage.get("number") or self.stages.index(stage) + 1)

    def _round(self, name: str, count: int, entries: list[str]) -> str:
        teams = self.say("team_1") if count == 1 else self.say("teams_n", n=count) if count else ""
        return f'<div class="round"><h3><span>{name}</span><span>{teams}</span></h3><ul>{"".join(entries)}</ul></div>'

    def _entry(self, name: str, kind: str, note: str, *, safe: bool = False) -> str:
        note = note if safe else escape(note)
        return (f'<li class="{kind}" style="{self._team_style(name)}"><b>{escape(self.titles.get(name, name))}</b>'
                f"<small>{note}</small></li>")

    # Tables.

    def _results(self) -> str:
        if not self.stages:
            return ""
        parts = "".join(self._stage(stage) for stage in reversed(self.stages))
        return (f'<section class="card"><h2>{self.say("results")}</h2>'
                f'<p class="soft small">{self.say("results_more")} {self.say("bpb_hint")}</p>{parts}</section>')

    def _stage(self, stage: Mapping[str, Any]) -> str:
        rows = sorted(stage.get("table") or [], key=lambda row: row.get("rank") or 99)
        state = stage.get("state") if stage.get("state") in ("waiting", "training", "judged") else "waiting"
        name = self._stage_name(stage)
        if stage.get("title"):
            name += f" · {escape(self._local(stage, 'title'))}"
        head = f'<div class="title-line"><h3>{name}</h3><span class="pill">{self.say(f"state_{state}")}</span></div>'
        if not rows:
            return f'<div class="stage">{head}<p class="soft small">{self.say("no_table")}</p></div>'
        baselines = " · ".join(f"{escape(str(key))} {_number(value, 2)}"
                               for key, value in (stage.get("baselines") or {}).items())
        compare = f'<p class="soft small">{self.say("baselines")}: {baselines}</p>' if baselines else ""
        return f'<div class="stage">{head}{self._scores(stage, rows, name)}{compare}{self._skills(rows, name)}</div>'

    def _scores(self, stage: Mapping[str, Any], rows: list[Mapping[str, Any]], caption: str) -> str:
        columns = (("col_rank", " number"), ("col_team", ""), ("col_score", " number"), ("col_bpb", " number"),
                   ("col_last", " number"), ("col_result", ""), ("col_why", ""))
        head = "".join(f'<th scope="col" class="{kind.strip()}">{self.say(key)}</th>' for key, kind in columns)
        body = []
        for row in rows:
            fate = self._fate(stage, row)
            tone = "bad" if fate == "goes_out" else "good"
            pill = f'<span class="pill {tone}">{self.say(fate)}</span>' if fate else ""
            score = {"value": row.get("score"), "low": row.get("score_low"), "high": row.get("score_high")}
            body.append(
                f'<tr class="{"out-row" if fate == "goes_out" else ""}">'
                f'<td class="number">{_number(row.get("rank"), 0)}</td>'
                f'<th scope="row">{self._team(str(row.get("team") or "?"))}</th>'
                f'<td class="number">{_interval(score, 1)}</td><td class="number">{_interval(row.get("bpb"), 3)}</td>'
                f'<td class="number">{_percent(row.get("p_last"))}</td><td>{pill}</td>'
                f'<td class="why small">{escape(self._local(row, "why"))}</td></tr>')
        return self._table(caption, head, "".join(body))

    def _skills(self, rows: list[Mapping[str, Any]], caption: str) -> str:
        names = list(dict.fromkeys(name for row in rows for name in row.get("skills") or {}))
        if not names:
            return ""
        head = f'<th scope="col">{self.say("col_team")}</th>'
        for name in names:
            title = ((self.board.get("skills") or {}).get(name) or {}).get(self.lang) or name
            chance = next((skill.get("chance") for row in rows if (skill := (row.get("skills") or {}).get(name))), None)
            small = f"<small>{self.say('chance')} {_percent(chance)}</small>" if chance is not None else ""
            head += f'<th scope="col" class="number">{escape(str(title))}{small}</th>'
        body = "".join(
            f'<tr><th scope="row">{self._team(str(row.get("team") or "?"))}</th>'
            + "".join(_skill((row.get("skills") or {}).get(name)) for name in names) + "</tr>" for row in rows)
        return (f'<h4 class="hidden-text">{self.say("skills")}</h4><p class="soft small">{self.say("skills")}: '
                f'{self.say("skills_more")}</p>' + self._table(f"{caption}: {self.say('skills')}", head, body, "many"))

    def _table(self, caption: str, head: str, body: str, kind: str = "") -> str:
        return (f'<div class="scroll" tabindex="0" role="group" aria-label="{caption}"><table class="{kind}">'
                f'<caption class="hidden-text">{caption}</caption>'
                f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>")

    # Curves and costs.

    def _curves(self) -> str:
        curves = {self.titles[team["name"]]: team.get("curve") or [] for team in self.teams}
        chart = learning_curves(curves, word("curves_label", self.lang), word("axis_flops", self.lang),
                                word("axis_loss", self.lang))
        if not chart:
            inner = f'<p class="soft small">{self.say("no_curves")}</p>'
        else:
            keys = "".join(
                f'<li><svg viewBox="0 0 30 8" style="{self._team_style(team["name"])}" aria-hidden="true">'
                f'<line x1="0" x2="30" y1="4" y2="4" stroke-dasharray="{DASHES[place % 5]}"/></svg>'
                f'{escape(self.titles[team["name"]])} '
                f'<span class="soft">{_last_loss(team.get("curve") or [])}</span></li>'
                for place, team in enumerate(self.teams))
            inner = (f'<p class="soft small">{self.say("curves_more")}</p>'
                     f'<figure class="scroll">{chart}</figure><ul class="legend">{keys}</ul>')
        return f'<section class="card"><h2>{self.say("curves")}</h2>{inner}</section>'

    def _costs(self) -> str:
        if not self.teams:
            return ""
        columns = ("col_team", "col_parameters", "col_active", "col_kv", "col_tokens", "col_flops", "col_state")
        head = "".join(f'<th scope="col"{"" if key in ("col_team", "col_state") else NUMBER}>{self.say(key)}</th>'
                       for key in columns)
        body = ""
        for team in self.teams:
            total, active, tokens = (short_number(team[key], self.lang) if team.get(key) else "–"
                                     for key in ("parameters", "active", "tokens"))
            cache = f"{_number(team.get('kv_bytes_per_token'), 0)} B"
            spent = _flops(team.get("flops"))
            body += (f'<tr><th scope="row">{self._team(team["name"])}</th><td class="number">{total}</td>'
                     f'<td class="number">{active}</td><td class="number">{cache}</td>'
                     f'<td class="number">{tokens}</td><td class="number">{spent}</td>'
                     f"<td>{self._state(team)}</td></tr>")
        return (f'<section class="card"><h2>{self.say("costs")}</h2>'
                f'{self._table(self.say("costs"), head, body)}</section>')

    def _state(self, team: Mapping[str, Any]) -> str:
        if team.get("state") == "winner":
            return f'<span class="pill good">{self.say("wins")}</span>'
        if team.get("state") == "out":
            stage = team.get("out_stage")
            return f'<span class="soft">{self.say("out_at", n=stage) if stage else self.say("goes_out")}</span>'
        return self.say("still_in")


NUMBER = ' class="number"'


def _number(value: Any, digits: int) -> str:
    return f"{value:,.{digits}f}" if isinstance(value, int | float) else "–"


def _percent(value: Any) -> str:
    return f"{value * 100:.0f}%" if isinstance(value, int | float) else "–"


def _flops(value: Any) -> str:
    return flops(value) if isinstance(value, int | float) and value > 0 else "–"


def _interval(figure: Mapping[str, Any] | None, digits: int) -> str:
    if not figure or figure.get("value") is None:
        return "–"
    small = ""
    if figure.get("low") is not None and figure.get("high") is not None:
        small = f"<small>{_number(figure['low'], digits)} – {_number(figure['high'], digits)}</small>"
    return _number(figure["value"], digits) + small


def _skill(skill: Mapping[str, Any] | None) -> str:
    if not skill or skill.get("value") is None:
        return '<td class="number">–</td>'
    small = ""
    if skill.get("low") is not None and skill.get("high") is not None:
        small = f"<small>{_number(skill['low'] * 100, 0)}–{_percent(skill['high'])}</small>"
    faded = "" if skill.get("beats_chance", True) else " faded"
    return f'<td class="number{faded}">{_percent(skill["value"])}{small}</td>'


def _last_loss(curve: list[list[float]]) -> str:
    points = usable(curve)
    return f"{points[-1][1]:.3f}" if points else ""
