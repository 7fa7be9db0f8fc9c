"""Speculative decoding: cheap guesses at the next tokens, all checked in one step of the network.

Checking needs no second distribution. Every place of an answer is sampled with its own draw, a function of
(seed, place) alone (`sampler.py`), and a draft stands while it equals the token that was sampled there. So the answer
is token for token the one without speculation, greedy or sampled, which implies that its distribution is unchanged
(the property of Leviathan et al. 2023 and Chen et al. 2023, whose random rejection it replaces).

Drafts come from what the sequence already holds (prompt lookup: the longest recent n-gram is taken to go on as it did
before), from the model's own multi-token-prediction layer (`mtp.py`), or from a grammar that leaves no choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from torch import Tensor

from ...models.decoder import Decoder
from .mtp import LayerDrafts
from .pace import Pace, pays
from .pages import Pages
from .runner import Runner
from .scheduler import Sequence as Running
from .scheduler import Work

NGRAMS = (3, 2)
FORCED = 16  # drafts, where a grammar leaves no choice
USUAL = 0.02  # weight of one outcome in what is usual
MOST = 8  # drafts of the MTP layer, which says itself how sure it is of each


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


@dataclass
class _State:
    """One sequence: its paces, whose drafts are being checked (None: the MTP layer's), and what an n-gram said of a
    place, though it was not asked."""

    forced: Pace
    lookups: Pace
    lookup: Lookup = field(default_factory=Lookup)
    source: Pace | None = None
    unasked: tuple[int, int] | None = None


class Speculator:
    """Drafts for the sequences of one engine (`core.Drafter`); for its worker's thread.

    mtp: whether MTP layers may draft, which needs `Limits.mtp`. most: drafts of n-grams, per sequence and step. spare:
    see `pace.py`. What a grammar forces is drafted before all else.
    """

    def __init__(self, decoder: Decoder, *, mtp: bool = False, most: int = 4, spare: float = 8.0) -> None:
        self.most, self.spare = most, spare
        self.layer = LayerDrafts(decoder.spec, most=MOST, spare=spare) if mtp and len(decoder.mtp) else None
        self._usual = {False: 0.5, True: 0.5}  # share of first drafts of n-grams that stood: greedy requests, others
        self._states: WeakKeyDictionary[Running, _State] = WeakKeyDictionary()

    def draft(self, works: list[Work], states_NC: Tensor, runner: Runner, pages: Pages) -> None:
        """As `core.Drafter` has it."""
        running = len(works)
        paying = pays(running, self.spare)
        self._learn(works)
        if self.layer is None and not paying:
            return
        others: set[Running] = set()
        for work in works:
            sequence = work.sequence
            if sequence.missing != 1 or not sequence.request.speculate or sequence.pooled is not None:
                continue
            if (state := self._states.get(sequence)) is None:
                usual = self._usual[sequence.request.sampling.temperature > 0]
                state = self._states[sequence] = _State(Pace(self.spare), Pace(self.spare, usual))
            forced = sequence.matcher.forced()[:FORCED] if sequence.matcher is not None else []
            if length := state.forced.length(running, len(forced)):
                sequence.drafts, state.source = forced[:length], state.forced
                continue
            found = state.lookup.draft(sequence.tokens, self.most) if paying else []
            if found and self.layer is not None and state.lookups.rate < self.layer.worth(sequence.request):
                state.unasked, found = (len(sequence.tokens), found[0]), []
            if length := state.lookups.length(running, len(found)):
                sequence.drafts, state.source = found[:length], state.lookups
            else:
                state.source = None
                others.add(sequence)
        if self.layer is not None:
            self.layer.draft(works, others, states_NC, runner, pages)

    def _learn(self, works: list[Work]) -> None:
        """What became of the drafts that a step checked."""
        for work in works:
            state, tokens = self._states.get(work.sequence), work.sequence.tokens
            if state is None:
                continue
            if state.unasked is not None and len(tokens) > state.unasked[0]:
                state.lookups.note(1, tokens[state.unasked[0]] == state.unasked[1])
                state.unasked = None
            if work.drafts:
                accepted = len(tokens) - (work.begin + work.size - work.drafts) - 1
                if state.source is not None:
                    state.source.note(work.drafts, accepted)
                    if state.source is state.lookups:
                        sampled = work.sequence.request.sampling.temperature > 0
                        self._usual[sampled] += USUAL * ((accepted > 0) - self._usual[sampled])
                elif self.layer is not None:
                    self.layer.learn(work, accepted, len(works))
