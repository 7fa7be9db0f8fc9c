"""The pages of an app, mounted on it: what they show is carried by each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import nicegui
from fastapi import FastAPI, Request
from nicegui import ui
from starlette.types import ASGIApp, Receive, Scope, Send

from ..service import Service
from .board import BoardPage
from .chat import ChatPage
from .shell import reader_language

_SITE = "dokja.site"  # where a request's scope holds its Site
_ICON = ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" '
         'fill="#1d5a8f"/><path d="M9 8h8a8 8 0 0 1 0 16H9z" fill="none" stroke="#fff" stroke-width="3.4"/></svg>')


@dataclass(frozen=True)
class Site:
    """What the pages of one app show."""

    engine: Service | None
    board: Callable[[], Mapping[str, Any] | None]
    title: str


def add_pages(app: FastAPI, engine: Service | None, board: Callable[[], Mapping[str, Any] | None], title: str) -> None:
    """Mount the pages on `app`.

    NiceGUI keeps its pages in one place per process, so each request carries the site it belongs to. Several apps may
    be made in a process, but only one at a time should serve pages.
    """
    app.add_middleware(_CarrySite, site=Site(engine, board, title))
    inner = nicegui.app
    inner.user_middleware.clear()  # what an earlier app in this process put there
    inner.middleware_stack = None
    ui.run_with(app, title=title, favicon=_ICON, dark=False, tailwind=False, reconnect_timeout=30.0,
                show_welcome_message=False)


class _CarrySite:
    """Puts the site into every request's scope."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self.app = app
        self.site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_SITE] = self.site
        await self.app(scope, receive, send)


@ui.page("/")
def _chat(request: Request) -> None:
    site: Site = request.scope[_SITE]
    ChatPage(site.engine, site.title, reader_language(request.cookies, request.headers)).build()


@ui.page("/board")
def _board(request: Request) -> None:
    site: Site = request.scope[_SITE]
    BoardPage(site.board, site.title, reader_language(request.cookies, request.headers),
              can_talk=site.engine is not None).build()
