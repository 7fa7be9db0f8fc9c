"""A person looks at the season."""

from __future__ import annotations

import httpx
import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
from reading import FAINT  # noqa: E402

expect = sync_api.expect

pytestmark = pytest.mark.browser

TEAMS = {"K-EXAONE": "LG AI Research", "A.X K1": "SK Telecom", "HyperCLOVA X SEED Think": "NAVER Cloud",
         "VAETKI": "NC AI", "Solar Open": "Upstage"}

@pytest.mark.parametrize(("lang", "bracket", "winner"), [("ko", "대진", "우승"), ("en", "Bracket", "Winner")])
def test_a_finished_season(visit, finished: str, lang: str, bracket: str, winner: str):
    page = visit(finished + "/board", lang=lang, dark=lang == "en")
    first = page.locator(".round").first
    for team, company in TEAMS.items():
        expect(first).to_contain_text(team)
        expect(first).to_contain_text(company)
    expect(page.get_by_role("heading", name=bracket)).to_be_visible()
    expect(page.locator(".round")).to_have_count(4)
    expect(page.locator("li.out")).to_have_count(4)
    expect(page.locator("li.champion")).to_contain_text("K-EXAONE")
    expect(page.locator("li.champion")).to_contain_text(winner)
    expect(page.locator(".stage")).to_have_count(3)
    expect(page.locator(".stage").last.locator("table").first.locator("tbody tr")).to_have_count(5)
    expect(page.locator(".chart polyline")).to_have_count(5)
    statement = {"ko": "각 회사의 모델이 아니며", "en": "not the companies' models"}[lang]
    expect(page.locator(".pocket")).to_contain_text(statement)
    assert page.evaluate(FAINT) == []


def test_a_season_in_play(visit, playing: str):
    page = visit(playing + "/board")
    expect(page.locator(".stage").nth(1)).to_contain_text("학습 중")
    expect(page.locator("li.open").first).to_contain_text("아직 정해지지 않음")
    page.get_by_role("button", name="English").click()
    expect(page.locator(".stage").nth(1)).to_contain_text("Training")
    page.wait_for_function("document.documentElement.lang === \'en\'")
    httpx.post(f"{playing}/test/finished")  # the page looks again by itself
    expect(page.locator("li.champion")).to_contain_text("K-EXAONE", timeout=15_000)


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_on_a_phone_tables_scroll_inside_their_card(visit, finished: str, lang: str):
    page = visit(finished + "/board", lang=lang, width=360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    wide = page.evaluate("[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth)"
                         ".length")
    assert wide >= 6


def test_from_the_board_to_the_chat(visit, finished: str):
    page = visit(finished + "/board")
    page.get_by_role("link", name="우승 모델과 이야기하기").click()
    expect(page.locator(".say")).to_be_visible()
