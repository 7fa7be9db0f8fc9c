"""Keys and limits of the pages, without a browser."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from scripted import Running, Script

from dokja.models.model import Model
from dokja.serve import LocalService, Settings, create_app
from dokja.serve.api import LimitError, Limits, read_keys
from dokja.serve.pages.door import Allowance

KEYS = read_keys(None, {"DOKJA_API_KEYS": "sk-one,sk-two"})


@pytest.fixture(scope="module")
def url(loaded: Model) -> Iterator[str]:
    app = create_app(LocalService({"k": Script(loaded, "네.")}), lambda: None, settings=Settings(keys=KEYS))
    running = Running(app)
    yield running.url
    running.close()


@pytest.mark.parametrize(("to", "back"), [
    ("/", "/"), ("/compare", "/compare"), ("/c/" + "0" * 32, "/c/" + "0" * 32), ("//evil.example", "/"),
    ("https://evil.example/", "/"), ("/compare/../x", "/"), ("", "/"),
])
def test_a_key_leads_back_to_a_page_of_this_server_only(url: str, to: str, back: str):
    answer = httpx.post(f"{url}/key", data={"key": "sk-two", "to": to})
    assert (answer.status_code, answer.headers["location"]) == (303, back)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("dokja_key=")
    for part in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert part in cookie
    assert "sk-two" not in cookie
    wrong = httpx.post(f"{url}/key", data={"key": "sk-three", "to": to})
    assert (wrong.status_code, wrong.headers["location"]) == (303, f"{back}?key=unknown")
    assert "set-cookie" not in wrong.headers


@pytest.mark.parametrize("cookie", ["", "sk-one", "x" * 64, "한"])
def test_no_other_cookie_opens_a_page(url: str, cookie: str):
    page = httpx.get(url, headers={"Cookie": f"dokja_key={cookie}".encode()})
    assert page.status_code == 200
    assert "API key" in page.text
    assert "dokja.take()" not in page.text


@pytest.mark.parametrize(("language", "said"), [
    ("ko", "이 주소에는 페이지가 없습니다"), ("en", "There is no page here"),
])
def test_an_address_without_a_page(url: str, language: str, said: str):
    page = httpx.get(f"{url}/nope", headers={"Accept-Language": language})
    assert page.status_code == 404
    assert said in page.text
    assert httpx.get(f"{url}/_nicegui/nope").status_code == 404
    api = httpx.get(f"{url}/v1/nope", headers={"Authorization": "Bearer sk-one"})
    assert api.json()["error"]["code"] == "unknown_url"


def test_a_page_that_fails_tells_no_secrets(url: str, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise RuntimeError("postgresql://user:password@db")

    monkeypatch.setattr("dokja.serve.pages.site.ChatPage", fail)
    with httpx.Client(base_url=url, headers={"Accept-Language": "ko"}) as client:
        client.post("/key", data={"key": "sk-one"})
        page = client.get("/")
    assert page.status_code == 500
    assert "페이지를 열지 못했습니다" in page.text
    assert "password" not in page.text


@pytest.mark.parametrize(("to", "back"), [("/compare", "/compare"), ("//evil.example", "/"), ("", "/")])
def test_a_key_is_forgotten(url: str, to: str, back: str):
    with httpx.Client(base_url=url) as client:
        client.post("/key", data={"key": "sk-one"})
        assert "Forget my key" in client.get("/").text
        answer = client.post("/key/forget", data={"to": to})
        assert (answer.status_code, answer.headers["location"]) == (303, back)
        assert "dokja_key" not in client.cookies
        assert "Enter your API key" in client.get("/").text


def test_the_cookie_opens_pages_and_not_the_api(url: str):
    with httpx.Client(base_url=url) as client:
        client.post("/key", data={"key": "sk-one"})
        assert "dokja.take()" in client.get("/").text
        assert client.post("/v1/chat/completions", json={}).status_code == 401
        token = client.cookies["dokja_key"]
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_form_that_is_too_large_is_refused(url: str):
    answer = httpx.post(f"{url}/key", data={"key": "가" * 2_000_000})
    assert answer.status_code in (400, 413)  # whichever limit it meets first
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(("headers", "status"), [
    ({}, 200), ({"Origin": "HERE"}, 200), ({"Origin": "https://evil.example"}, 400), ({"Origin": "null"}, 400),
    ({"Origin": "https://chat.example", "X-Forwarded-Host": "chat.example"}, 200),
])
def test_only_pages_of_this_server_open_a_socket(url: str, headers: dict[str, str], status: int):
    headers = {name: value.replace("HERE", url) for name, value in headers.items()}
    answer = httpx.get(f"{url}/_nicegui_ws/socket.io/?EIO=4&transport=polling", headers=headers)
    assert answer.status_code == status


def test_answers_on_pages_count_for_the_key():
    limits = Limits(Settings(keys=KEYS, tokens_a_minute=100))
    one, other = Allowance(limits, KEYS[0]), Allowance(limits, KEYS[1])
    one.take()
    one.spend(200)
    with pytest.raises(LimitError, match="100 tokens a minute"):
        one.take()
    with pytest.raises(LimitError):
        limits.take(KEYS[0], "")  # through the API too
    other.take()
