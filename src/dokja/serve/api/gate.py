"""What every request passes: an id, the key and its limits, the size of its body; and what is counted and logged."""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import BusyError, MediaTypeError, RequestError, TooLargeError, UnauthorizedError
from .answers import error_body
from .context import NOTES, REQUEST_ID
from .keys import Bucket, Key, find_key
from .logs import requests as log
from .metrics import Metrics
from .settings import Settings

_GUARDED = ("/v1/", "/tokenize", "/detokenize")
_MOST_CLIENTS = 10_000  # buckets of addresses that are kept


class Gate:
    """ASGI middleware around the API; pages and their sockets pass untouched but for the id."""

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._buckets: dict[tuple[str, str], Bucket] = {}

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
                buckets = self._limits(key, scope, headers)
                for kind, bucket in buckets.items():
                    more.update(bucket.headers(kind))
            await self._app(scope, limited if guarded else receive, marked)
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

    def _limits(self, key: Key | None, scope: Scope, headers: Headers) -> dict[str, Bucket]:
        """The buckets of whoever asks, with this request taken; BusyError where one is empty."""
        who = key.digest.hex() if key else (scope.get("client") or ("",))[0]
        buckets = {}
        for kind, limit in (("requests", key.requests_a_minute if key else None),
                            ("tokens", key.tokens_a_minute if key else None)):
            limit = limit or getattr(self._settings, f"{kind}_a_minute")
            if limit is not None:
                buckets[kind] = self._bucket(who, kind, limit)
        for kind, bucket in buckets.items():
            if wait := bucket.wait(1):
                told = {name: value for each, one in buckets.items() for name, value in one.headers(each).items()}
                raise LimitError(f"this key may use {bucket.limit:,} {kind} a minute: try again in {math.ceil(wait)} "
                                 "seconds", wait, told)
        if "requests" in buckets:
            buckets["requests"].take(1)
        return buckets

    def _bucket(self, who: str, kind: str, limit: int) -> Bucket:
        bucket = self._buckets.setdefault((who, kind), Bucket(limit))
        if len(self._buckets) > _MOST_CLIENTS:  # those that are full say nothing
            self._buckets = {name: one for name, one in self._buckets.items() if one is bucket or one.level < one.limit}
        return bucket


def _require_json(headers: Headers) -> None:
    """A form or plain text is refused: a browser sends those to any address without asking."""
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise MediaTypeError(f"the body is {kind[:100] or 'of no type'}: send JSON with the header Content-Type: "
                             "application/json", code="unsupported_media_type")


class LimitError(BusyError):
    """A key's limit is reached; wait: seconds."""

    def __init__(self, message: str, wait: float, headers: dict[str, str]) -> None:
        super().__init__(message, code="rate_limit_exceeded")
        self.headers = {"Retry-After": str(math.ceil(wait)), **headers}


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
