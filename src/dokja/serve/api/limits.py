"""What a key, or an address where there are no keys, may ask in a minute; the API and the pages share it."""

from __future__ import annotations

import math

from ..errors import BusyError
from .keys import Bucket, Key
from .settings import Settings

_MOST_CLIENTS = 10_000  # buckets of addresses that are kept


class LimitError(BusyError):
    """The limit of a key, or of an address, is reached; wait: seconds."""

    def __init__(self, message: str, wait: float, headers: dict[str, str]) -> None:
        super().__init__(message, code="rate_limit_exceeded")
        self.wait = math.ceil(wait)
        self.headers = {"Retry-After": str(self.wait), **headers}


class Limits:
    """The buckets of everyone who asks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def take(self, key: Key | None, address: str, requests: int = 1) -> dict[str, Bucket]:
        """The buckets of whoever asks, with these requests taken; LimitError where one is empty.

        The tokens of the answers are for the caller to take, once they are known.
        """
        who = key.digest.hex() if key else address
        buckets = {}
        for kind, limit in (("requests", key.requests_a_minute if key else None),
                            ("tokens", key.tokens_a_minute if key else None)):
            limit = limit or getattr(self._settings, f"{kind}_a_minute")
            if limit is not None:
                buckets[kind] = self._bucket(who, kind, limit)
        for kind, bucket in buckets.items():
            if wait := bucket.wait(requests if kind == "requests" else 1):
                told = {name: value for each, one in buckets.items() for name, value in one.headers(each).items()}
                raise LimitError(f"this {'key' if key else 'address'} may use {bucket.limit:,} {kind} a minute: try "
                                 f"again in {math.ceil(wait)} seconds", wait, told)
        if "requests" in buckets:
            buckets["requests"].take(requests)
        return buckets

    def _bucket(self, who: str, kind: str, limit: int) -> Bucket:
        bucket = self._buckets.setdefault((who, kind), Bucket(limit))
        if len(self._buckets) > _MOST_CLIENTS:  # those that are full say nothing
            self._buckets = {name: one for name, one in self._buckets.items() if one is bucket or one.level < one.limit}
        return bucket
