"""Speculative decoding: cheap guesses at the next tokens, all checked in one step of the network.

Checking needs no second distribution. Every place of an answer is sampled with its own draw, a function of
(seed, place) alone (`sampler.py`), and a draft stands while it equals the token that was sampled there. So the answer
is token for token the one without speculation, greedy or sampled, which implies that its distribution is unchanged
(the property of Leviathan et al. 2023 and Chen et al. 2023, whose random rejection it replaces).

Drafts come from what the sequence already holds (prompt lookup: the longest recent n-gram is taken to go on as it did
before) or from the model's own multi-token-prediction layer (DeepSeek-V3, section 2.2), whose keys and values lie in
the paged cache behind the trunk's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ...models.cost import layer_matrix_flops
from ...models.decoder import Decoder
from .paged import Places
from .pages import Pages
from .runner import Runner
from .scheduler import Sequence as Running
from .scheduler import Work

NGRAMS = (3, 2)
DECAY = 0.9  # weight of a draft's outcome against that of the next
FORCED = 16  # drafts, where a grammar leaves no choice
MARGIN = 1.25  # how much better than its cost a draft must look
PAUSE, LONGEST_PAUSE = 8, 512  # steps without drafts before one is tried again; doubled with every failure
HOPELESS = 64  # a pause past this, and the MTP layer follows no more


class Lookup:
    """What followed the last n tokens the last time that they occurred. `tokens` may only grow between calls."""

    def __init__(self) -> None:
        self._after: dict[tuple[int, ...], int] = {}
        self._indexed = 0

    def draft(self, tokens: Sequence[int], most: int) -> list[int]:
        """Up to `most` tokens, none where no n-gram recurs."""
        for end in range(max(1, self._indexed), len(tokens)):
            for n in NGRAMS:
                if n <= end:
                    self._after[tuple(tokens[end - n : end])] = end
        self._indexed = len(tokens)
        for n in NGRAMS:
            begin = self._after.get(tuple(tokens[-n:])) if n <= len(tokens) else None
            if begin is not None:
                period = len(tokens) - begin  # a text that repeats itself goes on repeating
                return [tokens[begin + i % period] for i in range(most)]
        return []


class Pace:
    """How many drafts are worth their cost to one request, from what became of earlier ones.

    A step over N tokens takes as long as `spare` tokens' arithmetic to read the weights, and N to compute; making a
    draft takes `share` of a step. So the j-th draft pays if acceptance ** j > share + N / (spare + N). No clock: the
    same arrivals give the same drafts.
    """

    def __init__(self, spare: float, share: float = 0.0) -> None:
        self.spare, self.share = spare, share
        self._hits, self._trials = 1.0, 2.0
        self._idle, self.pause = 0, PAUSE

    def pays(self, running: int) -> bool:
        """Whether drafts could pay at all in steps of that many sequences."""
        return self._bar(running) < 1

    def length(self, running: int, most: int) -> int:
        """How many drafts to make, for a step of that many sequences."""
        bar, rate, length = self._bar(running), self._hits / self._trials, 0
        while length < most and rate ** (length + 1) >= bar:
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

    def _bar(self, running: int) -> float:
        return MARGIN * (self.share + running / (self.spare + running))


@dataclass
class _State:
    """One sequence: its paces, whose drafts are being checked, and up to where the MTP layer has followed."""

    forced_pace: Pace
    lookup_pace: Pace
    layer_pace: Pace | None
    lookup: Lookup = field(default_factory=Lookup)
    source: Pace | None = None
    followed: int | None = None


@dataclass
class _Tip:
    """Where the MTP layer drafts from: its state [C] at a place, and what it drafted behind it."""

    sequence: Running
    row: int
    state: Tensor
    drafts: list[int] = field(default_factory=list)

    @property
    def position(self) -> int:
        """Where the token before the last draft stands: the state there and that draft give the next state."""
        return len(self.sequence.tokens) - 2 + len(self.drafts)


class Speculator:
    """Drafts for the sequences of one engine (`core.Drafter`); for its worker's thread.

    mtp: whether MTP layers may draft, which needs `Limits.mtp`. most: drafts per sequence and step. spare: see `Pace`.
    dispatch: how many of the trunk's layers take as long as what PyTorch adds to a call of the MTP layer.
    Only the first MTP layer is used, on its own states after the first draft: what K-EXAONE, EXAONE 4.5 and
    DeepSeek-V3 publish has one. What a grammar forces is drafted before all else.
    """

    def __init__(self, decoder: Decoder, *, mtp: bool = False, most: int = 4, spare: float = 8.0,
                 dispatch: float = 2.0) -> None:
        self.most, self.spare = most, spare
        self.share: float | None = None  # of a step, that a draft of the MTP layer takes; None without one
        if mtp and len(decoder.mtp):
            spec = decoder.spec
            head = 2 * spec.vocab * spec.width
            trunk = sum(layer_matrix_flops(layer, spec.width) for layer in spec.layers)
            own = layer_matrix_flops(spec.mtp[0], spec.width) + 4 * spec.width**2  # the projection of two states
            self.share = (own + head) / (trunk + head) + dispatch / len(decoder.layers)
        self._states: WeakKeyDictionary[Running, _State] = WeakKeyDictionary()

    def draft(self, works: list[Work], states_NC: Tensor, runner: Runner, pages: Pages) -> None:
        """As `core.Drafter` has it."""
        decoding = [work.sequence for work in works if work.sequence.missing == 1 and work.sequence.request.speculate
                    and work.sequence.pooled is None]
        running = len(works)
        self._learn(works)
        tips = self._follow(works, states_NC, runner, set(decoding))
        wanted: dict[Running, int] = {}
        for sequence in decoding:
            state = self._state(sequence)
            forced = sequence.matcher.forced()[:FORCED] if sequence.matcher is not None else []
            if length := state.forced_pace.length(running, len(forced)):
                sequence.drafts, state.source = forced[:length], state.forced_pace
                continue
            layers = state.layer_pace.length(running, self.most) if sequence in tips and state.layer_pace else 0
            found = state.lookup.draft(sequence.tokens, self.most) if state.lookup_pace.pays(running) else []
            length = state.lookup_pace.length(running, len(found)) if found else 0
            if length > layers:
                sequence.drafts, state.source = found[:length], state.lookup_pace
            elif layers:
                wanted[sequence], state.source = layers, state.layer_pace
        self._chain([tips[sequence] for sequence in wanted], wanted, runner, pages)

    def _state(self, sequence: Running) -> _State:
        if sequence not in self._states:
            layer = None if self.share is None else Pace(self.spare, self.share)
            self._states[sequence] = _State(Pace(self.spare), Pace(self.spare), layer)
        return self._states[sequence]

    def _learn(self, works: list[Work]) -> None:
        """What became of the drafts that a step checked."""
        for work in works:
            state = self._states.get(work.sequence)
            if work.drafts and state is not None and state.source is not None:
                known = work.begin + work.count - work.drafts
                state.source.note(work.drafts, len(work.sequence.tokens) - known - 1)
                state.source = None

    def _follow(self, works: list[Work], states_NC: Tensor, runner: Runner,
                decoding: set[Running]) -> dict[Running, _Tip]:
        """Run the MTP layer over the new tokens whose next token is known. A sequence that missed some, since drafts
        could not pay then, is left out for good."""
        if self.share is None:
            return {}
        rows: list[int] = []
        positions: list[int] = []
        chosen: list[int] = []
        following: list[int] = []
        last: dict[Running, int] = {}
        offset = 0
        for work in works:
            sequence, begin = work.sequence, offset
            offset += work.count
            if not sequence.request.speculate or sequence.pooled is not None or sequence.row is None:
                continue
            state, end = self._state(sequence), min(work.begin + work.count, len(sequence.tokens) - 1)
            missed = state.followed is not None and work.begin > state.followed
            pace = state.layer_pace
            if pace is None or missed or not pace.pays(len(works)) or pace.pause > HOPELESS:
                state.layer_pace = None
                continue
            state.followed = end
            rows += [sequence.row] * (end - work.begin)
            positions += range(work.begin, end)
            chosen += range(begin, begin + end - work.begin)
            following += sequence.tokens[work.begin + 1 : end + 1]
            if sequence in decoding:
                last[sequence] = len(rows) - 1
        if not rows:
            return {}
        states = runner.mtp(0, Places.of(rows, positions), states_NC[chosen], torch.tensor(following))
        return {sequence: _Tip(sequence, rows[place], states[place]) for sequence, place in last.items()}

    def _chain(self, tips: list[_Tip], wanted: dict[Running, int], runner: Runner, pages: Pages) -> None:
        """Draft one token after another, as far as there are pages."""
        while tips:
            best = runner.logits(torch.stack([tip.state for tip in tips])).argmax(-1).tolist()
            for tip, token in zip(tips, best, strict=True):
                tip.drafts.append(token)
                tip.sequence.drafts = tip.drafts
            tips = [tip for tip in tips if len(tip.drafts) < wanted[tip.sequence]
                    and tip.position < runner.cache.context and pages.reserve(tip.row, tip.position + 1)]
            if tips:
                at = Places.of([tip.row for tip in tips], [tip.position for tip in tips])
                states = runner.mtp(0, at, torch.stack([tip.state for tip in tips]),
                                    torch.tensor([tip.drafts[-1] for tip in tips]))
                for tip, state in zip(tips, states, strict=True):
                    tip.state = state
