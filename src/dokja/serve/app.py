"""One web application: the API and the pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from .api import Settings, add_api
from .pages import add_pages
from .service import Service


def create_app(service: Service | None, board: Callable[[], dict[str, Any] | None], *, title: str = "Dokja",
               settings: Settings | None = None) -> FastAPI:
    """The application for a service (None: no model yet, the board only) and a board (None: no season yet)."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if service is not None:
            service.close()

    # The generated API documents load scripts from another host, so they are off.
    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, strict_content_type=False,
                  description="OpenAI-compatible API over models that run here. Every error has one shape.")
    measured = add_api(app, service, board, settings)
    if settings.pages:
        add_pages(app, measured, board, title)
    return app
