"""Run models: an engine, an OpenAI-compatible API, the chat page and the season board."""

from .api import Settings
from .app import create_app
from .board import Board
from .local import LocalService
from .server import serve
from .start import Setup, start

__all__ = ["Board", "LocalService", "Settings", "Setup", "create_app", "serve", "start"]
