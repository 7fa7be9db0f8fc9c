"""The board as HTML, the chart, words and language."""

from __future__ import annotations

import math
import re
import string

import pytest
from boards import NAMES, board

from dokja.serve.pages.board_html import BoardView
from dokja.serve.pages.chart import flops, learning_curves
from dokja.serve.pages.words import WORDS, choose_language, short_number, word


@pytest.mark.parametrize("lang", ["ko", "en"])
@pytest.mark.parametrize("playing", [True, False])
def test_a_full_board_shows_every_team_and_stage(lang, playing: bool):
    html = BoardView(board(playing=playing), lang).html()
    for _, title, company in NAMES:
        assert title in html
        assert company in html
    assert html.count('class="stage"') == 3
    assert html.count("<polyline") == 5
    assert html.count('class="champion"') == (0 if playing else 1)
    for tag in ("section", "table", "div", "ul", "tr", "small"):
        assert html.count(f"<{tag}>") + html.count(f"<{tag} ") == html.count(f"</{tag}>")


def test_who_went_out_and_why_is_in_the_bracket():
    html = BoardView(board(), "ko").html()
    out = re.findall(r'<li class="out".*?</li>', html)
    assert len(out) == 1 + 2 + 1
    assert "꼴찌일 확률이 가장 높다" in out[0]


@pytest.mark.parametrize("data", [
    {}, {"teams": None, "stages": None}, {"stages": [{}]}, {"teams": [{"name": "x"}, {}], "stages": [{"table": [{}]}]},
    {"stages": [{"number": 1, "state": "judged", "table": [{"team": "x", "skills": {"a": {}}, "bpb": {}}]}]},
    {"teams": [{"name": "x", "curve": [[0, 1], [1, None], [2, float("nan")]]}], "budget_flops": float("nan")},
    {"state": "unheard of", "stages": [{"state": "unheard of", "keep": None}]},
])
def test_missing_values_are_tolerated(data):
    for lang in ("ko", "en"):
        assert "<h1>" in BoardView(data, lang).html()


def test_nothing_of_the_data_is_read_as_html():
    evil = "<script>alert(1)</script>\"'&"
    data = {"season": evil, "seed": evil, "winner": evil, "skills": {evil: {"ko": evil, "en": evil}},
            "teams": [{"name": evil, "title": evil, "company": evil, "state": "out", "out_stage": evil,
                       "curve": [[1, 2], [2, 1]]}],
            "stages": [{"number": evil, "title": evil, "state": "judged", "keep": 0, "baselines": {evil: 1.0},
                        "table": [{"team": evil, "kept": False, "why": evil, "skills": {evil: {"value": 0.5}}}]}]}
    for lang in ("ko", "en"):
        html = BoardView(data, lang).html()
        assert "<script" not in html
        assert 'alert(1)</script>"' not in html


def test_chart_needs_two_places_and_survives_anything():
    assert learning_curves({"a": []}, "", "", "") == ""
    assert learning_curves({"a": [[1, 2]]}, "", "", "") == ""
    assert learning_curves({"a": [[1e12, 2], [2e12, 2]]}, "", "", "").count("<polyline") == 1
    chart = learning_curves({"a": [[1, math.inf], [1e9, 3], [1e12, 2]], "b": []}, "이름", "x", "y")
    assert "nan" not in chart
    assert "inf" not in chart


@pytest.mark.parametrize(("value", "shown"), [(1e12, "10¹²"), (3e13, "3×10¹³"), (2.45e9, "2.5×10⁹"), (1, "10⁰")])
def test_flops(value: float, shown: str):
    assert flops(value) == shown


@pytest.mark.parametrize(("value", "ko", "en"), [
    (3_012_345, "301만", "3.01M"), (999, "999", "999"), (123_456_789, "1.23억", "123M"), (12_345, "1.23만", "12.3K"),
])
def test_short_numbers(value: float, ko: str, en: str):
    assert (short_number(value, "ko"), short_number(value, "en")) == (ko, en)


def test_every_word_is_there_in_both_languages_with_the_same_names():
    for key, (ko, en) in WORDS.items():
        names = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (ko, en)]
        assert names[0] == names[1], key
        assert ko, key
        assert en, key
    assert word("stage_n", "en", n=2) == "Stage 2"


@pytest.mark.parametrize(("cookie", "header", "lang"), [
    (None, "ko-KR,ko;q=0.9,en;q=0.8", "ko"), (None, "en-US,en;q=0.9,ko;q=0.8", "en"), (None, "fr", "en"),
    (None, "", "en"), ("ko", "en", "ko"), ("en", "ko", "en"), ("zz", "ko", "ko"),
    (None, "en;q=0.1, ko;q=x, ko;q=0.7", "ko"), (None, "ko;q=0,en", "en"),
])
def test_language(cookie, header: str, lang: str):
    assert choose_language(cookie, header) == lang
