"""A headless Chromium and a site in a process of its own. A page that logs an error or leaves the machine fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sites import site

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

sync_api.expect.set_options(timeout=15_000)
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the site keeps conversations and votes."""
    return tmp_path_factory.mktemp("site") / "serve.sqlite"


@pytest.fixture(scope="session")
def finished(database: Path) -> Iterator[str]:
    """The address of a running site, whose season is finished."""
    with site(database) as address:
        yield address


@pytest.fixture
def playing(finished: str) -> Iterator[str]:
    """The same site while its season is being played."""
    httpx.post(f"{finished}/test/playing")
    yield finished
    httpx.post(f"{finished}/test/finished")


# Not for the whole session: while Playwright runs, no other test of this thread could start an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: sync_api.Browser) -> Iterator[Callable[..., sync_api.Page]]:
    """visit(url, lang="ko", width=1280, dark=False) opens a page as a new reader."""
    contexts, wrong = [], []

    def open_page(url: str, *, lang: str = "ko", width: int = 1280, dark: bool = False) -> sync_api.Page:
        context = browser.new_context(locale={"ko": "ko-KR", "en": "en-US"}[lang],
                                      viewport={"width": width, "height": 800},
                                      color_scheme="dark" if dark else "light",
                                      permissions=["clipboard-read", "clipboard-write"])
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        home = re.match(r"http://([^/]+)", url)[1]

        def check(request: sync_api.Request) -> None:
            if not re.match(rf"(https?|wss?)://{re.escape(home)}/|data:|blob:", request.url):
                wrong.append(f"request to {request.url}")

        page.on("request", check)
        page.on("websocket", lambda socket: None if home in socket.url else wrong.append(f"socket to {socket.url}"))
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        page.wait_for_selector("main")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
