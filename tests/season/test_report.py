"""The season report, from summaries built by hand."""

from __future__ import annotations

import copy
import io
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from rich.console import Console

from dokja.season.charts import Line, learning_curves, spread, stage_points, ticks
from dokja.season.command import print_status
from dokja.season.markup import power, short
from dokja.season.report import render
from dokja.season.words import WORDS

HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(2)>'
TEAMS = ("alpha", "beta", "gamma")
VOID = {"meta", "input", "br", "line", "path", "link", "img"}


class Balance(HTMLParser):
    """Raises when a tag is closed that is not the innermost open one; collects links, text and drawn elements."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), f"<{tag}> has an attribute twice"
        self.tags.append((tag, found))
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(html: str) -> Balance:
    parser = Balance()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def row(team: str, rank: int, keep: int) -> dict[str, Any]:
    return {
        "team": team, "rank": rank, "kept": rank <= keep, "score": 61.25 - 7 * rank, "score_low": 50.125 - 7 * rank,
        "score_high": 70.5 - 7 * rank, "p_last": 0.17 * rank, "why": "because",
        "bpb": {"value": 0.7123 + rank / 100, "low": 0.7001 + rank / 100, "high": 0.7301 + rank / 100, "n": 50},
        "skills": {
            "clock": {"value": 0.43 + rank / 100, "low": 0.35, "high": 0.52, "n": 120, "chance": 0.08,
                      "beats_chance": True},
            "units": {"value": 0.21, "low": 0.14, "high": 0.29, "n": 120, "chance": 0.18, "beats_chance": False},
        },
    }


@pytest.fixture
def finished() -> dict[str, Any]:
    """Three teams, two stages, a winner, hostile words from a model."""
    order = [[row("gamma", 1, 2), row("alpha", 2, 2), row("beta", 3, 2)], [row("gamma", 1, 1), row("alpha", 2, 1)]]
    teams = [{
        "name": name, "title": f"Team {name.title()} <&>", "company": f"{name} & Sons", "step": 10, "steps": 20,
        "state": {"beta": "out", "alpha": "out", "gamma": "winner"}[name],
        "out_stage": {"beta": 1, "alpha": 2, "gamma": None}[name], "seconds": 71.0 + place,
        "parameters": 4_213_344 + place, "active": 1_234_567 + place, "vocab": 3072, "width": 96, "layers": 6,
        "kv_bytes_per_token": 576.0 + place, "flops_per_token": 9.13e6, "tokens": 3_555_555 + place,
        "flops": 1e13 if name == "beta" else 2e13,
        "official_parameters": 237_099_669_632,
        "curve": [[n * 1e12, 8.0 / n + place / 10] for n in range(1, 11 if name == "beta" else 21)],
    } for place, name in enumerate(TEAMS)]
    return {
        "season": "pocket <1>", "state": "finished", "seed": 7, "budget_flops": 2e13, "winner": "gamma", "teams": teams,
        "plan": {"seed": 7, "team_flops": 2e13, "size": 4_200_000, "context": 256,
                 "train_bytes": 41_300_000, "heldout_bytes": 300_000, "texts": ["my <texts>"],
                 "workers": 2, "threads": 3},
        "score": {"text_points": 50.0, "exercise_points": 50.0},
        "stages": [{"number": n, "title": title, "title_en": title_en, "keep": keep, "state": "judged",
                    "baselines": {"xz -9": 1.2163, "n-gram": 0.9876}, "table": order[n - 1]}
                   for n, title, title_en, keep in ((1, "일차 <평가>", "Stage <one>", 2), (2, "결선", "Final", 1))],
        "skills": {"clock": {"ko": "시계", "en": "clock"}, "units": {"ko": "단위", "en": "unit conversion"}},
        "samples": {name: {"stage": 1 if name == "beta" else 2, "text": [["오늘", f" {name} {HOSTILE}"], ["내일", ""]],
                           "replies": {"clock": [["몇 시?", "4시", "4시." if name == "gamma" else HOSTILE],
                                                 ["지금은?", "5시", "  "]]}} for name in TEAMS},
        "baseline_notes": {"xz -9": "the held-out text", "n-gram": "fitted"},
    }


@pytest.fixture
def begun(finished: dict[str, Any]) -> dict[str, Any]:
    """A season right after its start: no tables, one team prepared, none trained."""
    summary = copy.deepcopy(finished)
    summary.update(state="playing", winner=None, samples={}, baseline_notes={})
    for stage in summary["stages"]:
        stage.update(state="training" if stage["number"] == 1 else "waiting", table=[], baselines={})
    for team in summary["teams"]:
        team.update(state="in", out_stage=None, step=0, seconds=0.0, curve=[], tokens=0, flops=0.0)
    for team in summary["teams"][1:]:
        team["steps"] = None
        for key in ("parameters", "active", "vocab", "width", "layers", "kv_bytes_per_token", "flops_per_token",
                    "tokens", "flops", "curve"):
            del team[key]
    return summary


def test_a_finished_season(finished: dict[str, Any]) -> None:
    page = parsed(render(finished))
    text = " ".join(page.text)
    for team in finished["teams"]:
        assert team["title"] in text
        assert team["company"] in text
    for stage in finished["stages"]:
        assert stage["title"] in text
        assert stage["title_en"] in text
    assert "not the companies' models" in text
    assert "각 회사의 모델이 아니며" in text
    assert "Team Gamma <&> wins" in text


def test_the_numbers_are_the_summary_s(finished: dict[str, Any]) -> None:
    words = " ".join(" ".join(parsed(render(finished)).text).split())
    for stage in finished["stages"]:
        for line in stage["table"]:
            for wanted in (f"{line['score']:.1f} {line['score_low']:.1f}–{line['score_high']:.1f}",
                           f"{line['bpb']['value']:.3f} {line['bpb']['low']:.3f}–{line['bpb']['high']:.3f}",
                           f"{line['p_last'] * 100:.0f}%", f"▲ {line['skills']['clock']['value'] * 100:.0f}% 35–52"):
                assert wanted in words
    for team in finished["teams"]:
        for key in ("parameters", "active", "tokens", "kv_bytes_per_token", "vocab"):
            assert f"{team[key]:,.0f}" in words
    for wanted in ("1.216", "0.988", "9.13×10⁶", "2×10¹³", "237B", "2,371억", "0:03:36", "41.3 MB", "1 of 2",
                   "7.0 points behind the last that stays", "last in 51% of the resampled judgements"):
        assert wanted in words


def test_a_season_just_begun(begun: dict[str, Any]) -> None:
    html = render(begun)
    text = " ".join(parsed(html).text)
    assert "No team has won yet" in text
    assert text.count("Not judged yet.") == 2
    assert all(team["title"] in text for team in begun["teams"])
    assert "<polyline" not in html


def test_a_season_between_stages(finished: dict[str, Any]) -> None:
    finished.update(state="playing", winner=None)
    finished["stages"][1].update(table=[], state="training")
    page = parsed(render(finished))
    assert "Not judged yet." in " ".join(page.text)
    ends = [found for tag, found in page.tags if tag == "line" and found.get("class") == "end"]
    assert len(ends) == 2  # the first stage's, in the wide and in the narrow chart


def test_words_from_models_and_users_are_escaped(finished: dict[str, Any]) -> None:
    html = render(finished)
    page = parsed(html)
    assert html.count("<script") == 1  # the page's own
    assert not any(tag == "img" or name.startswith("on") for tag, found in page.tags for name in found)
    assert "alert(&quot;1&quot;)" in html
    assert "<texts>" not in html
    assert "<one>" not in html


def test_nothing_comes_from_elsewhere(finished: dict[str, Any]) -> None:
    html = render(finished)
    assert parsed(html).links == []
    assert not re.search(r"https?://|@import|url\(", html)


def test_both_languages_say_everything(finished: dict[str, Any]) -> None:
    page = parsed(render(finished))
    count = {lang: sum((found.get("class") or "").split()[-1:] == [lang] for _, found in page.tags)
             for lang in ("ko", "en")}
    assert count["ko"] == count["en"] > 100
    for key, (ko, en) in WORDS.items():
        assert set(re.findall(r"{\w+}", ko)) == set(re.findall(r"{\w+}", en)), key


def test_the_charts_have_all_teams(finished: dict[str, Any]) -> None:
    page = parsed(render(finished))
    for place in range(len(TEAMS)):
        lines = [found for tag, found in page.tags
                 if tag == "polyline" and f"t{place}" in (found.get("class") or "").split()]
        assert len(lines) == 4  # two charts, each wide and narrow
        labels = [found for tag, found in page.tags
                  if tag == "text" and {"label", f"t{place}"} <= set((found.get("class") or "").split())]
        assert len(labels) == 4


def test_replies_are_ticked_when_right_and_said_to_be_empty(finished: dict[str, Any]) -> None:
    html = render(finished)
    assert html.count("✓</span> 4시.") == 1
    assert html.count("(wrote nothing)") == 6


def test_points_stay_inside_the_chart() -> None:
    curve = [(n * 1e10, 9 - n / 20) for n in range(1, 101)] + [(1.01e12, float("nan"))]
    page = parsed(learning_curves([Line(0, "a", curve)], {("끝", "end"): 1e12}, 1e12))
    charts = [found for tag, found in page.tags if tag == "svg"]
    lines = [found for tag, found in page.tags if tag == "polyline"]
    for chart, line in zip(charts, lines, strict=True):
        _, _, width, height = map(float, (chart["viewbox"] or "").split())
        points = [tuple(map(float, point.split(","))) for point in (line["points"] or "").split()]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


def test_charts_of_nothing_are_empty() -> None:
    assert learning_curves([Line(0, "a", [(1e9, 5.0)]), Line(1, "b", [])], {}, 1e10) == ""
    assert stage_points([Line(0, "a", [])], {0: []}, [], {}) == ""


def test_labels_do_not_overlap() -> None:
    placed = spread([100, 101, 99, 180, 10], [14, 28, 14, 14, 14], 0, 190)
    spans = sorted((y - h / 2, y + h / 2) for y, h in zip(placed, [14, 28, 14, 14, 14], strict=True))
    assert all(below[1] <= above[0] + 1e-9 for below, above in pairwise(spans))
    assert spans[0][0] >= 0
    assert spans[-1][1] <= 190


def test_numbers() -> None:
    assert power(9.9962e10) == "10¹¹"
    assert power(3.2e13) == "3.2×10¹³"
    assert power(0) == "–"
    assert ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert "2,371억" in short(237_099_669_632)
    assert "14.7B" in short(14_748_112_896)


def test_status_fits_80_columns(finished: dict[str, Any], begun: dict[str, Any]) -> None:
    finished["state"] = "playing"  # the closing words are about teams that exist
    finished["teams"][1]["title"] = "HyperCLOVA X SEED Think"
    for summary in (finished, begun):
        console = Console(width=80, record=True, file=io.StringIO())
        print_status(summary, console)
        text = console.export_text()
        assert max(map(len, text.splitlines())) <= 80
        assert "…" not in text
    console = Console(width=80, file=io.StringIO(), record=True)
    print_status(finished, console)
    text = console.export_text()
    for wanted in ("0.722 0.710-0.740", "54.2 43.1-63.5", "4.21M", "xz -9", "wins", "out, stage 1"):
        assert wanted in text
