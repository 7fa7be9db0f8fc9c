"""One web application: the API and the pages."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from .api import Settings, add_api
from .pages import add_pages
from .service import Service
from .store import Store


def create_app(service: Service | None, board: Callable[[], dict[str, Any] | None], *, title: str = "Dokja",
               settings: Settings | None = None, database: str | None = None) -> FastAPI:
    """The application for a service (None: no model yet, the board only) and a board (None: no season yet).

    database: where the pages keep conversations and votes (`store.Store`); None: in a file that goes with the app.
    """
    settings = settings or Settings()
    ending = AsyncExitStack()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with ending:
            yield

    # The generated API documents load scripts from another host, so they are off.
    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, strict_content_type=False,
                  description="OpenAI-compatible API over models that run here. Every error has one shape.")
    measured = add_api(app, service, board, settings)
    if service is not None:
        ending.callback(service.close)
    if settings.pages:
        if database is None:
            folder = tempfile.TemporaryDirectory(prefix="dokja-")
            ending.callback(folder.cleanup)
            database = str(Path(folder.name) / "serve.sqlite")
        store = Store(database)
        ending.callback(store.close)
        desk = add_pages(app, measured, store, board, title, settings)
        if desk is not None:
            ending.push_async_callback(desk.close)  # first of all: it keeps what the service has written
    return app
