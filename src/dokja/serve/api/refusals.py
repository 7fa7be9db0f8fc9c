"""Errors as OpenAI's clients expect them, whoever raised them."""

from __future__ import annotations

import logging

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
    """The first thing that is wrong with a body, in one sentence."""
    errors = error.errors()
    unknown = next((one for one in errors if one["type"] == "extra_forbidden"), None)
    if unknown is not None:
        name = _place(unknown["loc"])
        return BadRequestError(f"unknown parameter {name!r}", param=name, code="unknown_parameter")
    first = errors[0]
    if first["type"] == "json_invalid":
        return BadRequestError(f"the body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}",
                               code="invalid_json")
    where = _place(first["loc"])
    return MalformedError(f"{where}: {first['msg'].removeprefix('Value error, ')}", param=where)


def _place(loc: tuple[int | str, ...]) -> str:
    parts = [str(part) for part in loc if part != "body"][:_DEEPEST]
    return ".".join(parts) or "body"
