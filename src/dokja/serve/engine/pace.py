"""How many drafts are worth making, from what became of earlier ones.

No clock: a step over N tokens is taken to last as long as `spare` tokens' arithmetic, which is what reading the weights
costs, and N tokens' own. So one more token in a step of N sequences costs 1 / (spare + N) of it, and one more token
that stands saves 1 / N of it. The same arrivals give the same drafts.
"""

from __future__ import annotations

DECAY = 0.9  # weight of a draft's outcome against that of the next, of one request
MARGIN = 1.25  # how much better than its cost a draft must look
PAUSE, LONGEST_PAUSE = 8, 512  # steps without drafts before one is tried again; doubled with every failure
BINS, BELIEF, FADING = 10, 4.0, 0.99  # of odds: classes of confidence, trials that the first guess counts for, decay
LOSS, REST, LONGEST_REST = 4.0, 32, 2048  # of a ledger: steps' time lost before it closes, and steps that it stays so


def check_cost(running: int, spare: float) -> float:
    """What share of a token must stand for a draft to be worth checking in steps of that many sequences."""
    return running / (spare + running)


def pays(running: int, spare: float) -> bool:
    """Whether drafts could pay at all in steps of that many sequences."""
    return MARGIN * check_cost(running, spare) < 1


class Pace:
    """How many drafts one request gets of a source that says nothing about each: the j-th pays if acceptance ** j is
    more than its cost. usual: the share of drafts that stood in earlier requests."""

    def __init__(self, spare: float, usual: float = 0.5) -> None:
        self.spare = spare
        self._hits, self._trials = 2.0 * usual, 2.0
        self._idle, self.pause = 0, PAUSE

    @property
    def rate(self) -> float:
        """The share of drafts that stood of late."""
        return self._hits / self._trials

    def length(self, running: int, most: int) -> int:
        """How many drafts to make, for a step of that many sequences."""
        bar, length = MARGIN * check_cost(running, self.spare), 0
        while length < most and self.rate ** (length + 1) >= bar:
            length += 1
        if length == 0 and bar < 1 and most:
            self._idle += 1
            if self._idle >= self.pause:
                self._idle, self.pause = 0, min(2 * self.pause, LONGEST_PAUSE)
                return 1
        return length

    def note(self, drafted: int, accepted: int) -> None:
        """What became of the drafts; those behind the first wrong one were not tried."""
        for hit in [1] * accepted + [0] * (accepted < drafted):
            self._hits, self._trials = DECAY * self._hits + hit, DECAY * self._trials + 1
        if accepted:
            self.pause = PAUSE


class Odds:
    """How likely drafts stand to which their source gave some probability: at first that probability."""

    def __init__(self) -> None:
        self._trials = [BELIEF] * BINS
        self._hits = [BELIEF * (i + 0.5) / BINS for i in range(BINS)]

    def of(self, probability: float) -> float:
        i = self._bin(probability)
        return self._hits[i] / self._trials[i]

    def note(self, probability: float, hit: bool) -> None:
        i = self._bin(probability)
        self._hits[i], self._trials[i] = FADING * self._hits[i] + hit, FADING * self._trials[i] + 1

    def _bin(self, probability: float) -> int:
        return min(BINS - 1, int(BINS * probability))


class Ledger:
    """What a source of drafts has cost and saved an engine, in the time of plain steps. It closes when too much is
    lost, and opens again for a try after ever longer rests, so that the loss stays a small share of all steps."""

    def __init__(self) -> None:
        self._balance, self._left, self._rest = 0.0, 0, REST

    @property
    def rests(self) -> bool:
        """Whether it is closed."""
        return self._left > 0

    @property
    def doubted(self) -> bool:
        """Whether it has closed more than once since it last paid."""
        return self._rest > 2 * REST

    def open(self) -> bool:
        """Whether to draft in this step; to be asked once a step."""
        if self._left:
            self._left -= 1
        return not self._left

    def note(self, gain: float) -> None:
        """What a step cost (negative) or saved."""
        self._balance = min(LOSS, self._balance + gain)
        if self._balance >= LOSS:
            self._rest = REST
        if self._balance <= -LOSS:
            self._balance, self._left, self._rest = 0.0, self._rest, min(2 * self._rest, LONGEST_REST)
