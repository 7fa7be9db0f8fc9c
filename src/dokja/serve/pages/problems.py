"""Why a message is not answered, as a key of the pages' words with its values."""

from __future__ import annotations

from typing import Any

from ...errors import DokjaError
from ..api import LimitError
from ..errors import BadRequestError, BusyError

LIMIT = 100_000  # characters of a message


def too_long(message: str) -> None:
    """Raise BadRequestError for a message past what the pages take."""
    if len(message) > LIMIT:
        raise BadRequestError(f"a message may have {LIMIT} characters", code="context_length_exceeded")


def reason(error: DokjaError, context: int) -> tuple[str, dict[str, Any]]:
    """What to say of an error; context: tokens that the model reads."""
    if isinstance(error, LimitError):
        return "limited", {"n": error.wait}
    if isinstance(error, BusyError):
        return "busy", {}
    if isinstance(error, BadRequestError):
        if error.code == "context_length_exceeded":
            return "too_long", {"n": context * 3 // 4}
        return "refused", {"why": str(error)}
    return "failed", {}
