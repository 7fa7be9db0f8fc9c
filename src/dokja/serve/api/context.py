"""What a request brings with it to every route: the service, an id, how long its client waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request

from ..errors import UnavailableError
from ..service import Service, Usage
from .fields import timeout_header

REQUEST_ID = "dokja.request_id"  # in a request's scope
NOTES = "dokja.notes"  # what the log says of it


@dataclass(frozen=True)
class Context:
    """One request. wait: seconds that the server or a header allows. notes: what the log says of it."""

    service: Service
    id: str
    wait: float | None
    notes: dict[str, Any]

    def note(self, model: str, usage: Usage) -> None:
        """Count an answer's tokens for the log and the key's limit."""
        self.notes["model"] = model
        for name, count in (("prompt_tokens", usage.prompt), ("completion_tokens", usage.completion),
                            ("cached_tokens", usage.cached)):
            self.notes[name] = self.notes.get(name, 0) + count

    @classmethod
    def of(cls, request: Request) -> Context:
        """The context of a request; UnavailableError while there is no model."""
        service: Service | None = request.app.state.service
        if service is None:
            raise UnavailableError("no model is ready yet: the season is still being played, see /board",
                                   code="model_not_ready")
        waits: list[Any] = [timeout_header(request.headers.get("x-request-timeout")), request.app.state.longest_wait]
        waits = [wait for wait in waits if wait is not None]
        return cls(service, request.scope[REQUEST_ID], min(waits) if waits else None, request.scope[NOTES])
