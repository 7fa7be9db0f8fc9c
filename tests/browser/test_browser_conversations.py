"""A person keeps, changes and takes away conversations."""

from __future__ import annotations

import json
import re

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
from reading import FAINT  # noqa: E402
from sites import site  # noqa: E402

expect = sync_api.expect

pytestmark = pytest.mark.browser

TEXT = "안녕하세요? 저는 아주 작은 모델입니다. 오늘은 날씨가 좋아서 나는 학교에 걸어서 갑니다. 반갑습니다!"
THOUGHT = "무엇을 묻는지 먼저 생각해 봅니다."
ANSWER = ".turn.assistant .text"
BEGUN = f"document.querySelector('{ANSWER}')?.textContent.length > 2"


def say(page, message: str, answers: int | None = None) -> None:
    """Send a message; wait until there are that many answers, the last one finished."""
    page.locator(".say").fill(message)
    page.locator(".say").press("Enter")
    if answers:
        expect(page.locator(ANSWER)).to_have_count(answers)
        expect(page.locator(ANSWER).last).to_have_text(TEXT)
        expect(page.locator(".main-button.send")).to_be_visible()


def manage(page, name: str) -> None:
    page.get_by_text("대화 관리").click()
    page.locator(".menu-in").get_by_text(name, exact=True).click()


def test_a_conversation_is_there_after_a_reload_and_a_restart(visit, tmp_path):
    with site(tmp_path / "kept.sqlite", "k-exaone") as address:
        page = visit(address)
        say(page, "기억해 주세요", 1)
        page.wait_for_function("location.pathname.startsWith('/c/')")
        path = page.evaluate("location.pathname")
        page.reload()
        expect(page.locator(".turn.user .text")).to_have_text("기억해 주세요")
        expect(page.locator(ANSWER)).to_have_text(TEXT)
        cookies = page.context.cookies()
        assert [(c["httpOnly"], c["sameSite"]) for c in cookies if c["name"] == "dokja_visitor"] == [(True, "Lax")]
        page.goto("about:blank")
    with site(tmp_path / "kept.sqlite", "k-exaone") as address:
        page = visit(address)
        page.context.add_cookies([{**cookie, "domain": "127.0.0.1"} for cookie in cookies])
        page.goto(address)
        page.locator(".side li a").click()
        page.wait_for_url(f"**{path}")
        expect(page.locator(ANSWER)).to_have_text(TEXT)
        say(page, "그리고", 2)
        page.goto(address + "/compare")  # what it takes is said where only one model is served
        expect(page.locator("#main")).to_contain_text("모델이 둘 있어야 하는데 지금은 1개뿐입니다")
        expect(page.locator(".say")).to_have_count(0)
        page.goto("about:blank")


def test_rename_and_delete(visit, finished: str):
    page = visit(finished)
    say(page, "첫째 대화", 1)
    page.get_by_role("link", name="새 대화").click()
    expect(page.locator(".turn")).to_have_count(0)
    say(page, "둘째 대화", 1)
    links = page.locator(".side li a")
    expect(links).to_have_text(["둘째 대화", "첫째 대화"])
    manage(page, "이름 바꾸기")
    field = page.locator("dialog input")
    expect(field).to_have_value("둘째 대화")
    field.fill("<b>여행</b> 계획 🧳")
    field.press("Enter")
    expect(links).to_have_text(["<b>여행</b> 계획 🧳", "첫째 대화"])
    expect(page.locator("h1")).to_have_text("<b>여행</b> 계획 🧳")
    manage(page, "삭제")
    page.keyboard.press("Escape")  # no
    expect(links).to_have_count(2)
    manage(page, "삭제")
    page.locator("dialog").get_by_role("button", name="삭제").click()
    expect(links).to_have_text(["첫째 대화"])
    expect(page.locator(".turn")).to_have_count(0)


def test_nobody_else_sees_a_conversation(visit, finished: str):
    page = visit(finished)
    say(page, "비밀", 1)
    page.wait_for_function("location.pathname.startsWith('/c/')")
    path = page.evaluate("location.pathname")
    other = visit(finished + path, lang="en")
    expect(other.get_by_role("alert")).to_have_text("This conversation does not exist or has been deleted.")
    expect(other.locator(".side li")).to_have_count(0)
    assert other.request.get(f"{finished}{path}/export.json").status == 404
    assert page.request.get(f"{finished}{path}/export.json").status == 200
    say(other, "hello", 1)  # the page goes on as a new conversation
    assert other.evaluate("location.pathname") != path


def test_an_edited_message_is_asked_again_and_what_came_after_goes(visit, finished: str):
    page = visit(finished)
    say(page, "하나", 1)
    say(page, "둘", 2)
    page.locator(".edit").first.click()
    field = page.locator(".edit-text")
    expect(field).to_be_focused()
    expect(field).to_have_value("하나")
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    expect(page.locator(".say")).to_be_focused()
    page.keyboard.press("ArrowUp")  # the last message
    expect(field).to_have_value("둘")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    page.locator(".edit").first.click()
    expect(field).to_be_focused()
    field.fill("셋")
    field.press("Enter")
    expect(page.locator(".turn.user .text")).to_have_text(["셋"])
    expect(page.locator(ANSWER)).to_have_text([TEXT])
    expect(page.locator(".main-button.send")).to_be_visible()
    page.reload()
    expect(page.locator(".turn.user .text")).to_have_text(["셋"])


def test_an_answer_again(visit, finished: str):
    page = visit(finished)
    page.get_by_label("모델 고르기").select_option("solar-open")
    expect(page.locator(".team-name")).to_have_text("Solar Open")
    page.locator(".say").fill("안녕")
    page.locator(".say").press("Enter")
    page.locator(".retry").wait_for()
    first = page.locator(ANSWER).inner_text()
    page.locator(".retry").click()
    page.wait_for_function("(before) => document.querySelector('.retry') && document.querySelector("
                           "'.turn.assistant .text').innerText !== before", arg=first)
    expect(page.locator(".turn.user")).to_have_count(1)
    expect(page.locator(ANSWER)).to_have_count(1)


def test_a_reload_while_an_answer_comes(visit, finished: str):
    page = visit(finished)
    say(page, "천천히 말해 주세요")
    page.wait_for_function(BEGUN)
    page.wait_for_function("location.pathname.startsWith('/c/')")
    page.reload()
    page.wait_for_function(BEGUN)
    assert page.locator(".main-button").inner_text() == "멈추기"
    expect(page.locator(ANSWER)).to_have_text(TEXT)
    expect(page.locator(".main-button")).to_have_text("보내기")


def test_two_tabs_show_one_conversation(visit, finished: str):
    page = visit(finished)
    say(page, "하나", 1)
    page.wait_for_function("location.pathname.startsWith('/c/')")
    tab = page.context.new_page()
    tab.goto(finished + page.evaluate("location.pathname"))
    expect(tab.locator(ANSWER)).to_have_text([TEXT])
    say(page, "천천히 말해 주세요")
    expect(tab.locator(".turn.user")).to_have_count(2)
    expect(tab.locator(".main-button")).to_have_text("멈추기")
    tab.locator(".main-button").click()
    expect(page.locator(".turn.assistant").last).to_contain_text("멈췄습니다.")
    tab.get_by_text("대화 관리").click()
    tab.locator(".menu-in .delete").click()
    tab.locator("dialog").get_by_role("button", name="삭제").click()
    expect(page.get_by_role("alert")).to_have_text("이 대화는 없거나 삭제되었습니다.")
    expect(page.locator(".turn.user")).to_have_count(0)
    assert page.evaluate("location.pathname") == "/"
    say(page, "새로", 1)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_reasoning_is_folded_and_can_be_switched_off(visit, finished: str):
    page = visit(finished)
    expect(page.locator(".switch")).to_have_count(0)  # this model has none
    page.get_by_label("모델 고르기").select_option("exaone-4")
    expect(page.locator(".switch label")).to_have_text(["켬", "끔"])
    expect(page.locator(".statement")).to_have_count(0)  # a published model is not called a pocket one
    expect(page.locator(".empty")).to_have_text("무엇이든 물어보세요")
    page.get_by_label("켬").check()
    say(page, "천천히 생각해 보세요")
    thought = page.locator(".thought")
    expect(thought).to_contain_text("생각하는 중")
    expect(page.locator(ANSWER)).to_have_text(TEXT)
    expect(thought.locator("summary")).to_have_text("생각한 과정")
    expect(thought.locator(".thought-text")).not_to_be_visible()
    thought.locator("summary").click()
    expect(thought.locator(".thought-text")).to_have_text(THOUGHT)
    page.get_by_label("끔").check()
    say(page, "바로", 2)
    expect(thought).to_have_count(1)
    page.reload()
    expect(page.get_by_label("끔")).to_be_checked()
    expect(page.locator(".thought-text")).to_have_text(THOUGHT)


@pytest.mark.parametrize("kind", ["json", "md"])
def test_an_exported_file_says_what_wrote_it(visit, finished: str, kind: str):
    page = visit(finished)
    page.get_by_text("시스템 프롬프트").click()
    page.get_by_label("시스템 프롬프트").fill("짧게 답한다.")
    say(page, "내보낼 말 <b>", 1)
    page.get_by_text("대화 관리").click()
    with page.expect_download() as download:
        page.get_by_text(f"(.{kind})").click()
    assert re.fullmatch(rf"dokja-[0-9a-f]{{8}}\.{kind}", download.value.suggested_filename)
    text = download.value.path().read_text(encoding="utf-8")
    if kind == "json":
        data = json.loads(text)
        assert data["ai_generated"] is True
        assert "AI가 생성한" in data["notice"]
        assert data["system"] == "짧게 답한다."
        question, answer = data["messages"]
        assert (question["content"], question["ai_generated"]) == ("내보낼 말 <b>", False)
        assert (answer["content"], answer["ai_generated"], answer["model"]) == (TEXT, True, "k-exaone")
    else:
        assert text.startswith("---\ntitle: ")
        assert "\nai_generated: true\n" in text
        assert "generated by AI" in text
        assert "## assistant (k-exaone, AI)" in text
        assert TEXT in text


def test_copy(visit, finished: str):
    page = visit(finished)
    say(page, "안녕", 1)
    page.locator(".turn.assistant .copy").click()
    expect(page.locator(".turn.assistant .copy")).to_have_text("복사했습니다")
    assert page.evaluate("navigator.clipboard.readText()") == TEXT
    expect(page.locator(".turn.assistant .copy")).to_have_text("복사")


def test_keys_are_listed_and_work(visit, finished: str):
    page = visit(finished, lang="en")
    page.keyboard.press("Alt+Shift+K")
    dialog = page.get_by_role("dialog")
    for key in ("Enter", "Shift + Enter", "Esc", "↑", "Alt + Shift + N", "Alt + Shift + L", "Alt + Shift + M"):
        expect(dialog.get_by_text(key, exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    say(page, "hello", 1)
    page.keyboard.press("Alt+Shift+L")
    assert page.evaluate("document.activeElement.closest('.side') !== null")
    page.keyboard.press("Alt+Shift+M")
    expect(page.locator(".say")).to_be_focused()
    page.keyboard.press("Alt+Shift+N")
    expect(page.locator(".turn")).to_have_count(0)


def test_a_double_click_sends_once(visit, finished: str):
    page = visit(finished)
    page.locator(".say").fill("천천히 한 번만")
    page.locator(".main-button.send").dblclick()
    expect(page.locator(".turn.user")).to_have_count(1)
    page.evaluate("document.querySelector('.say').value = '또'; "
                  "for (let i = 0; i < 3; i++) document.querySelector('.main-button')?.click()")
    page.wait_for_timeout(500)
    expect(page.locator(".turn.user")).to_have_count(1)


@pytest.mark.parametrize("message", [
    "👩‍👩‍👧‍👦🏳️‍🌈 e\u0301",
    "שלום עולם مرحبا", "<script>alert(1)</script>${1+1}{{2}}\\n`",
    "a\u202eb\u0000c", "   앞뒤 공백   ",
])
def test_unusual_text_is_kept_as_it_is(visit, finished: str, message: str):
    page = visit(finished)
    say(page, message, 1)
    shown = message.strip().replace("\0", "\ufffd")
    assert page.locator(".turn.user .text").text_content() in (shown, message.strip())
    page.wait_for_function("location.pathname.startsWith('/c/')")
    page.reload()
    expect(page.locator(ANSWER)).to_have_text(TEXT)
    assert page.locator(".turn.user .text").text_content() == shown
    assert page.locator(".turn script, .side script").count() == 0


def test_nothing_is_sent_of_nothing(visit, finished: str):
    page = visit(finished)
    say(page, "  \n ")
    page.locator(".main-button.send").click()
    page.wait_for_timeout(300)
    expect(page.locator(".turn")).to_have_count(0)


def test_on_a_phone_the_list_is_a_panel(visit, finished: str):
    page = visit(finished, width=360, dark=True)
    say(page, "가" * 60, 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    opening = page.get_by_role("button", name="대화 목록")
    expect(opening).to_have_attribute("aria-expanded", "false")
    opening.click()
    expect(opening).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".side li a")).to_be_visible()
    assert page.evaluate(FAINT) == []
    page.keyboard.press("Escape")
    expect(page.locator(".side")).not_to_be_visible()
    expect(opening).to_be_focused()
