"""API keys, and what each may ask in a minute."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DokjaError

VARIABLE = "DOKJA_API_KEYS"  # keys parted by commas
_LIMITS = {"requests": "requests_a_minute", "tokens": "tokens_a_minute"}


@dataclass(frozen=True)
class Key:
    """One key. digest: SHA-256 of it, the only form that is kept. name: for logs. Limits as in `Settings`."""

    digest: bytes
    name: str
    requests_a_minute: int | None = None
    tokens_a_minute: int | None = None


def read_keys(file: Path | None, environment: Mapping[str, str]) -> tuple[Key, ...]:
    """Keys of a file and of DOKJA_API_KEYS.

    A line of the file is `KEY [NAME] [requests=N] [tokens=N]`, limits being per minute; # begins a comment.
    DokjaError, which never tells a key, for a line that is none, and for a file without keys.
    """
    keys = [_key(text.strip(), f"key {number}") for number, text in
            enumerate(environment.get(VARIABLE, "").split(","), start=1) if text.strip()]
    if file is None:
        return tuple(keys)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DokjaError(f"{file} cannot be read as text ({error}): give a file with one API key a line") from error
    found = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        names = [word for word in words[1:] if "=" not in word]
        limits = [re.fullmatch(r"(requests|tokens)=([1-9][0-9]{0,11})", word) for word in words[1:] if "=" in word]
        if len(names) > 1 or not all(limits):
            raise DokjaError(f"line {number} of {file} is no key: write KEY [NAME] [requests=N] [tokens=N], limits per "
                             "minute")
        found.append(_key(words[0], names[0] if names else f"line {number}",
                          {_LIMITS[limit[1]]: int(limit[2]) for limit in limits if limit}))
    if not found:
        raise DokjaError(f"{file} holds no API key: write one a line")
    return (*keys, *found)


def _key(text: str, name: str, limits: Mapping[str, int] | None = None) -> Key:
    return Key(_digest(text), name, **(limits or {}))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def find_key(keys: Sequence[Key], authorization: str) -> Key | None:
    """The key of an Authorization header; every key is compared, each in constant time."""
    scheme, _, text = authorization.partition(" ")
    asked = _digest(text.strip())
    found = None
    for key in keys:
        if hmac.compare_digest(key.digest, asked) and scheme.lower() == "bearer":
            found = key
    return found


class Bucket:
    """A token bucket: `limit` at once, refilled evenly over a minute; what was used too much must be waited out."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self._clock = limit, clock
        self._level, self._seen = float(limit), clock()

    @property
    def level(self) -> float:
        """What may be taken now."""
        now = self._clock()
        self._level = min(self.limit, self._level + (now - self._seen) * self.limit / 60)
        self._seen = now
        return self._level

    def take(self, amount: float) -> None:
        """Use some, more than there is if need be."""
        self._level = self.level - amount

    def wait(self, amount: float) -> float:
        """Seconds until so much may be taken."""
        return max(0.0, (min(amount, self.limit) - self.level) * 60 / self.limit)

    def headers(self, kind: str) -> dict[str, str]:
        """OpenAI's x-ratelimit headers."""
        return {f"x-ratelimit-limit-{kind}": str(self.limit),
                f"x-ratelimit-remaining-{kind}": str(max(0, int(self.level))),
                f"x-ratelimit-reset-{kind}": f"{self.wait(self.limit):.3f}s"}
