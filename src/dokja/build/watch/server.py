"""The page of runs, served to this machine: read-only, nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from ...errors import DokjaError
from .page import body, page
from .words import Lang


def make_server(runs: Sequence[Path], host: str, port: int) -> ThreadingHTTPServer:
    """A server of the page; port 0 takes a free one. Raises DokjaError when the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            makers = {"/": page, "/body": body}
            if address.path not in makers:
                self.send_error(404)
                return
            lang = _language(parse_qs(address.query).get("lang", [""])[0], self.headers.get("Accept-Language", ""))
            content = makers[address.path](runs, lang).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Security-Policy", "default-src 'self'; style-src 'unsafe-inline'; "
                                                        "script-src 'unsafe-inline'; img-src data:")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """A page that asks every few seconds has nothing to tell."""

    try:
        return ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise DokjaError(f"cannot serve on {host}:{port} ({error.strerror}): choose another with --port") from error


def _language(asked: str, accepted: str) -> Lang:
    if asked in ("ko", "en"):
        return "ko" if asked == "ko" else "en"
    return "ko" if accepted.strip().lower().startswith("ko") else "en"
