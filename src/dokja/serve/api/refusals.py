"""Errors as OpenAI's clients expect them, whoever raised them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ...errors import DokjaError
from ..errors import BadRequestError, MalformedError, RequestError, UnavailableError, UnknownError
from .answers import FAILED, error_body
from .gate import error_headers

log = logging.getLogger("dokja.serve")
_DEEPEST = 12  # of a field's place that is worth telling


def add_refusals(app: FastAPI) -> None:
    """Answer every error with one sentence in OpenAI's form."""

    @app.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "DELETE", "PATCH"], include_in_schema=False)
    async def nothing(path: str) -> None:
        raise UnknownError(f"there is no address /v1/{path} for this method here", code="unknown_url")

    @app.exception_handler(DokjaError)
    async def refused(_: Request, error: DokjaError) -> JSONResponse:
        return _answer(error if isinstance(error, RequestError) else UnavailableError(str(error)))

    @app.exception_handler(RequestValidationError)
    async def misshapen(_: Request, error: RequestValidationError) -> JSONResponse:
        return _answer(_told(error))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, RequestError):  # raised while the body was read
            return _answer(error.__cause__)
        return JSONResponse(error_body(RequestError(str(error.detail))), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> JSONResponse:
        log.error("a request failed", exc_info=error)
        return _answer(FAILED)


def _answer(error: RequestError) -> JSONResponse:
    return JSONResponse(error_body(error), error.status, error_headers(error))


def _told(error: RequestValidationError) -> RequestError:
    """What is wrong with a body, in one sentence: of several things the innermost.

    A field that may be a text or a list brings an error for either, with names of types in its place.
    """
    errors = error.errors()
    unknown = next((one for one in errors if one["type"] == "extra_forbidden"), None)
    if unknown is not None:
        name = _place(unknown["loc"], error.body)
        return BadRequestError(f"unknown parameter {name!r}: leave it out", param=name, code="unknown_parameter")
    meant = [one for one in errors if not one["type"].endswith("_type")] or errors
    chosen = max(meant, key=lambda one: len(_path(one["loc"], error.body)))
    where = _place(chosen["loc"], error.body)
    return MalformedError(f"{where}: {chosen['msg'].removeprefix('Value error, ')}", param=where)


def _path(loc: Sequence[int | str], body: Any) -> list[str]:
    """The keys and indices of a place that the body has, and at its end one that it lacks."""
    path = []
    for at, part in enumerate(loc[1:], start=2):
        listed = isinstance(body, list) and isinstance(part, int) and part < len(body)
        if listed or (isinstance(body, dict) and part in body):
            path.append(str(part))
            body = body[part]
        elif isinstance(body, dict) and at == len(loc) and part != "[key]":
            path.append(str(part))
    return path


def _place(loc: Sequence[int | str], body: Any) -> str:
    return ".".join(_path(loc, body)[:_DEEPEST]) or "body"
