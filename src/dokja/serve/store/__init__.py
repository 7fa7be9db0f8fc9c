"""What the server keeps in a database: conversations and votes. SQLite by default, PostgreSQL by URL."""

from .database import default_database
from .store import ChangedError, GoneError, Settings, Store
from .tables import Conversation, Message, Vote
from .tally import tally

__all__ = ["ChangedError", "Conversation", "GoneError", "Message", "Settings", "Store", "Vote", "default_database",
           "tally"]
