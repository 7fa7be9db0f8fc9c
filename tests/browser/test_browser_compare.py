"""A person compares two models without knowing which they are."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
from reading import FAINT  # noqa: E402
from sites import site  # noqa: E402

from dokja.serve.store import Store  # noqa: E402

expect = sync_api.expect

pytestmark = pytest.mark.browser

TEAMS = {"k-exaone": "K-EXAONE", "solar-open": "Solar Open", "exaone-4": "EXAONE 4.0"}
ANSWER = ".pair .turn.assistant .text"
SILENT = "(모델이 아무 말도 하지 않았습니다)"  # the random model may end at once


def say(page, message: str) -> None:
    page.locator(".say").fill(message)
    page.locator(".say").press("Enter")


def names_in(page) -> list[str]:
    """Names of models or teams anywhere in the page, attributes and scripts included."""
    page_source = page.content()
    return [name for pair in TEAMS.items() for name in pair if name in page_source]


def letters(text: str) -> str:
    """What is left of a text that a page has laid out and a database has stored; the random model writes anything."""
    return re.sub(r"\W", "", text)


@pytest.mark.parametrize(("choice", "button"), [("left", "A가 낫다"), ("right", "B가 낫다"), ("tie", "비슷하다"),
                                                 ("bad", "둘 다 나쁘다")])
def test_a_vote_and_then_the_names(visit, finished: str, database, choice: str, button: str):
    page = visit(finished + "/compare")
    question = f"안녕하세요? {uuid4()}"
    say(page, question)
    expect(page.locator(".pair")).to_have_count(1)
    vote = page.get_by_role("button", name=button)
    expect(vote).to_be_enabled()
    say(page, "그리고?")  # asked on before the vote
    expect(page.locator(".pair")).to_have_count(2)
    expect(vote).to_be_enabled()
    assert names_in(page) == []
    expect(page.locator(".ai-notice")).to_be_visible()
    answers = page.locator(ANSWER).all_inner_texts()
    place = vote.bounding_box()
    vote.evaluate("button => { button.click(); button.click(); }")
    revealed = page.locator(".revealed")
    expect(revealed).to_contain_text(f"고른 것: {button}")
    following = page.get_by_role("button", name="다음 비교")
    expect(following).to_be_focused()
    for spot in (place, following.bounding_box()):  # a double click whose second half finds the names
        page.mouse.move(spot["x"] + spot["width"] / 2, spot["y"] + spot["height"] / 2)
        page.mouse.down(click_count=2)
        page.mouse.up(click_count=2)
    expect(following).to_be_focused()
    expect(page.locator(".ai-notice")).to_be_visible()
    votes = [vote for vote in Store(str(database)).votes() if vote["prompts"][0] == question]
    assert len(votes) == 1  # though it was clicked twice
    kept = votes[0]
    assert (kept["choice"], kept["language"], kept["prompts"]) == (choice, "ko", [question, "그리고?"])
    assert kept["left_model"] != kept["right_model"]
    assert kept["seconds"] > 0
    said = [answer["content"] for pair in zip(kept["left_answers"], kept["right_answers"], strict=True)
            for answer in pair]
    assert [letters(text) for text in answers] == [letters(text or SILENT) for text in said]
    for letter, side in (("A", "left"), ("B", "right")):
        expect(revealed).to_contain_text(f"{letter}: {TEAMS[kept[f'{side}_model']]}")
        expect(page.locator(f".side-{side} .who").first).to_contain_text(TEAMS[kept[f"{side}_model"]])
    page.keyboard.press("Enter")
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator(".say")).to_be_focused()
    assert names_in(page) == []


def test_both_answers_stream_and_stop(visit, tmp_path):
    with site(tmp_path / "votes.sqlite", "k-exaone", "exaone-4") as address:
        page = visit(address + "/compare", lang="en")
        say(page, "천천히")
        page.wait_for_function(f"[...document.querySelectorAll('{ANSWER}')].filter((e) => e.textContent.length > 2)"
                               ".length === 2")
        expect(page.get_by_role("button", name="A is better")).to_be_disabled()
        page.locator(".say").fill("다음 질문")
        page.get_by_role("button", name="한국어").click()  # the round stays
        expect(page.get_by_role("button", name="A가 낫다")).to_be_disabled()
        expect(page.locator(".say")).to_have_value("다음 질문")
        page.keyboard.press("Escape")
        expect(page.get_by_text("멈췄습니다.")).to_have_count(2)
        expect(page.get_by_role("button", name="A가 낫다")).to_be_enabled()
        say(page, "가" * 3000)
        expect(page.get_by_role("alert")).to_contain_text("메시지가 너무 깁니다")
        expect(page.locator(".say")).to_have_value("가" * 3000)
        expect(page.locator(".pair")).to_have_count(1)
        page.goto("about:blank")


def test_a_reload_keeps_the_round(visit, tmp_path):
    with site(tmp_path / "votes.sqlite", "k-exaone", "exaone-4") as address:
        page = visit(address + "/compare")
        say(page, "천천히")
        page.wait_for_function("location.pathname.startsWith('/compare/')")
        page.reload()  # while both write
        expect(page.get_by_role("button", name="비슷하다")).to_be_enabled()
        expect(page.locator(".turn.user .text")).to_have_text("천천히")
        answers = page.locator(ANSWER).all_inner_texts()
        tab = page.context.new_page()
        tab.goto(page.url)
        other = visit(page.url)  # somebody else's browser
        expect(other.get_by_role("alert")).to_contain_text("이 비교는 없거나")
        expect(other.locator(".pair")).to_have_count(0)
        other.goto("about:blank")
        expect(tab.locator(ANSWER)).to_have_text(answers)
        assert names_in(tab) == []
        tab.get_by_role("button", name="B가 낫다").click()
        expect(page.locator(".revealed")).to_contain_text("고른 것: B가 낫다")  # here too
        page.reload()
        expect(page.locator(".revealed")).to_contain_text("고른 것: B가 낫다")
        expect(page.locator(".say")).to_have_count(0)
        page.get_by_role("button", name="다음 비교").click()
        expect(page.locator(".turn")).to_have_count(0)
        assert page.evaluate("location.pathname") == "/compare"
        tab.goto("about:blank")
        page.goto("about:blank")
    assert [vote["choice"] for vote in Store(str(tmp_path / "votes.sqlite")).votes()] == ["right"]


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_on_a_phone_answers_stand_one_below_the_other(visit, finished: str, lang: str):
    page = visit(finished + "/compare", lang=lang, width=360, dark=lang == "en")
    say(page, "https://example.invalid/" + "a" * 90)
    expect(page.locator(".votes button:not([disabled])")).to_have_count(4)
    first, second = (page.locator(f".side-{side}").bounding_box() for side in ("left", "right"))
    assert first["y"] + first["height"] <= second["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(FAINT) == []
    assert page.locator("h1").count() == page.get_by_role("main").count() == 1
    page.locator(".votes button").first.click()
    expect(page.locator(".revealed")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(FAINT) == []
