"""What an operator decides about the API."""

from __future__ import annotations

from dataclasses import dataclass

from .keys import Key

MEBI = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """keys: who may ask; none means everybody. requests_a_minute, tokens_a_minute: of a key that has no limit of its
    own (without keys: of a client's address); None is no limit. body_limit: bytes. longest_wait: seconds after which an
    answer is ended, whatever its client allows. pages: whether
    the chat page and the board are there.
    """

    keys: tuple[Key, ...] = ()
    requests_a_minute: int | None = None
    tokens_a_minute: int | None = None
    body_limit: int = 4 * MEBI
    longest_wait: float | None = None
    pages: bool = True
