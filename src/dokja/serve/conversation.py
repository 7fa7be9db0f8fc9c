"""A conversation cut to what a model can read, with room left for the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..models.codec import Codec
from .errors import BadRequestError

Message = tuple[str, str]  # (role, content)


@dataclass(frozen=True)
class Fitted:
    """Prompt ids, how many tokens the answer may have, and how many of the oldest messages were left out."""

    ids: list[int]
    room: int
    dropped: int


def fit(codec: Codec, context: int, messages: Sequence[Message], max_tokens: int | None = None) -> Fitted:
    """The newest messages that fit `context` tokens, at least a quarter of it (or max_tokens) kept for the answer.

    System messages are put before the first message that is kept, since the chat formats have no system turn.
    Raises BadRequestError when there is no question at the end or when the last message alone is too long.
    """
    system = "\n\n".join(content for role, content in messages if role == "system")
    turns = [(role, content) for role, content in messages if role != "system"]
    if not turns or turns[-1][0] != "user" or not turns[-1][1].strip():
        raise BadRequestError("messages must end with a message of the user that is not empty", param="messages")
    limit = context - max(1, min(max_tokens or context, context // 4))
    bare = len(codec.prompt([]))
    length, start = bare, len(turns)
    while start > 0:
        cost = len(codec.prompt(turns[start - 1:start])) - bare
        if length + cost > limit and start < len(turns):
            break
        length += cost
        start -= 1
    while True:
        while turns[start][0] != "user":  # the model has only seen texts that begin with a question
            start += 1
        ids = codec.prompt(_with_system(turns[start:], system))
        if len(ids) <= limit:
            break
        if start == len(turns) - 1:
            raise BadRequestError(
                f"the last message is too long: it takes {len(ids)} tokens and this model reads {limit} "
                f"of its {context} before the answer, so shorten it",
                param="messages", code="context_length_exceeded",
            )
        start += 1
    room = context - len(ids)
    return Fitted(ids, room if max_tokens is None else min(room, max_tokens), start)


def _with_system(turns: Sequence[Message], system: str) -> list[Message]:
    if not system.strip():
        return list(turns)
    (role, content), *rest = turns
    return [(role, f"{system}\n\n{content}"), *rest]
