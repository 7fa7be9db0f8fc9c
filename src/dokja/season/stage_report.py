"""The report's two tables of a stage: who stays and why, and what each team can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from .markup import NONE, Column, both, interval, number, pair, percent, table

Name = Callable[..., str]  # a team's name -> its mark and title as HTML


def score_table(stage: Mapping[str, Any], summary: Mapping[str, Any], team: Name) -> str:
    """Ranks, scores, bits per byte, skills and fate of a judged stage, the baselines below."""
    rows = sorted(stage["table"], key=lambda row: row["rank"])
    xz = stage["baselines"].get("xz -9")
    columns = [Column(both("rank")), Column(both("team"), number=False), Column(both("score")), Column(both("bpb")),
               Column(both("above")), Column(both("last")), Column(both("fate"), number=False)]
    lines = []
    for row in rows:
        bits = interval(row["bpb"], 3)
        if xz is not None and row["bpb"]["high"] >= xz:
            bits += f'<small class="warn">{both("not_under_xz")}</small>'
        score = interval({"value": row["score"], "low": row["score_low"], "high": row["score_high"]}, 1)
        above = sum(skill["beats_chance"] for skill in row["skills"].values())
        kind = "champion" if row["kept"] and stage["keep"] == 1 else "goes_on" if row["kept"] else "goes_out"
        fate = (f'<span class="pill {"good" if row["kept"] else "bad"}">{both(kind)}</span>'
                f'<span class="why soft">{why(row, rows, stage["keep"])}</span>')
        lines.append(("" if row["kept"] else "out", (
            str(row["rank"]), team(row["team"]), score, bits, both("above_value", n=above, total=len(row["skills"])),
            percent(row["p_last"]), fate)))
    for name, value in stage["baselines"].items():
        note = {"xz -9": both("note_xz"), "n-gram": both("note_ngram")}.get(
            name, escape(str(summary["baseline_notes"].get(name, ""))))
        title = f"{escape(name)}<small>{both('baseline')}</small>"
        lines.append(("baseline", (NONE, title, NONE, number(value, 3), NONE, NONE,
                                   f'<span class="why">{note}</span>')))
    return table(columns, lines)


def why(row: Mapping[str, Any], rows: list[Mapping[str, Any]], keep: int) -> str:
    """Why a team stays or goes, in both languages; the same reasons as `stage.decide` gives."""
    if row["kept"]:
        return both("why_kept", rank=row["rank"], total=len(rows), keep=keep)
    reason = both("why_out", gap=number(rows[keep - 1]["score"] - row["score"], 1))
    return reason + ("; " + both("why_last", share=percent(row["p_last"])) if row["rank"] == len(rows) else "")


def skill_table(stage: Mapping[str, Any], summary: Mapping[str, Any], team: Name) -> str:
    """A heat map of accuracy by skill and team: the darker, the further above chance."""
    rows = sorted(stage["table"], key=lambda row: row["rank"])
    names = list(dict.fromkeys(name for row in rows for name in row["skills"]))
    columns = [Column(both("skill"), number=False), Column(both("chance")),
               *(Column(team(row["team"], company=False)) for row in rows)]
    lines = []
    for name in names:
        title = summary["skills"].get(name, {"ko": name, "en": name})
        chance = next(row["skills"][name]["chance"] for row in rows if name in row["skills"])
        lines.append(("", (pair(title["ko"], title["en"]), percent(chance),
                           *(_cell(row["skills"].get(name)) for row in rows))))
    items = {skill["n"] for row in rows for skill in row["skills"].values()}
    count = both("skills_items", n=items.pop()) if len(items) == 1 else ""
    return (f'<h4>{both("skills")}</h4><p class="soft small">{count} {both("skills_more")}</p>'
            + table(columns, lines, "heat"))


def _cell(skill: Mapping[str, Any] | None) -> str:
    if skill is None:
        return NONE
    gain = max(0.0, (skill["value"] - skill["chance"]) / (1 - skill["chance"])) if skill["chance"] < 1 else 0.0
    sign = "▲ " if skill["beats_chance"] else ""
    small = f"<small>{number(skill['low'] * 100)}–{number(skill['high'] * 100)}</small>"
    return (f'<span class="cell {"yes" if skill["beats_chance"] else "no"}" style="--a:{gain:.2f}">{sign}'
            f'{percent(skill["value"])}{small}</span>')
