"""Find marks in a text that comes in pieces: the first whole one, and what may be the beginning of one at the end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .syntax import Mark

Found = tuple[int, int, Mark]  # where it begins (newlines that belong to it included), where it ends, which mark


class Finder:
    """Looks for some marks; no mark may contain another, so the first one found is the right one."""

    def __init__(self, marks: Iterable[Mark]) -> None:
        self._marks = {mark.text: mark for mark in marks}
        self._before = max((mark.before for mark in self._marks.values()), default=0)
        self._longest = self._before + max(map(len, self._marks), default=0)
        whole, partial = [], []
        for text, mark in self._marks.items():
            newlines = f"\\n{{0,{mark.before}}}" if mark.before else ""
            whole.append(f"{newlines}({re.escape(text)})")
            partial.append(newlines + _prefixes(text))
        self._whole = re.compile("|".join(whole) or "(?!)")
        self._partial = re.compile(f"(?:{'|'.join(partial) or '(?!)'})\\Z")

    def first(self, text: str, at: int, end: int | None = None) -> Found | None:
        """The first whole mark from `at` on and before `end`."""
        found = self._whole.search(text, at, len(text) if end is None else end)
        return (found.start(), found.end(), self._marks[found[found.lastindex or 0]]) if found else None

    def safe(self, text: str, at: int, end: int | None = None) -> int:
        """Up to where a text without a whole mark between `at` and `end` cannot be the beginning of one."""
        end = len(text) if end is None else end
        found = self._partial.search(text, max(at, end - self._longest), end)
        return found.start() if found else end


@lru_cache(maxsize=64)
def finder(marks: tuple[Mark, ...]) -> Finder:
    """A Finder, compiled once for each tuple of marks."""
    return Finder(marks)


def _prefixes(text: str) -> str:
    """A pattern of every proper beginning of a text, the empty one too."""
    pattern = ""
    for letter in reversed(text[:-1]):
        pattern = f"(?:{re.escape(letter)}{pattern})?"
    return pattern
