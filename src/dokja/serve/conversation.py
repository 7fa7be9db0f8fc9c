"""A conversation cut to what a model can read, with room left for the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import BadRequestError

Message = Mapping[str, Any]  # role, content, ... as in the OpenAI API


@dataclass(frozen=True)
class Fitted:
    """Prompt ids, how many tokens the answer may have, and how many of the oldest messages were left out."""

    ids: list[int]
    room: int
    dropped: int


def fit(prompt: Callable[[Sequence[Message]], list[int]], context: int, messages: Sequence[Message],
        max_tokens: int | None = None, *, drop: bool) -> Fitted:
    """The prompt of a conversation, or with `drop` of its newest messages, within `context` tokens.

    prompt: ids of messages. With `drop`, at least a quarter of the context (or max_tokens) is kept for the answer,
    system messages stay, and the first other message that is kept is a user's. Without, one token is enough.
    Raises BadRequestError when what must be kept is too long.
    """
    ids = prompt(messages)
    limit = context - (max(1, min(max_tokens or context, context // 4)) if drop else 1)
    dropped = 0
    if len(ids) > limit:
        if not drop:
            raise BadRequestError(
                f"the conversation is too long: it takes {len(ids)} tokens and this model reads {limit} of its "
                f"{context} before the answer, so shorten it", param="messages", code="context_length_exceeded")
        ids, dropped = _newest(prompt, limit, context, messages)
    room = context - len(ids)
    return Fitted(ids, room if max_tokens is None else min(room, max_tokens), dropped)


def _newest(prompt: Callable[[Sequence[Message]], list[int]], limit: int, context: int, messages: Sequence[Message],
            ) -> tuple[list[int], int]:
    """The longest end of the conversation that fits and begins with a user's message; how many were left out."""
    system = [message for message in messages if message["role"] in ("system", "developer")]
    turns = [message for message in messages if message["role"] not in ("system", "developer")]
    starts = [at for at, turn in enumerate(turns) if turn["role"] == "user"] or [0]
    low, high = 0, len(starts) - 1  # binary search for the earliest start that fits
    while low < high:
        middle = (low + high) // 2
        if len(prompt([*system, *turns[starts[middle]:]])) <= limit:
            high = middle
        else:
            low = middle + 1
    ids = prompt([*system, *turns[starts[low]:]])
    if len(ids) > limit:
        raise BadRequestError(
            f"the last message is too long: it takes {len(ids)} tokens and this model reads {limit} of its {context} "
            "before the answer, so shorten it", param="messages", code="context_length_exceeded")
    return ids, starts[low]
