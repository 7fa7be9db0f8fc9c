"""The engine without threads: requests in, one step of the network at a time, steps of answers out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.decoder import Decoder
from ..errors import BadRequestError
from .grammar import Matcher
from .lora import Adapters
from .pages import Pages, kinds_of
from .runner import Runner
from .sampler import Choice, Counts, Row, logprobs, mass_heat, sample
from .scan import Mask
from .scheduler import Scheduler, Sequence, Work
from .sizing import Limits, page_totals
from .types import Finish, Request, Stats, Step

LOGIT_ROWS = 64  # rows of prompt logits that exist at once


@dataclass(frozen=True)
class Embedding:
    """The answer to a prompt whose states were asked for."""

    values: list[float]


Event = Step | Embedding | BadRequestError  # the last where a grammar turns out to be too much work


class Drafter(Protocol):
    """Guesses what follows, to be checked with a sequence's next step."""

    def draft(self, works: list[Work], states_NC: Tensor, runner: Runner, pages: Pages) -> None:
        """Put guesses into `drafts` of the sequences that decode next (`missing` is 1) and whose requests let it.

        works: what the step computed, less the sequences that ended; their `tokens` hold what was accepted. states_NC:
        the states that the head reads, of all their tokens, one work after another; those of drafts that were not
        accepted are among them. Pages are held for these places, and for later ones where `pages.reserve` says so.
        """


class Core:
    """Sequences at work on one decoder. For one thread; the same calls give the same answers, bit for bit."""

    def __init__(self, decoder: Decoder, limits: Limits, drafter: Drafter | None = None,
                 adapters: Adapters | None = None) -> None:
        """adapters: of LoRA, which are put into the decoder."""
        if adapters is not None:
            adapters.install(decoder)
        self.drafter = drafter
        kinds = kinds_of(decoder.spec, mtp=limits.mtp)
        self.context = limits.context
        self.pages = Pages(kinds, page_totals(kinds, limits), limits.rows, limits.context)
        self.scheduler = Scheduler(self.pages, rows=limits.rows, budget=limits.budget,
                                   prefix_cache=limits.prefix_cache)
        self.runner = Runner(decoder, self.pages, limits.context, adapters.step if adapters is not None else None)
        self._arrivals = 0
        self._counted = Stats()
        self._accepted = 0

    @property
    def sequences(self) -> list[Sequence]:
        """All that are at work or wait, the oldest first."""
        return sorted((*self.scheduler.running, *self.scheduler.waiting), key=lambda one: one.number)

    def add(self, request: Request, *, embed: bool = False, matcher: Matcher | None = None) -> Sequence:
        """Put a request at the end of the queue. matcher: at the start of its grammar, where it has one."""
        sequence = Sequence(self._arrivals, request, list(request.prompt),
                            Counts(request.prompt) if request.sampling.penalised else None,
                            pooled=[] if embed else None, matcher=matcher)
        self._arrivals += 1
        if request.sampling.prompt_logprobs is not None:
            sequence.prompt_logprobs = [None]
        self.scheduler.add(sequence)
        return sequence

    def remove(self, sequence: Sequence) -> None:
        """Stop working on it and free what it holds."""
        self.scheduler.remove(sequence)

    def stats(self) -> Stats:
        return replace(self._counted, waiting=len(self.scheduler.waiting), running=len(self.scheduler.running),
                       pages_free=self.pages.free, pages_total=self.pages.total, kv_bytes=4 * self.pages.values,
                       preempted=self.scheduler.preempted)

    def step(self) -> list[tuple[Sequence, Event]]:
        """Run one step of the network, if there is anything to do, and say by what the answers grew.

        An answer that ends is removed.
        """
        works = self.scheduler.plan()
        if not works:
            return []
        states = self.runner.run(works)
        self._read_prompts(works, states)
        ends = [(work, end) for work, end in zip(works, _ends(works), strict=True)
                if work.reaches_end and work.sequence.pooled is None]
        events = self._extend([work for work, _ in ends], self._choose(ends, states))
        events += self._embeddings(works, states)
        self._count(works, events)
        over = [sequence for sequence, event in events if not isinstance(event, Step) or event.finish is not None]
        self.scheduler.advance(works)
        if self.drafter is not None:
            self._draft(works, states, over)
        self.scheduler.trim(works)
        for sequence in over:
            self.remove(sequence)
        return events

    def _draft(self, works: list[Work], states: Tensor, over: list[Sequence]) -> None:
        """Have the drafter guess, and keep what the answers' limits leave of it."""
        assert self.drafter is not None
        going = [work.sequence not in over for work in works]
        if not any(going):
            return
        left = [work for stays, work in zip(going, works, strict=True) if stays]
        if not all(going):
            states = states[[stays for stays, work in zip(going, works, strict=True) for _ in range(work.size)]]
        self.drafter.draft(left, states, self.runner, self.pages)
        for work in left:
            sequence, most = work.sequence, work.sequence.request.sampling.max_tokens
            if not sequence.drafts:
                continue
            # The last token of an answer needs no draft: it is chosen after all that are checked.
            room = min(most - sequence.answered, self.context - len(sequence.tokens)) - 1
            sequence.drafts = sequence.drafts[: max(0, room)]
            if sequence.matcher is not None:
                sequence.drafts = sequence.drafts[: sequence.matcher.allowed(sequence.drafts)]

    def _choose(self, ends: list[tuple[Work, int]], states: Tensor) -> list[Choice]:
        """A token for every place after the known tokens and drafts of works that reach that far, each with where its
        tokens end among the states."""
        places, rows = [], []
        for work, end in ends:
            sequence = work.sequence
            if sequence.request.sampling.max_tokens == 0:
                continue
            masks = _masks(sequence)
            for i in range(work.drafts + 1):
                places.append(end - work.drafts - 1 + i)
                rows.append(Row(sequence.request.sampling, sequence.answered + i, sequence.counts, sequence.drafts[:i],
                                masks[i] if i < len(masks) else None))
        if not rows:
            return []
        heats = [mass_heat(row, self.runner.decoder.spec.vocab) for row in rows]
        return sample(self.runner.logits(states if len(places) == len(states) else states[places], heats), rows)

    def _extend(self, ends: list[Work], choices: list[Choice]) -> list[tuple[Sequence, Event]]:
        """Take the chosen tokens as far as drafts foresaw them, and one more.

        Each token is what the model's own distribution gives to (seed, place) after the tokens before it, so drafts
        change how soon an answer comes, never what it is.
        """
        events: list[tuple[Sequence, Event]] = []
        left = iter(choices)
        for work in ends:
            sequence, sampling = work.sequence, work.sequence.request.sampling
            if sampling.max_tokens == 0:
                events.append((sequence, Step((), finish="length")))
                continue
            taken: list[Choice] = []
            finish: Finish | None = None
            for i, choice in enumerate([next(left) for _ in range(work.drafts + 1)]):
                if finish or (i and sequence.drafts[i - 1] != taken[-1].token):
                    break
                self._accepted += i > 0
                if choice.token in sampling.stop:
                    finish = "stop"
                    break
                taken.append(choice)
                sequence.tokens.append(choice.token)
                if sequence.counts is not None:
                    sequence.counts.add(choice.token)
                if sequence.matcher is not None:
                    sequence.matcher.accept(choice.token)
                    if sequence.matcher.done:
                        finish = "stop"
                if not finish and (sequence.answered == sampling.max_tokens
                                   or len(sequence.tokens) == self.context):
                    finish = "length"
            sequence.drafts = []
            if sequence.matcher is not None and sequence.matcher.error is not None:
                events.append((sequence, sequence.matcher.error))
                continue
            events.append((sequence, Step(tuple([choice.token for choice in taken]),
                                          tuple([choice.logprob for choice in taken if choice.logprob]), finish)))
        return events

    def _read_prompts(self, works: list[Work], states: Tensor) -> None:
        """Log-probabilities of prompt tokens, where they are asked for."""
        if all(work.sequence.prompt_logprobs is None for work in works):
            return
        for work, end in zip(works, _ends(works), strict=True):
            found, request = work.sequence.prompt_logprobs, work.sequence.request
            if found is None:
                continue
            top = request.sampling.prompt_logprobs
            assert top is not None
            # Position p gives the log-probability of token p + 1; after a preemption some are known already.
            first, last = max(work.begin, len(found) - 1), min(work.begin + work.size, len(request.prompt) - 1)
            for begin in range(first, last, LOGIT_ROWS):
                stop, shift = min(begin + LOGIT_ROWS, last), end - work.size - work.begin
                logits = self.runner.logits(states[begin + shift : stop + shift])
                found.extend(logprobs(logits.rows, request.prompt[begin + 1 : stop + 1], top, logits.peaks))

    def _embeddings(self, works: list[Work], states: Tensor) -> list[tuple[Sequence, Event]]:
        """Mean states of the prompts that are through, of length 1."""
        events: list[tuple[Sequence, Event]] = []
        for work, end in zip(works, _ends(works), strict=True):
            pooled = work.sequence.pooled
            if pooled is None:
                continue
            if work.begin == 0:
                pooled.clear()  # it was preempted and starts again
            pooled.append(states[end - work.size : end].clone())
            if work.reaches_end:
                # All at once: a sum of sums would depend on the chunks.
                mean = torch.cat(pooled).double().mean(0)
                events.append((work.sequence, Embedding(F.normalize(mean, dim=0).tolist())))
        return events

    def _count(self, works: list[Work], events: list[tuple[Sequence, Event]]) -> None:
        new = [sequence for sequence, _ in events if not sequence.counted]
        for sequence in new:
            sequence.counted = True
        grown = [len(event.tokens) for _, event in events if isinstance(event, Step)]
        was = self._counted
        self._counted = replace(
            was, steps=was.steps + 1, generated_tokens=was.generated_tokens + sum(grown),
            prompt_tokens=was.prompt_tokens + sum(len(sequence.request.prompt) for sequence in new),
            cached_tokens=was.cached_tokens + sum(sequence.cached or 0 for sequence in new),
            drafted=was.drafted + sum(work.drafts for work in works),
            accepted=self._accepted)


def _masks(sequence: Sequence) -> list[Mask]:
    """What its grammar allows at the next place and behind its drafts."""
    matcher = sequence.matcher
    return [] if matcher is None else matcher.masks(sequence.drafts, sequence.request.sampling.stop)


def _ends(works: list[Work]) -> list[int]:
    """Where each work's tokens end among a step's."""
    ends, total = [], 0
    for work in works:
        total += work.size
        ends.append(total)
    return ends
