"""What both pages share: the head, the top bar, and the reader's language."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from nicegui import Client, ui
from nicegui.elements.mixins.text_element import TextElement

from .problems import LIMIT
from .words import Lang, choose_language, word

_SUN_AND_MOON = ('<svg viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="7.5" fill="none" '
                 'stroke="currentColor" stroke-width="1.8"/><path d="M10 2.5a7.5 7.5 0 0 1 0 15z" '
                 'fill="currentColor"/></svg>')


@cache
def _head() -> str:
    here = Path(__file__).parent
    css, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return f"<style>{css}</style><script>{script}</script>"


def reader_language(cookies: Mapping[str, str], headers: Mapping[str, str]) -> Lang:
    """The language that a request's reader wants."""
    return choose_language(cookies.get("dokja_lang"), headers.get("accept-language", ""))


def head(lang: Lang) -> None:
    """Put style, script and language into the page's head."""
    # Quasar takes the whole page for <main>; ours is the part without the top bar.
    slot = ui.context.client.content.parent_slot
    assert slot is not None
    slot.parent.props["role"] = "presentation"
    ui.add_head_html(f"<script>document.documentElement.lang={json.dumps(lang)}</script>{_head()}")


def box(tag: str, classes: str = "", **attributes: Any) -> ui.element:
    """A plain HTML element; attribute names are written with _ for -."""
    return _with_attributes(ui.element(tag), classes, attributes)


def text(tag: str, content: str, classes: str = "", **attributes: Any) -> Any:
    """A plain HTML element with text (`.text` changes it); the text is never read as HTML."""
    return _with_attributes(TextElement(tag=tag, text=content), classes, attributes)


def _with_attributes(element: ui.element, classes: str, attributes: Mapping[str, Any]) -> ui.element:
    element.classes(classes)
    for name, value in attributes.items():
        element.props[name.rstrip("_").replace("_", "-")] = value
    return element


def top_bar(lang: Lang, here: str, switch: Callable[[], None]) -> None:
    """Brand, the pages, the language and the theme."""
    text("a", word("skip", lang), "skip", href="#main")
    with box("header", "top", role="banner"), box("div", "top-in"):
        with box("a", "brand", href="/"):
            ui.html("독자 <span>Dokja</span>", sanitize=False, tag="div")
        with box("nav", aria_label=word("pages", lang)):
            for key, address in (("chat", "/"), ("compare", "/compare"), ("board", "/board")):
                link = text("a", word(key, lang), href=address)
                if key == here:
                    link.props["aria-current"] = "page"
        with box("div", "tools"):
            other = "en" if lang == "ko" else "ko"
            text("button", word("other_language", lang), "quiet language", type="button", lang=other
                 ).on("click", lambda: switch())
            with box("button", "quiet icon theme", type="button", aria_label=word("theme", lang),
                     title=word("theme", lang)).on("click", js_handler="() => dokja.toggleTheme()"):
                ui.html(_SUN_AND_MOON, sanitize=False)


def composer(lang: Lang, button: Callable[[], Any], *, key_of: str | None) -> None:
    """The field for a message, its button, and what to know about generated text. key_of: as for `under`."""
    with box("div", "composer"):
        with box("div", "composer-in"):
            box("textarea", "say", rows=1, aria_label=word("say", lang), placeholder=word("placeholder", lang),
                maxlength=LIMIT, lang="ko", dir="auto", autofocus=True)
            button()
        under(lang, key_of=key_of)


def under(lang: Lang, *, key_of: str | None) -> None:
    """What to know about generated text, which stands on every page that shows some; and the keys.

    key_of: the page that the browser's API key has opened, to come back to when it is forgotten; None where there is
    no key.
    """
    with box("div", "under"):
        text("span", word("ai_notice", lang), "ai-notice")
        with box("div", "under-links"):
            if key_of is not None:
                with box("form", "forget", method="post", action="/key/forget"):
                    box("input", type="hidden", name="to", value=key_of)
                    text("button", word("key_forget", lang), "link", type="submit")
            text("button", word("shortcuts", lang), "link keys", type="button").on(
                "click", js_handler="() => dokja.shortcuts()")


# What the keys do; `page.js` listens to them.
_KEYS = (("Enter", "key_send"), ("Shift + Enter", "key_line"), ("Esc", "key_stop"), ("↑", "key_edit"),
         ("Alt + Shift + N", "key_new"), ("Alt + Shift + L", "key_list"), ("Alt + Shift + M", "key_field"),
         ("Alt + Shift + K", "key_help"))


def shortcuts(lang: Lang) -> None:
    """The list of keys, in a dialog that `dokja.shortcuts()` opens."""
    with box("dialog", "ask shortcuts", aria_label=word("shortcuts", lang)):
        text("h2", word("shortcuts", lang))
        with box("dl"):
            for keys, meaning in _KEYS:
                with box("dt"):
                    text("kbd", keys)
                text("dd", word(meaning, lang))
        text("button", word("close", lang), "quiet", type="button").on(
            "click", js_handler="(e) => e.target.closest('dialog').close()")


def announce_language(client: Client, lang: Lang, title: str) -> None:
    """Tell the browser the page's language and title, and have it remember the choice."""
    client.run_javascript(f"dokja.language({json.dumps(lang)}, {json.dumps(title)})")


def _reloading(title: str, lang: Lang) -> Callable[[], None]:
    """A switch of the language for a page that holds nothing."""
    def switch() -> None:
        ui.run_javascript(f"dokja.language({json.dumps('en' if lang == 'ko' else 'ko')}, {json.dumps(title)}); "
                          "location.reload()")

    return switch


def locked(title: str, lang: Lang, here: str, request: Request) -> None:
    """The page of a reader who has to give a key first."""
    head(lang)
    top_bar(lang, here, _reloading(title, lang))
    with box("main", "chat", id="main"), box("form", "card key", method="post", action="/key"):
        text("h1", word("key_title", lang))
        text("p", word("key_more", lang), "soft")
        if "key" in request.query_params:
            text("p", word("key_unknown", lang), "problem", role="alert")
        box("input", type="hidden", name="to", value=request.url.path)
        with box("label"):
            text("span", word("key", lang))
            box("input", type="password", name="key", required=True, autofocus=True, autocomplete="current-password",
                maxlength=1000)
        text("button", word("key_enter", lang), "main-button", type="submit")


def nobody(title: str, lang: Lang) -> None:
    """The page of a site that has no model yet."""
    _empty(title, lang, "no_model", "see_board", "/board", here="chat")


def nowhere(title: str, lang: Lang) -> None:
    """The page of an address that is none."""
    _empty(title, lang, "nowhere", "chat", "/")


def broken(title: str, lang: Lang) -> None:
    """The page of a failure of ours, which the log tells and the reader is spared."""
    _empty(title, lang, "broken", "chat", "/")


def _empty(title: str, lang: Lang, key: str, link: str, address: str, *, here: str = "") -> None:
    """A page that has only a sentence or two, and a link."""
    head(lang)
    top_bar(lang, here, _reloading(title, lang))
    with box("main", "chat", id="main"), box("div", "empty"):
        text("h1", word(key, lang))
        text("p", word(f"{key}_more", lang), "soft")
        text("a", word(link, lang), href=address)
