"""`dokja serve`, once its options are read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import DokjaError
from .api import Settings, log_json, read_keys
from .app import create_app
from .server import serve
from .start import Setup, read_models, read_size, start
from .weights import KINDS


def run(models: Sequence[str], *, names: Sequence[str], host: str, port: int, weights: str, context: int | None,
        kv_memory: str | None, batch: int, queue: int, api_keys: Path | None, rate_requests: int | None,
        rate_tokens: int | None, max_body: str, timeout: float | None, grace: float, log_lines: bool, pages: bool,
        database: str | None) -> None:
    """Load, announce, serve until a signal comes; what is wrong with an option is told before anything is loaded."""
    chosen = next((kind for kind in KINDS if kind == weights), None)
    if chosen is None:
        raise DokjaError(f"unknown weights {weights!r}: choose from {', '.join(KINDS)} with --weights")
    settings = Settings(keys=read_keys(api_keys, os.environ), requests_a_minute=rate_requests,
                        tokens_a_minute=rate_tokens, body_limit=read_size(max_body), longest_wait=timeout, pages=pages)
    setup = Setup(chosen, None if kv_memory is None else read_size(kv_memory), batch, queue, context)
    service = start(read_models(models, names, setup), setup)
    if log_lines:
        log_json()
    try:
        app = create_app(service, lambda: None, settings=settings, database=database)
        serve(app, host, port, grace=grace)
    finally:
        service.close()
