"""The page of `dokja build watch`, while a run goes on: it keeps up by itself, in both languages, wide and narrow."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dokja.build.train.loop import run
from dokja.build.train.recipe import Recipe, resolve
from dokja.build.train.recipes import find
from dokja.build.watch.server import make_server

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.browser
expect = sync_api.expect


def tiny(*settings: str) -> Recipe:
    return resolve(find("pretrain"), [
        "model.parameters=60e3", "model.context=32", "data.vocab=512", "data.train_bytes=80e3", "task.batch=4",
        "data.heldout_bytes=8e3", "watch.evaluate=8", "watch.sample=12", "watch.prompts=[오늘]", *settings])


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that stands at step 24."""
    folder = tmp_path_factory.mktemp("watched") / "first"
    run(tiny("schedule.steps=24"), folder, lambda record: None)
    return folder


@pytest.fixture
def served() -> Iterator[Callable[..., str]]:
    """served(run, ...) is the address of their page."""
    servers = []

    def serve(*runs: Path) -> str:
        server = make_server(runs, "127.0.0.1", 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_curves_and_samples_keep_up_with_a_run(begun: Path, tmp_path: Path, visit: Callable[..., sync_api.Page],
                                               served: Callable[..., str]) -> None:
    folder = tmp_path / "first"
    shutil.copytree(begun, folder)
    page = visit(served(folder), lang="en")
    state = page.locator(".run").first
    expect(state).to_contain_text("24")
    loss = page.locator(".curves svg").first
    before = loss.inner_html()
    expect(page.locator("blockquote")).to_have_count(2)  # at steps 12 and 24
    page.locator("summary").click()
    run(tiny("schedule.steps=36"), folder, lambda record: None)
    expect(state).to_contain_text("36")  # without a reload
    expect(page.locator("blockquote")).to_have_count(3)
    assert loss.inner_html() != before
    expect(page.locator("details pre")).to_be_visible()  # what the reader has opened stays open
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 37, "lo')  # a run that was killed while it wrote
    shutil.rmtree(folder / "checkpoints")
    page.reload()
    expect(state).to_contain_text("36")
    shutil.rmtree(folder)
    expect(page.get_by_role("alert")).to_contain_text("first")
    expect(page.locator(".curves svg")).to_have_count(0)


@pytest.mark.parametrize(("lang", "word"), [("ko", "떼어 둔"), ("en", "eld-out")])
@pytest.mark.parametrize("width", [375, 1280])
def test_two_runs_are_compared_in_the_readers_language(begun: Path, tmp_path: Path, lang: str, word: str, width: int,
                                                       visit: Callable[..., sync_api.Page],
                                                       served: Callable[..., str]) -> None:
    other = tmp_path / "second"
    shutil.copytree(begun, other)
    page = visit(served(begun, other), lang=lang, width=width)
    assert page.evaluate("document.documentElement.lang") == lang
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heldout = page.locator(".curves svg", has_text=re.compile(word))
    for name in ("first", "second"):
        expect(heldout.first).to_contain_text(name)
        expect(page.locator(".run", has_text=name)).to_be_visible()
    page.locator("header a").click()
    expect(page.locator("html")).to_have_attribute("lang", "en" if lang == "ko" else "ko")
