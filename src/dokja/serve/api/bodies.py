"""Bodies of requests, read as JSON and nothing beyond it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json

from ..errors import BadRequestError


class _JsonRequest(Request):
    """Python's own reader takes NaN, and halves of surrogate pairs, which no answer could then repeat."""

    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise BadRequestError(f"the body is not JSON: {error}", code="invalid_json") from error


class JsonRoute(APIRoute):
    """A route whose body is strict JSON; another body is refused with a 400."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return strict
