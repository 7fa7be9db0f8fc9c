"""What can be wrong with a request, each with the HTTP status and the code that OpenAI's clients expect."""

from __future__ import annotations

from ..errors import DokjaError


class RequestError(DokjaError):
    """A request that cannot be answered; `param` is the field at fault, `code` a word for programs."""

    status = 400
    kind = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class BadRequestError(RequestError):
    """The request is well formed and asks for what cannot be done."""


class MalformedError(RequestError):
    """The request's fields have the wrong shape."""

    status = 422


class TooLargeError(RequestError):
    """The request's body is over the limit."""

    status = 413


class MediaTypeError(RequestError):
    """The body is said to be no JSON."""

    status = 415


class UnknownError(RequestError):
    """No such model or address."""

    status = 404


class BusyError(RequestError):
    """The queue is full."""

    status = 429
    kind = "rate_limit_error"


class UnavailableError(RequestError):
    """There is no model to answer yet."""

    status = 503
    kind = "service_unavailable_error"


class BrokenError(RequestError):
    """Something of ours is broken, such as a checkpoint's chat template."""

    status = 500
    kind = "server_error"


class DeadlineError(RequestError):
    """The time that the client or the server allows is over."""

    status = 504
    kind = "timeout_error"


class UnauthorizedError(RequestError):
    """No API key, or one that is not known."""

    status = 401
    kind = "authentication_error"
