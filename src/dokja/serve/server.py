"""Run an app until Ctrl-C: bind first, say where, end cleanly."""

from __future__ import annotations

import errno
import math
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from ..errors import DokjaError

AT_ONCE = 3  # seconds that answers get to end after Ctrl-C; a second one ends at once


def serve(app: FastAPI, host: str = "127.0.0.1", port: int = 8300, *, grace: float = 30) -> None:
    """Serve `app` until Ctrl-C or SIGTERM; port 0 takes a free one. A port in use raises DokjaError at once.

    grace: seconds that answers get to end after SIGTERM, when nothing new is accepted any more; rounded up, at least 1.
    """
    listening = _bind(host, port)
    port = listening.getsockname()[1]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=math.ceil(grace) or 1)
    with listening, _quiet_signals(), warnings.catch_warnings():
        # NiceGUI looks at every live object to find the server; one of torch's complains about being looked at.
        warnings.filterwarnings("ignore", message=".*reduce_op", category=FutureWarning)
        _Announcing(config, url).run(sockets=[listening])


class _Announcing(uvicorn.Server):
    """Prints the address once requests are accepted; an impatient end after Ctrl-C."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"Dokja serves at {self._url} (Ctrl-C ends it)", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT:
            self.config.timeout_graceful_shutdown = AT_ONCE
        super().handle_exit(sig, frame)


def _bind(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:  # getaddrinfo would take it modulo 65536
        raise DokjaError(f"cannot listen on port {port}: choose one from 0 to 65535 with --port")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, proto)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        return listening
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise DokjaError(f"port {port} is in use on {host}: choose another with --port") from error
        raise DokjaError(f"cannot listen on {host} port {port} ({error}): choose others with --host and --port"
                         ) from error


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """uvicorn raises a signal again after its clean end; by then there is nothing left to interrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def nothing(signum: int, frame: FrameType | None) -> None:
        pass

    before = {number: signal.signal(number, nothing) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
