"""A person comes to a server that asks for keys."""

from __future__ import annotations

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
from reading import FAINT  # noqa: E402
from sites import site  # noqa: E402

expect = sync_api.expect

pytestmark = pytest.mark.browser

ANSWER = ".turn.assistant .text"


def say(page, message: str) -> None:
    page.locator(".say").fill(message)
    page.locator(".say").press("Enter")


def test_a_key_opens_the_pages_and_its_limit_holds_there(visit, tmp_path):
    (tmp_path / "serve.sqlite.keys").write_text("sk-one 김철수 requests=3\n", encoding="utf-8")
    with site(tmp_path / "serve.sqlite", "k-exaone", "exaone-4") as address:
        page = visit(address + "/compare", width=360, dark=True)
        expect(page.locator("h1")).to_have_text("API 키를 입력하세요")
        expect(page.locator(".say")).to_have_count(0)
        expect(page.get_by_label("API 키")).to_be_focused()
        page.keyboard.type("sk-two")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("모르는 키입니다. 다시 확인해 주세요.")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.evaluate(FAINT) == []
        page.keyboard.type("sk-one")
        page.keyboard.press("Enter")
        page.wait_for_url("**/compare")  # where the reader wanted to go
        [cookie] = [one for one in page.context.cookies() if one["name"] == "dokja_key"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
        assert "sk-one" not in str(page.context.cookies())
        say(page, "안녕")
        expect(page.get_by_role("button", name="비슷하다")).to_be_enabled()
        page.goto(address)
        say(page, "안녕")
        expect(page.locator(ANSWER)).to_have_count(1)
        expect(page.locator(".main-button.send")).to_be_visible()
        say(page, "또")  # two for the comparison and one for the chat: the fourth is too much
        expect(page.get_by_role("alert")).to_contain_text("초 뒤에 다시 보내 주세요")
        expect(page.locator(".say")).to_have_value("또")
        path = page.evaluate("location.pathname")
        stranger = visit(address + path, lang="en")
        expect(stranger.get_by_label("API key")).to_be_visible()
        expect(stranger.locator(".turn")).to_have_count(0)
        stranger.get_by_role("button", name="한국어").click()
        expect(stranger.get_by_label("API 키")).to_be_visible()
        assert stranger.request.get(f"{address}{path}/export.json").status == 401
        assert page.request.get(f"{address}{path}/export.json").status == 200
        stranger.goto("about:blank")
        page.goto(address + "/compare")
        page.get_by_role("button", name="English").click()
        expect(page.get_by_role("button", name="Forget my key")).to_be_visible()
        page.goto(address + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.evaluate(FAINT) == []
        page.get_by_role("button", name="Forget my key").press("Enter")
        expect(page.get_by_label("API key")).to_be_visible()
        assert [one for one in page.context.cookies() if one["name"] == "dokja_key"] == []
        page.goto(address + path)
        expect(page.get_by_label("API key")).to_be_visible()
        expect(page.locator(".turn")).to_have_count(0)
        page.goto("about:blank")
