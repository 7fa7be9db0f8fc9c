"""Who reads: an anonymous random id in a cookie. There is no account; whoever has the cookie has the conversations."""

from __future__ import annotations

import hashlib
import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "dokja_visitor"
_YEAR = 365 * 24 * 3600  # seconds
_KEY = "dokja.visitor"  # where a request's scope holds the visitor


def visitor(scope: Scope) -> str:
    """The id of a request's visitor in the store: a hash, so that a copy of the database opens no conversation."""
    return hashlib.sha256(scope[_KEY].encode()).hexdigest()[:32]


class KnowVisitors:
    """Gives every visitor of a page a cookie of 128 random bits."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_page(scope["path"]):
            await self.app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(b"cookie", b"").decode("latin-1")
        known = cookie_parser(sent).get(COOKIE, "")
        fresh = not re.fullmatch("[0-9a-f]{32}", known)
        scope[_KEY] = secrets.token_hex(16) if fresh else known
        secure = "; Secure" if scope["scheme"] == "https" else ""

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append(
                    "set-cookie", f"{COOKIE}={scope[_KEY]}; Path=/; Max-Age={_YEAR}; HttpOnly; SameSite=Lax{secure}")
            await send(message)

        await self.app(scope, receive, with_cookie)


def _is_page(path: str) -> bool:
    return path in ("/", "/compare") or path.startswith(("/c/", "/compare/"))
