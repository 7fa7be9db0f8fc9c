"""A person talks to the winner."""

from __future__ import annotations

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
from reading import FAINT  # noqa: E402

expect = sync_api.expect

pytestmark = pytest.mark.browser

TEXT = "안녕하세요? 저는 아주 작은 모델입니다. 오늘은 날씨가 좋아서 나는 학교에 걸어서 갑니다. 반갑습니다!"
ANSWER = ".turn.assistant .text"


def say(page, message: str) -> None:
    page.locator(".say").fill(message)
    page.locator(".say").press("Enter")


def test_the_answer_streams_in(visit, finished: str):
    page = visit(finished)
    say(page, "천천히 말해 주세요.")
    expect(page.locator(".turn.user .text")).to_have_text("천천히 말해 주세요.")
    page.wait_for_function(f"document.querySelector('{ANSWER}')?.textContent.length > 2")
    lengths = []
    for _ in range(3):
        lengths.append(len(page.locator(ANSWER).inner_text()))
        page.wait_for_timeout(400)
    assert lengths[0] < lengths[1] < lengths[2] < len(TEXT)
    assert TEXT.startswith(page.locator(ANSWER).inner_text())
    expect(page.locator(ANSWER)).to_have_text(TEXT)
    expect(page.locator(".turn.assistant .who").first).to_have_text("K-EXAONE")
    expect(page.locator(".main-button")).to_have_text("보내기")


def test_the_page_says_who_answers_and_what_it_is_not(visit, finished: str):
    page = visit(finished)
    card = page.locator(".model")
    for part in ("K-EXAONE", "LG AI Research", "우승", "매개변수", "3단계", "GQA", "의 모델이 아니며"):
        expect(card).to_contain_text(part)
    expect(page.locator(".ai-notice")).to_have_text("AI가 생성한 글이며 틀린 내용이 많습니다.")
    page.wait_for_function("document.documentElement.lang === \'ko\'")
    expect(page.get_by_role("button", name="내 키 지우기")).to_have_count(0)  # no key is asked for here


def test_stop_and_go_on(visit, finished: str):
    page = visit(finished)
    say(page, "천천히 말해 줘")
    page.wait_for_function(f"document.querySelector('{ANSWER}')?.textContent.length > 2")
    page.get_by_role("button", name="멈추기").click()
    expect(page.get_by_role("button", name="보내기")).to_be_visible()
    expect(page.locator(".turn.assistant")).to_contain_text("멈췄습니다.")
    stopped = page.locator(ANSWER).inner_text()
    assert len(stopped) < len(TEXT)
    say(page, "다시")
    expect(page.locator(ANSWER).nth(1)).to_have_text(TEXT)
    expect(page.locator(ANSWER).first).to_have_text(stopped)


def test_escape_stops_too(visit, finished: str):
    page = visit(finished)
    say(page, "천천히 말해 줘")
    page.wait_for_function(f"document.querySelector('{ANSWER}')?.textContent.length > 2")
    page.keyboard.press("Escape")
    expect(page.locator(".turn.assistant")).to_contain_text("멈췄습니다.")


def test_enter_while_a_syllable_is_composed_does_not_send(visit, finished: str):
    page = visit(finished)
    field = page.locator(".say")
    field.focus()
    keys = page.context.new_cdp_session(page)
    keys.send("Input.imeSetComposition", {"text": "안", "selectionStart": 1, "selectionEnd": 1})
    # What a browser sends for the Enter that ends a composition (229 is Safari's way).
    for told in ("{isComposing: true}", "{keyCode: 229}"):
        page.evaluate(f"document.querySelector('.say').dispatchEvent(new KeyboardEvent('keydown', "
                      f"{{key: 'Enter', bubbles: true, cancelable: true, ...{told}}}))")
    page.wait_for_timeout(200)
    expect(page.locator(".turn")).to_have_count(0)
    keys.send("Input.insertText", {"text": "안"})
    field.press("Shift+Enter")
    field.press_sequentially("녕")
    expect(field).to_have_value("안\n녕")
    field.press("Enter")
    expect(page.locator(".turn.user .text")).to_have_text("안\n녕")
    expect(field).to_have_value("")


def test_an_example_by_keyboard_only(visit, finished: str):
    page = visit(finished)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.examples') !== null"):
            break
    else:
        pytest.fail("no example is reached with Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.locator(".turn.user .text")).to_contain_text("'책'")
    expect(page.locator(".say")).to_be_focused()
    expect(page.locator(ANSWER)).to_have_text(TEXT)


def test_another_model_answers_when_chosen(visit, finished: str):
    page = visit(finished)
    page.get_by_label("모델 고르기").select_option("solar-open")
    expect(page.locator(".team-name")).to_have_text("Solar Open")
    say(page, "안녕")
    expect(page.get_by_role("button", name="보내기")).to_be_visible()
    expect(page.locator(".turn.assistant .who").first).to_have_text("Solar Open")


def test_language_and_theme_are_switched_and_remembered(visit, finished: str):
    page = visit(finished, lang="en")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    say(page, "안녕")
    expect(page.locator(ANSWER)).to_have_text(TEXT)
    page.get_by_role("button", name="한국어").click()
    expect(page.get_by_role("button", name="보내기")).to_be_visible()
    expect(page.locator(ANSWER)).to_have_text(TEXT)  # the conversation stays
    page.wait_for_function("document.documentElement.lang === \'ko\'")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    theme = page.get_by_role("button", name="어두운 화면")
    expect(theme).to_have_attribute("aria-pressed", "false")
    theme.click()
    expect(theme).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(background) != light
    page.goto(finished + "/board")
    expect(page.get_by_role("heading", name="대진")).to_be_visible()
    assert page.evaluate(background) != light


def test_language_is_switched_while_an_answer_comes(visit, finished: str):
    page = visit(finished)
    say(page, "천천히")
    page.wait_for_function(f"document.querySelector('{ANSWER}')?.textContent.length > 2")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.locator(ANSWER)).to_have_text(TEXT)
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_what_is_typed_and_not_sent_outlives_a_change_of_language(visit, finished: str):
    page = visit(finished)
    say(page, "안녕")
    expect(page.locator(ANSWER)).to_have_text(TEXT)
    page.locator(".say").fill("아직 보내지\n않은 말")
    page.locator(".edit").click()
    page.locator(".edit-text").fill("고치던 말")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("button", name="Send", exact=True)).to_have_count(2)
    expect(page.locator(".say")).to_have_value("아직 보내지\n않은 말")
    expect(page.locator(".edit-text")).to_have_value("고치던 말")
    page.keyboard.press("Tab")
    page.locator(".edit-text").press("Escape")
    page.locator(".edit").click()
    expect(page.locator(".edit-text")).to_have_value("안녕")  # what was cancelled does not come back
    page.locator(".edit-text").press("Escape")
    page.locator(".say").press("Enter")
    expect(page.locator(".turn.user .text").last).to_have_text("아직 보내지\n않은 말")
    page.get_by_role("button", name="한국어").click()
    expect(page.get_by_placeholder("메시지를 입력하세요")).to_have_value("")  # nor what was sent


def test_new_conversation(visit, finished: str):
    page = visit(finished)
    say(page, "천천히")
    page.wait_for_function(f"document.querySelector('{ANSWER}')?.textContent.length > 2")
    page.get_by_role("link", name="새 대화").click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator(".examples")).to_be_visible()
    say(page, "또 안녕")
    expect(page.locator(ANSWER)).to_have_text(TEXT)
    expect(page.locator(".turn")).to_have_count(2)


def test_a_message_that_is_too_long_comes_back(visit, finished: str):
    page = visit(finished)
    say(page, "가" * 2000)
    expect(page.get_by_role("alert")).to_contain_text("메시지가 너무 깁니다")
    expect(page.locator(".say")).to_have_value("가" * 2000)
    say(page, "짧게")
    expect(page.locator(ANSWER)).to_have_text(TEXT)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_text_is_never_read_as_html(visit, finished: str):
    page = visit(finished)
    say(page, "<img src=x onerror=alert(1)> {{ 1 + 1 }}")
    expect(page.locator(".turn.user .text")).to_have_text("<img src=x onerror=alert(1)> {{ 1 + 1 }}")
    assert page.locator(".turn img").count() == 0


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_a_phone_shows_all_without_scrolling_sideways(visit, finished: str, lang: str):
    page = visit(finished, lang=lang, width=360, dark=lang == "ko")
    assert page.evaluate(FAINT) == []
    say(page, "가나다라마바사아자차카타파하 https://example.invalid/" + "a" * 60)
    expect(page.locator(ANSWER)).to_have_text(TEXT)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(FAINT) == []
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 360)


def test_everything_that_can_be_used_has_a_name(visit, finished: str):
    page = visit(finished)
    nameless = page.evaluate("""[...document.querySelectorAll('button, a, select, textarea, [role=log]')].filter(
        (e) => !(e.getAttribute('aria-label') || e.textContent.trim())).map((e) => e.outerHTML)""")
    assert nameless == []
    assert page.get_by_role("main").count() == page.get_by_role("banner").count() == page.locator("h1").count() == 1
