"""The pages of an app, mounted on it: what they show is carried by each request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import nicegui
from fastapi import FastAPI, Form, Request, Response
from nicegui import Client, ui
from starlette.types import ASGIApp, Receive, Scope, Send

from ..api import Settings
from ..errors import UnauthorizedError, UnknownError
from ..service import Service
from ..store import GoneError, Store
from .board import BoardPage
from .chat import ChatPage
from .compare import ComparePage
from .desk import Desk
from .door import Door
from .export import as_json, as_markdown
from .shell import broken, locked, nobody, nowhere, reader_language
from .visitor import KnowVisitors, visitor

_SITE = "dokja.site"  # where a request's scope holds its Site
_ICON = ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" '
         'fill="#1d5a8f"/><path d="M9 8h8a8 8 0 0 1 0 16H9z" fill="none" stroke="#fff" stroke-width="3.4"/></svg>')


@dataclass(frozen=True)
class Site:
    """What the pages of one app show, and to whom; desk None: no model yet."""

    desk: Desk | None
    door: Door
    board: Callable[[], Mapping[str, Any] | None]
    title: str


def add_pages(app: FastAPI, service: Service | None, store: Store, board: Callable[[], Mapping[str, Any] | None],
              title: str, settings: Settings) -> Desk | None:
    """Mount the pages on `app`; the desk is to be closed before the service when the app ends.

    NiceGUI keeps its pages in one place per process, so each request carries the site it belongs to. Several apps may
    be made in a process, but only one at a time should serve pages.
    """
    desk = Desk(service, store) if service is not None else None
    door = Door(settings, app.state.limits)

    @app.post("/key", include_in_schema=False)
    def enter(request: Request, key: Annotated[str, Form()] = "", to: Annotated[str, Form()] = "/") -> Response:
        return door.enter(request, key, to)

    @app.post("/key/forget", include_in_schema=False)
    def forget(request: Request, to: Annotated[str, Form()] = "/") -> Response:
        return door.forget(request, to)

    @app.get("/c/{conversation}/export.{kind}", include_in_schema=False)
    async def export(conversation: str, kind: Literal["json", "md"], request: Request) -> Response:
        if door.allowance(request) is None:
            raise UnauthorizedError("this server asks for a key: give it on the page first", code="invalid_api_key")
        try:
            found = await asyncio.to_thread(store.conversation, visitor(request.scope), conversation)
        except GoneError as error:
            raise UnknownError(str(error), code="unknown_conversation") from error
        content = as_json(*found) if kind == "json" else as_markdown(*found)
        return Response(content, media_type="application/json" if kind == "json" else "text/markdown", headers={
            "Content-Disposition": f'attachment; filename="dokja-{found[0].id[:8]}.{kind}"', "X-AI-Generated": "true",
            "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})

    app.add_middleware(_CarrySite, site=Site(desk, door, board, title))
    app.add_middleware(KnowVisitors)
    nicegui.core.sio.eio.cors_allowed_origins = _of_this_host  # NiceGUI itself lets every site open its sockets
    inner = nicegui.app
    inner.user_middleware.clear()  # what an earlier app in this process put there
    inner.middleware_stack = None
    inner.add_exception_handler(404, _nowhere)  # NiceGUI's own pages are in English and show what was raised
    inner.on_page_exception(_broken)
    ui.run_with(app, title=title, favicon=_ICON, dark=False, tailwind=False, reconnect_timeout=30.0,
                show_welcome_message=False)
    return desk


async def _nowhere(request: Request, error: Exception) -> Response:
    """The page of an address that is none; a file that is not there is told without one."""
    if request.url.path.startswith("/_nicegui/"):
        return Response(status_code=404)
    with Client(ui.page(""), request=request) as client:
        nowhere(request.scope[_SITE].title, reader_language(request.cookies, request.headers))
    return client.build_response(request, 404)


def _broken() -> None:
    request = ui.context.client.request
    broken(request.scope[_SITE].title, reader_language(request.cookies, request.headers))


def _of_this_host(origin: str, environ: Mapping[str, str]) -> bool:
    """Whether a page of this server opens the socket, by the host that its browser sees."""
    return urlsplit(origin).netloc in (environ.get("HTTP_HOST"), environ.get("HTTP_X_FORWARDED_HOST"))


class _CarrySite:
    """Puts the site into every request's scope."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self.app = app
        self.site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_SITE] = self.site
        await self.app(scope, receive, send)


@ui.page("/")
async def _chat(request: Request) -> None:
    await _talk(request, None)


@ui.page("/c/{conversation}")
async def _conversation(request: Request, conversation: str) -> None:
    await _talk(request, conversation)


async def _talk(request: Request, conversation: str | None) -> None:
    site: Site = request.scope[_SITE]
    lang = reader_language(request.cookies, request.headers)
    if site.desk is None:
        nobody(site.title, lang)
    elif (allowance := site.door.allowance(request)) is None:
        locked(site.title, lang, "chat", request)
    else:
        await ChatPage(site.desk, visitor(request.scope), allowance, site.title, lang).build(conversation)


@ui.page("/compare")
async def _compare(request: Request) -> None:
    await _judge(request, None)


@ui.page("/compare/{round_id}")
async def _round(request: Request, round_id: str) -> None:
    await _judge(request, round_id)


async def _judge(request: Request, round_id: str | None) -> None:
    site: Site = request.scope[_SITE]
    lang = reader_language(request.cookies, request.headers)
    if site.desk is None:
        nobody(site.title, lang)
    elif (allowance := site.door.allowance(request)) is None:
        locked(site.title, lang, "compare", request)
    else:
        await ComparePage(site.desk, visitor(request.scope), allowance, site.title, lang).build(round_id)


@ui.page("/board")
def _board(request: Request) -> None:
    site: Site = request.scope[_SITE]
    BoardPage(site.board, site.title, reader_language(request.cookies, request.headers),
              can_talk=site.desk is not None).build()
