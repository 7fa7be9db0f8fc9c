"""Drafts of a model's own multi-token-prediction layer (DeepSeek-V3, section 2.2), whose keys and values lie in the
paged cache behind the trunk's.

The layer need not run in every step: what the trunk said of tokens that it has not seen yet is kept, and it catches up
in one call when a draft is wanted. Only the first MTP layer is used, on its own states after the first draft: what
K-EXAONE, EXAONE 4.5 and DeepSeek-V3 publish has one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ...models.cost import layer_matrix_flops
from ...models.spec import ModelSpec, MoE
from .pace import MARGIN, Ledger, Odds, check_cost
from .paged import Places
from .pages import Pages
from .runner import Runner
from .scheduler import Sequence, Work
from .types import Request

# FLOPs that take as long as what surrounds the arithmetic of a step, of a mixture in it, and of a draft.
STEP, MIXTURE, DRAFT = 8e6, 1e6, 3.5e6
KEPT = 256  # states that wait for the layer
DOUBT = 3  # calls that one counts for which nobody got a draft of
HOTTEST = 1.0  # the temperature above which so few drafts stand that to ask for them costs more than it saves


def share_of_step(spec: ModelSpec) -> float:
    """What a call of the MTP layer and of the head takes of a step."""
    head = 2 * spec.vocab * spec.width
    trunk = sum(layer_matrix_flops(layer, spec.width) + MIXTURE * isinstance(layer.ffn, MoE) for layer in spec.layers)
    own = layer_matrix_flops(spec.mtp[0], spec.width) + 4 * spec.width**2  # the projection of two states
    return (own + head + DRAFT) / (trunk + head + STEP)


@dataclass
class _State:
    """One sequence: the `held` states [n, C] that the layer has not seen, the last of them of the place before `end`;
    whether it missed some before them; and how sure it was of the drafts that are being checked."""

    waiting: list[Tensor] = field(default_factory=list)
    held: int = 0
    end: int | None = None
    lost: bool = False
    sure: list[float] = field(default_factory=list)

    def drop(self) -> None:
        """Forget what waits."""
        self.waiting, self.held = [], 0


@dataclass
class _Tip:
    """Where drafts grow from: the layer's state [C] at a place, and how likely all drafts behind it stand."""

    sequence: Sequence
    row: int
    state: Tensor
    sure: list[float]
    chance: float = 1.0

    @property
    def position(self) -> int:
        """Where the token before the last draft stands: the state there and that draft give the next state."""
        return len(self.sequence.tokens) - 2 + len(self.sequence.drafts)


class LayerDrafts:
    """Drafts for the sequences of one engine. most: for a sequence and step; spare: see `pace.py`."""

    def __init__(self, spec: ModelSpec, *, most: int, spare: float) -> None:
        self.most, self.spare, self.share = most, spare, share_of_step(spec)
        self._rate = 0.5  # of first drafts that stood
        # Behind a window, pages are gone before the layer could catch up.
        self._kept = KEPT if spec.mtp[0].mixer.window is None else 0
        self._ledger = Ledger()
        self._odds = {False: Odds(), True: Odds()}  # of greedy requests and of others
        self._states: WeakKeyDictionary[Sequence, _State] = WeakKeyDictionary()

    def worth(self, request: Request) -> float:
        """The share of first drafts that stood of late; 0 while the layer rests, and where it is not asked."""
        return 0.0 if self._ledger.rests or _too_hot(request) else self._rate

    def learn(self, work: Work, accepted: int, running: int) -> None:
        """What became of the drafts that a work checked."""
        state = self._states[work.sequence]
        odds = self._odds[work.sequence.request.sampling.temperature > 0]
        for i in range(min(work.drafts, accepted + 1)):
            odds.note(state.sure[i], i < accepted)
        self._rate += 0.05 * ((accepted > 0) - self._rate)
        self._ledger.note(accepted / running - work.drafts / (self.spare + running))

    def draft(self, works: list[Work], wanted: set[Sequence], states_NC: Tensor, runner: Runner, pages: Pages) -> None:
        """Put drafts into the wanted sequences, of those that the works decode."""
        running = len(works)
        bar = MARGIN * check_cost(running, self.spare)
        active = bar < 1 and self._ledger.open()
        if self._ledger.doubted and not active:
            self._abandon(works)
            return
        offset, due = 0, []
        for work in works:
            state = self._keep(work, states_NC[offset : offset + work.size])
            offset += work.size
            if state is None or state.lost:
                continue
            if not active and state.held > self._kept and (bar >= 1 or work.size > self.most + 1 or not self._kept):
                state.lost = True  # it would cost too much to follow
                state.drop()
            elif state.held > self._kept or (active and work.sequence in wanted and state.held):
                due.append(work.sequence)
        tips = self._follow(due, runner)
        self._grow([tip for tip in tips if active and tip.sequence in wanted], bar, running, runner, pages)

    def _abandon(self, works: list[Work]) -> None:
        """Follow these sequences no further: for a layer that does not pay, even keeping what it would need costs."""
        for work in works:
            state = self._states.setdefault(work.sequence, _State())
            state.lost = True
            state.drop()

    def _keep(self, work: Work, states_NC: Tensor) -> _State | None:
        """Take what the trunk said of the tokens whose next token is known."""
        sequence = work.sequence
        request = sequence.request
        if not request.speculate or _too_hot(request) or sequence.pooled is not None or sequence.row is None:
            return None
        state = self._states.setdefault(sequence, _State())
        if state.end is not None and work.begin != state.end:  # it was preempted and starts again
            state.drop()
            state.lost = work.begin > state.end
        state.end = min(work.begin + work.size, len(sequence.tokens) - 1)
        if not state.lost and state.end > work.begin:
            state.waiting.append(states_NC[: state.end - work.begin])
            state.held += state.end - work.begin
        return state

    def _follow(self, due: list[Sequence], runner: Runner) -> list[_Tip]:
        """Run the layer over all that waits of these sequences."""
        if not due:
            return []
        self._ledger.note(-self.share)
        rows: list[int] = []
        positions: list[int] = []
        following: list[int] = []
        waiting: list[Tensor] = []
        ends: list[int] = []
        for sequence in due:
            state, row = self._states[sequence], sequence.row
            assert state.end is not None
            assert row is not None
            begin = state.end - state.held
            rows += [row] * state.held
            positions += range(begin, state.end)
            following += sequence.tokens[begin + 1 : state.end + 1]
            waiting += state.waiting
            state.drop()
            state.sure = []
            ends.append(len(rows) - 1)
        states = runner.mtp(0, Places.of(rows, positions), torch.cat(waiting), torch.tensor(following))
        return [_Tip(sequence, rows[end], states[end], self._states[sequence].sure)
                for sequence, end in zip(due, ends, strict=True)]

    def _grow(self, tips: list[_Tip], bar: float, running: int, runner: Runner, pages: Pages) -> None:
        """Draft one token after another, as long as all of them together are likely enough and there are pages."""
        while tips:
            best = runner.likeliest(torch.stack([tip.state for tip in tips]),
                                    [tip.sequence.request.sampling.temperature or 1.0 for tip in tips])
            going = []
            for tip, token, sure in zip(tips, *best, strict=True):
                tip.chance *= self._odds[tip.sequence.request.sampling.temperature > 0].of(sure)
                if tip.chance < bar:
                    continue
                tip.sequence.drafts.append(token)
                tip.sure.append(sure)
                if (len(tip.sure) < self.most and tip.chance * self._rate >= bar + MARGIN * self.share
                        and tip.position < runner.cache.context and pages.reserve(tip.row, tip.position + 1)):
                    going.append(tip)
            if not any(tip.sure for tip in tips):  # not even a first draft
                self._ledger.note(-DOUBT * self.share)
            tips = going
            if tips:
                self._ledger.note(-self.share)
                at = Places.of([tip.row for tip in tips], [tip.position for tip in tips])
                states = runner.mtp(0, at, torch.stack([tip.state for tip in tips]),
                                    torch.tensor([tip.sequence.drafts[-1] for tip in tips]))
                for tip, state in zip(tips, states, strict=True):
                    tip.state = state


def _too_hot(request: Request) -> bool:
    return request.sampling.temperature > HOTTEST
