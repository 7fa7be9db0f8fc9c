"""What every request passes: an id, the key and its limits, the size of its body; and what is counted and logged."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import MediaTypeError, RequestError, TooLargeError, UnauthorizedError
from .answers import error_body
from .context import NOTES, REQUEST_ID
from .keys import Bucket, Key, find_key
from .limits import LimitError, Limits
from .logs import requests as log
from .metrics import Metrics
from .settings import Settings

_GUARDED = ("/v1/", "/tokenize", "/detokenize")


class Gate:
    """ASGI middleware around the API; pages and their sockets pass untouched but for the id."""

    def __init__(self, app: ASGIApp, *, settings: Settings, limits: Limits, metrics: Metrics) -> None:
        self._app, self._settings, self._limits, self._metrics = app, settings, limits, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, headers = time.monotonic(), Headers(scope=scope)
        given = headers.get("x-request-id", "")
        scope[REQUEST_ID] = given if re.fullmatch(r"[!-~]{1,128}", given) else uuid.uuid4().hex
        notes: dict[str, Any] = {}
        scope[NOTES] = notes
        more = {"x-request-id": scope[REQUEST_ID]}
        guarded = scope["path"].startswith(_GUARDED)
        buckets: dict[str, Bucket] = {}
        status = 500
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > self._settings.body_limit:
                    raise TooLargeError(f"the request is over {self._settings.body_limit:,} bytes: send fewer or "
                                        "shorter messages")
            return message

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(more)
            await send(message)

        try:
            if guarded:
                _require_json(headers)
                key = self._key(headers)
                notes["key"] = key.name if key else None
                buckets = self._limits.take(key, (scope.get("client") or ("",))[0])
                for kind, bucket in buckets.items():
                    more.update(bucket.headers(kind))
            await self._app(scope, limited, marked)
        except RequestError as error:
            await _refuse(error, marked)
        finally:
            if "tokens" in buckets:
                buckets["tokens"].take(notes.get("prompt_tokens", 0) + notes.get("completion_tokens", 0))
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.http.labels(scope["method"], route, str(status)).inc()
            log.info({"message": "request", "request_id": scope[REQUEST_ID], "method": scope["method"],
                      "path": scope["path"], "status": status, "seconds": round(time.monotonic() - began, 6), **notes})

    def _key(self, headers: Headers) -> Key | None:
        """The request's key, where keys are asked for."""
        if not self._settings.keys:
            return None
        key = find_key(self._settings.keys, headers.get("authorization", ""))
        if key is None:
            said = "is not known" if headers.get("authorization") else "is missing"
            raise UnauthorizedError(f"the API key {said}: send the header Authorization: Bearer KEY",
                                    code="invalid_api_key")
        return key


def _require_json(headers: Headers) -> None:
    """A form or plain text is refused: a browser sends those to any address without asking."""
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise MediaTypeError(f"the body is {kind[:100] or 'of no type'}: send JSON with the header Content-Type: "
                             "application/json", code="unsupported_media_type")


def error_headers(error: RequestError) -> dict[str, str]:
    """What goes with an error: when to come back, how to say who one is."""
    if isinstance(error, LimitError):
        return error.headers
    if isinstance(error, UnauthorizedError):
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": "2"} if error.status in (429, 503) else {}


async def _refuse(error: RequestError, send: Send) -> None:
    body = json.dumps(error_body(error), ensure_ascii=False).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error_headers(error)}
    await send({"type": "http.response.start", "status": error.status,
                "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()]})
    await send({"type": "http.response.body", "body": body})
