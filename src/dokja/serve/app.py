"""One web application: the API and the pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from .api import add_api
from .old_engine import Engine
from .pages import add_pages


def create_app(engine: Engine | None, board: Callable[[], dict[str, Any] | None], *, title: str = "Dokja") -> FastAPI:
    """The application for an engine (None: no model yet, the board only) and a board (None: no season yet)."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if engine is not None:
            engine.stop_all()

    # The generated API documents load scripts from another host, so they are off.
    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None)
    add_api(app, engine, board)
    add_pages(app, engine, board, title)
    return app
