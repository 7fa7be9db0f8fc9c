"""Where the API asks for keys, the pages do too: whoever has given one is known by a cookie."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from fastapi import Request, Response
from starlette.responses import RedirectResponse

from ..api import Key, Limits, Settings
from ..api.keys import Bucket, find_key

COOKIE = "dokja_key"
_YEAR = 365 * 24 * 3600  # seconds
_PAGE = re.compile(r"/(?:c/[0-9a-f]{32}|compare(?:/[0-9a-f]{32})?)?")


@dataclass
class Allowance:
    """What one reader may ask: by the key that was given, or by address where no keys are asked for."""

    limits: Limits
    key: Key | None = None
    address: str = ""
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    def take(self, requests: int = 1) -> None:
        """Ask for so many answers; LimitError."""
        self._buckets = self.limits.take(self.key, self.address, requests)

    def spend(self, tokens: int) -> None:
        """Count the tokens of what was answered."""
        if "tokens" in self._buckets:
            self._buckets["tokens"].take(tokens)


class Door:
    """Lets readers in. The cookie holds a hash that opens the pages and nothing else, and only while the key is one."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self._keys, self._limits = settings.keys, limits

    def allowance(self, request: Request) -> Allowance | None:
        """What the reader of a page may ask; None for one who has to give a key first."""
        address = request.client.host if request.client else ""
        if not self._keys:
            return Allowance(self._limits, None, address)
        shown = request.cookies.get(COOKIE, "").encode()
        found = [key for key in self._keys if hmac.compare_digest(_pass(key).encode(), shown)]
        return Allowance(self._limits, found[0], address) if found else None

    def enter(self, request: Request, given: str, to: str) -> Response:
        """Back to the page `to`: with the cookie if `given` is a key, with a word about it if not."""
        to = to if _PAGE.fullmatch(to) else "/"
        key = find_key(self._keys, f"Bearer {given}")
        if key is None:
            return RedirectResponse(f"{to}?key=unknown", 303)
        answer = RedirectResponse(to, 303)
        answer.set_cookie(COOKIE, _pass(key), max_age=_YEAR, httponly=True, samesite="lax",
                          secure=request.url.scheme == "https")
        return answer

    def forget(self, request: Request, to: str) -> Response:
        """Back to the page `to`, without the cookie."""
        answer = RedirectResponse(to if _PAGE.fullmatch(to) else "/", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=request.url.scheme == "https")
        return answer


def _pass(key: Key) -> str:
    return hashlib.sha256(b"dokja pages" + key.digest).hexdigest()
