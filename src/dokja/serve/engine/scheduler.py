"""Which tokens of which sequences make up the next step. No tensors, no clock, no thread: the same arrivals, ends and
pages give the same steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from .grammar import Matcher
from .pages import PAGE, Pages, extend_keys
from .sampler import Counts
from .types import Request, TokenLogprob


@dataclass(eq=False)
class Sequence:
    """A request at work.

    number: its place among the arrivals; tokens: prompt and answer; counts: of them, where penalties ask for it;
    computed: how many of them are in the cache; drafts: guesses at what follows, checked with its next step; row: of
    the page tables, None while it waits; keys: of its full pages; cached: what the prefix cache gave at first; pooled:
    the states of its prompt so far, where they are what is asked for (an embedding); prompt_logprobs: as in
    `types.Generation`; counted: whether it is in the statistics; matcher: of its grammar.
    """

    number: int
    request: Request
    tokens: list[int]
    counts: Counts | None
    computed: int = 0
    drafts: list[int] = field(default_factory=list)
    row: int | None = None
    keys: list[bytes] = field(default_factory=list)
    cached: int | None = None
    pooled: list[Tensor] | None = None
    prompt_logprobs: list[TokenLogprob | None] | None = None
    counted: bool = False
    matcher: Matcher | None = None

    @property
    def answered(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - len(self.request.prompt)

    @property
    def whole(self) -> bool:
        """Whether every position of the prompt is wanted, so that nothing may come from the prefix cache."""
        return self.pooled is not None or self.request.sampling.prompt_logprobs is not None

    @property
    def missing(self) -> int:
        """Known tokens that are not in the cache; 1 while it decodes."""
        return len(self.tokens) - self.computed

    @property
    def salt(self) -> str:
        return self.request.adapter or ""


class Work(NamedTuple):
    """Tokens of a sequence from `begin` on that a step computes; `drafts` of them are guesses behind the known."""

    sequence: Sequence
    begin: int
    size: int
    drafts: int = 0

    @property
    def reaches_end(self) -> bool:
        """Whether a new token follows from it."""
        return self.begin + self.size - self.drafts == len(self.sequence.tokens)


class Scheduler:
    """First come, first served; sequences that decode go first, what is left of a step's tokens prefills in chunks.

    When pages run out, the newest sequence gives back all of its own and is computed again later.
    """

    def __init__(self, pages: Pages, *, rows: int, budget: int, prefix_cache: bool = True) -> None:
        self.pages, self.budget, self.prefix_cache = pages, budget, prefix_cache
        self.waiting: list[Sequence] = []  # by number
        self.running: list[Sequence] = []  # by number
        self.preempted = 0
        self._rows = list(range(rows - 1, -1, -1))

    def add(self, sequence: Sequence) -> None:
        """A new sequence, the last in the queue."""
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence, wherever it is, and give back its pages."""
        if sequence.row is None:
            self.waiting.remove(sequence)
        else:
            self.running.remove(sequence)
            self._vacate(sequence)

    def plan(self) -> list[Work]:
        """The next step, with pages held for it; empty when there is nothing to do."""
        works: dict[int, Work] = {}
        budget = self.budget
        for decoding in (True, False):
            for sequence in list(self.running):
                if sequence.row is None or (sequence.missing == 1) is not decoding:
                    continue
                drafts = len(sequence.drafts) if decoding else 0
                size = 1 + drafts if decoding else min(sequence.missing, budget)
                if size and self._reserve(sequence, sequence.computed + size, works):
                    works[sequence.number] = Work(sequence, sequence.computed, size, drafts)
                    budget = max(0, budget - size)
        while budget and self.waiting and self._rows:
            sequence = self.waiting[0]
            if not self._admit(sequence):
                break
            size = min(sequence.missing, budget)
            held = self.pages.reserve(self._row(sequence), sequence.computed + size)
            assert held, "there was room for the whole sequence"
            works[sequence.number] = Work(sequence, sequence.computed, size)
            budget -= size
        return [works[number] for number in sorted(works)]

    def advance(self, works: Iterable[Work]) -> None:
        """Note what a step computed, once `tokens` holds what was accepted: full pages can be found from now on."""
        for work in works:
            sequence, row = work.sequence, self._row(work.sequence)
            # Drafts that were not accepted stand behind the known tokens; the next step writes over them.
            sequence.computed = min(work.begin + work.size, len(sequence.tokens) - 1)
            if self.prefix_cache:
                extend_keys(sequence.keys, sequence.tokens, sequence.salt)
                self.pages.publish(row, sequence.keys, sequence.computed)

    def trim(self, works: Iterable[Work]) -> None:
        """Give back the pages behind the windows of what comes next."""
        for work in works:
            self.pages.trim(self._row(work.sequence), work.sequence.computed)

    def _row(self, sequence: Sequence) -> int:
        assert sequence.row is not None
        return sequence.row

    def _admit(self, sequence: Sequence) -> bool:
        """Let the first that waits run, with what the prefix cache has of it, if all of it would fit."""
        row, cached = self._rows[-1], 0
        if self.prefix_cache and not sequence.whole:
            # The last known token is always computed: what follows it is wanted.
            extend_keys(sequence.keys, sequence.tokens, sequence.salt)
            cached = self.pages.attach(row, sequence.keys[: (len(sequence.tokens) - 1) // PAGE])
        if not self.pages.has_room(row, len(sequence.tokens), self.budget):
            self.pages.release(row)
            return False
        self._rows.pop()
        self.waiting.remove(sequence)
        sequence.row, sequence.computed = row, cached
        self.running.append(sequence)
        self.running.sort(key=lambda one: one.number)
        if sequence.cached is None:
            sequence.cached = cached
        return True

    def _reserve(self, sequence: Sequence, tokens: int, works: dict[int, Work]) -> bool:
        """Take pages, from the newest sequences if need be; False when this was the newest."""
        while not self.pages.reserve(self._row(sequence), tokens):
            newest = self.running[-1]
            works.pop(newest.number, None)
            self.preempted += 1
            self._preempt(newest)
            if newest is sequence:
                return False
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._vacate(sequence)
        self.waiting.insert(0, sequence)
        self.waiting.sort(key=lambda one: one.number)

    def _vacate(self, sequence: Sequence) -> None:
        row = self._row(sequence)
        self.pages.release(row)
        self._rows.append(row)
        sequence.row, sequence.computed, sequence.drafts = None, 0, []
