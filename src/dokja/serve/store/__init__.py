"""What the server keeps in a database: conversations and votes. SQLite by default, PostgreSQL by URL."""

from .store import ChangedError, GoneError, Settings, Store
from .tables import Conversation, Message, Vote

__all__ = ["ChangedError", "Conversation", "GoneError", "Message", "Settings", "Store", "Vote"]
