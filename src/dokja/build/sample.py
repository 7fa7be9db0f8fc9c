"""Which passages of a stream of documents become the training and the held-out text.

One pass, memory bounded by the two byte budgets. Every choice is made by a keyed BLAKE2b hash of content, so it depends
on the seed and on the text alone, never on the order of files. Keeping the items with the smallest hashes is a uniform
sample without replacement (bottom-k sampling; Cohen and Kaplan, "Summarizing data using bottom-k sketches", 2007), and
equal items have equal hashes, so they meet: duplicates are found without remembering all that was ever read.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dokja.build.document import Document
from dokja.build.passages import cut, cut_conversation

PASSAGE = 2_000  # characters; one statute of a megabyte becomes 300 candidates, of which a few are drawn
CONVERSATION = 8_000  # characters; a conversation needs its context, so it may be longer than a passage
HELDOUT_SHARE = 0.02  # of the documents; unbiased and enough for any corpus that is larger than its budgets
HELDOUT_LEAST = 0.05  # of the bytes; a small corpus holds out more, up to this


@dataclass(slots=True)
class _Kept:
    """One passage in a sample. Equal passages are one entry: its source is the first by name, its lot the smallest."""

    document: Document
    lot: float
    size: int
    repeats: dict[str, int] = field(default_factory=dict)


class Sample:
    """The passages with the smallest keys whose bytes together stay within a budget."""

    def __init__(self, budget: int) -> None:
        self.kept: dict[int, _Kept] = {}
        self.bytes = 0
        self._budget = budget
        self._heap: list[int] = []  # keys, negated: the largest is on top
        self._bar: float = float("inf")  # no key at or above it can be among the smallest any more

    @property
    def full(self) -> bool:
        """Whether a passage had to be turned away."""
        return self._bar < float("inf")

    def add(self, key: int, document: Document, lot: float, size: int) -> None:
        """Offer one passage of `size` bytes from the document with this lot."""
        known = self.kept.get(key)
        if known is None:
            self.take(key, _Kept(document, lot, size))
            return
        # Counts per source, less the copy that is kept, are right in whatever order the copies arrive.
        old = known.document.source
        first, other = sorted((old, document.source))
        known.repeats[other] = known.repeats.get(other, 0) + 1
        known.lot = min(known.lot, lot)
        if first != old:
            known.document = document

    def take(self, key: int, entry: _Kept) -> None:
        """Keep an entry that is not in yet if its key is small enough, and let the largest go while over budget."""
        if key >= self._bar:
            return
        self.kept[key] = entry
        self.bytes += entry.size
        heapq.heappush(self._heap, -key)
        while self.bytes > self._budget:
            largest = -heapq.heappop(self._heap)
            self.bytes -= self.kept.pop(largest).size
            self._bar = largest

    def drop(self, key: int) -> _Kept:
        """Remove one entry after the stream has ended."""
        entry = self.kept.pop(key)
        self.bytes -= entry.size
        return entry

    def in_order(self) -> Iterator[Document]:
        """The documents by key, which is a random order."""
        for key in sorted(self.kept):
            yield self.kept[key].document


class Sampler:
    """Splits documents by their hash, cuts them, and keeps two samples and the counts per source."""

    def __init__(self, seed: int, train_bytes: int, heldout_bytes: int) -> None:
        self.train = Sample(train_bytes)
        self.heldout = Sample(heldout_bytes)
        self.documents = 0
        self._heldout_budget = heldout_bytes
        self._key = hashlib.blake2b(str(seed).encode(), digest_size=32).digest()
        self._counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._skipped: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def _hash(self, content: bytes, what: bytes) -> int:
        # `what` keeps the split and the sampling independent of each other, although both hash the same text.
        return int.from_bytes(hashlib.blake2b(content, digest_size=12, key=self._key, person=what).digest(), "big")

    def add(self, document: Document) -> int:
        """Count and sample one document; returns its bytes."""
        encoded = document.content.encode()
        counts = self._counts[document.source]
        counts["documents"] += 1
        counts["bytes"] += len(encoded)
        self.documents += 1
        lot = self._hash(encoded, b"document") / 2**96
        sample = self.heldout if lot < HELDOUT_SHARE else self.train
        for part in self._parts(document):
            if part.turns:
                # Roles and turn ends are hashed as well: different conversations may read the same line by line.
                turns = "".join(f"\x1e{turn.role}\x1f{turn.content}" for turn in part.turns)
                key = self._hash(turns.encode(), b"turns")
                size = len(part.content.encode())
            else:
                content = encoded if part is document else part.text.encode()
                key = self._hash(content, b"passage")
                size = len(content)
            sample.add(key, part, lot, size)
        return len(encoded)

    def _parts(self, document: Document) -> Iterator[Document]:
        if document.turns:
            for turns in cut_conversation(document.turns, CONVERSATION):
                if sum(len(turn.content) for turn in turns) <= CONVERSATION:
                    yield Document(document.source, turns=turns)
                else:
                    self._skipped[document.source][f"an exchange over {CONVERSATION:,} characters"] += 1
        elif len(document.text) <= PASSAGE:
            yield document
        else:
            for text in cut(document.text, PASSAGE):
                # The blank line at a cut belongs to the document, not to a passage that stands alone.
                if text.strip():
                    yield Document(document.source, text.strip("\n"))

    def settle(self) -> None:
        """After the stream: let a small corpus hold out enough, and keep train free of what is held out."""
        wanted = min(self._heldout_budget, HELDOUT_LEAST * (self.train.bytes + self.heldout.bytes))
        lots: dict[float, list[int]] = defaultdict(list)
        for key, entry in self.train.kept.items():
            lots[entry.lot].append(key)
        # The next documents by lot, whole: the same as if the held-out share had been larger from the start.
        for lot in sorted(lots)[:-1]:
            if self.heldout.full or self.heldout.bytes >= wanted:
                break
            for key in lots[lot]:
                if key not in self.heldout.kept:
                    self.heldout.take(key, self.train.drop(key))
        for key in self.train.kept.keys() & self.heldout.kept.keys():
            entry = self.train.drop(key)
            for source, copies in ((entry.document.source, 1), *entry.repeats.items()):
                self._counts[source]["also_heldout"] += copies

    def report(self, skipped: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, Any]]:
        """Counts per source, by name."""
        for name, sample in (("train", self.train), ("heldout", self.heldout)):
            for entry in sample.kept.values():
                counts = self._counts[entry.document.source]
                counts[f"{name}_documents"] += 1
                counts[f"{name}_bytes"] += entry.size
                for source, repeats in entry.repeats.items():
                    self._counts[source]["duplicates"] += repeats
        for source, reasons in skipped.items():
            for reason, count in reasons.items():
                self._skipped[source][reason] += count
        names = (
            "documents", "bytes", "train_documents", "train_bytes", "heldout_documents", "heldout_bytes",
            "duplicates", "also_heldout",
        )  # fmt: skip
        return {
            source: {
                **{name: self._counts[source][name] for name in names},
                "skipped": dict(sorted(self._skipped[source].items())),
            }
            for source in sorted(self._counts.keys() | self._skipped.keys())
        }
