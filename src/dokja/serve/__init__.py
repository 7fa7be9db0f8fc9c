"""Run trained models: an engine, an OpenAI-compatible API, the chat page and the season board."""

from .app import create_app
from .board import Board
from .old_engine import Delta, Engine, Options
from .server import serve

__all__ = ["Board", "Delta", "Engine", "Options", "create_app", "serve"]
