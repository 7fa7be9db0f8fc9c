"""One web application: the API, the chat page and the season board."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import nicegui
from fastapi import FastAPI, Request
from nicegui import ui
from starlette.types import ASGIApp, Receive, Scope, Send

from .api import add_api
from .board_page import BoardPage
from .chat_page import ChatPage
from .old_engine import Engine
from .shell import reader_language

_SITE = "dokja.site"  # where a request's scope holds its Site
_ICON = ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" '
         'fill="#1d5a8f"/><path d="M9 8h8a8 8 0 0 1 0 16H9z" fill="none" stroke="#fff" stroke-width="3.4"/></svg>')


@dataclass(frozen=True)
class Site:
    """What the pages of one app show."""

    engine: Engine | None
    board: Callable[[], Mapping[str, Any] | None]
    title: str


def create_app(engine: Engine | None, board: Callable[[], dict[str, Any] | None], *, title: str = "Dokja") -> FastAPI:
    """The application for an engine (None: no model yet, the board only) and a board (None: no season yet).

    NiceGUI keeps its pages in one place per process, so each request carries the site it belongs to. Several apps may
    be made in a process, but only one at a time should serve pages.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if engine is not None:
            engine.stop_all()

    # The generated API documents load scripts from another host, so they are off.
    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None)
    add_api(app, engine, board)
    app.add_middleware(_CarrySite, site=Site(engine, board, title))
    inner = nicegui.app
    inner.user_middleware.clear()  # what an earlier app in this process put there
    inner.middleware_stack = None
    ui.run_with(app, title=title, favicon=_ICON, dark=False, tailwind=False, reconnect_timeout=30.0,
                show_welcome_message=False)
    return app


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
