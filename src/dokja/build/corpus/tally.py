"""What the steps did: counts per source and reason, and a few documents to look at, whatever the order of work."""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

EXCERPT = 400  # characters


@dataclass
class Count:
    """Documents, and bytes of their UTF-8 text."""

    documents: int = 0
    bytes: int = 0

    def add(self, documents: int, size: int) -> None:
        self.documents += documents
        self.bytes += size


@dataclass
class Tally:
    """Counts of one or many pieces of work; merged, they are the counts of the whole.

    counts: by (source, what, reason), where what is "in", "out", "heldout", "dropped" or "changed" followed by the
    step. samples: for the same names the excerpts with the smallest hashes: a choice that no order of work changes.
    """

    keep: int = 5
    counts: dict[tuple[str, str, str], Count] = field(default_factory=lambda: defaultdict(Count))
    samples: dict[tuple[str, str, str], dict[str, str]] = field(default_factory=dict)

    def add(self, source: str, what: str, reason: str = "", size: int = 0, documents: int = 1) -> None:
        """Count documents of so many bytes together."""
        self.counts[source, what, reason].add(documents, size)

    def sample(self, source: str, what: str, reason: str, text: str, at: int = 0) -> None:
        """Offer a text to look at, around the character `at`."""
        if not self.keep:
            return
        start = max(0, min(at - EXCERPT // 2, len(text) - EXCERPT))
        excerpt = text[start : start + EXCERPT]
        lot = hashlib.blake2b(excerpt.encode(errors="replace"), digest_size=8).hexdigest()
        held = self.samples.setdefault((source, what, reason), {})
        held[lot] = excerpt
        if len(held) > 8 * self.keep:
            self.samples[source, what, reason] = self._least(held)

    def _least(self, held: dict[str, str]) -> dict[str, str]:
        return {lot: held[lot] for lot in heapq.nsmallest(self.keep, held)}

    def merge(self, other: Tally) -> None:
        for name, count in other.counts.items():
            self.counts[name].add(count.documents, count.bytes)
        for name, held in other.samples.items():
            self.samples[name] = self._least({**self.samples.get(name, {}), **held})

    def to_dict(self) -> dict[str, Any]:
        """Plain data in a fixed order."""
        return {
            "counts": [[*name, count.documents, count.bytes] for name, count in sorted(self.counts.items())],
            "samples": [[*name, self._least(held)] for name, held in sorted(self.samples.items())],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], keep: int = 5) -> Tally:
        tally = cls(keep)
        for source, what, reason, documents, size in data["counts"]:
            tally.add(source, what, reason, size, documents)
        for source, what, reason, held in data["samples"]:
            tally.samples[source, what, reason] = dict(held)
        return tally

    def of(self, source: str, what: str) -> dict[str, Count]:
        """The counts of one source by reason."""
        return {reason: count for (name, kind, reason), count in sorted(self.counts.items())
                if name == source and kind == what}
