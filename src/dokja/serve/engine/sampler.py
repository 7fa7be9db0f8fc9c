"""Choose the next token of many requests in one step, each by its own settings.

Rows are independent: each one's arithmetic is the same, bit for bit, whatever other rows are there. A draw is the
inverse of the cumulative distribution, over ids in ascending order, at a uniform number that a counter-based
generator (Philox: Salmon et al. 2011) makes of (seed, n) alone, so that it depends on no earlier draw.

Nothing sorts a whole vocabulary unless it must: the n largest logits lie in the n blocks with the largest peaks, so
that a few blocks hold every candidate of top_k, top_p or min_p.

Shape letters: N rows, V vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .types import SamplingParams, TokenLogprob

BLOCK = 256
FIRST_PEAKS = 64  # blocks looked at first for top_p; four times as many whenever they hold too little
COLDEST = 1e-30  # a lower temperature is no positive float32; this one is greedy already

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


class Counts:
    """Which tokens a request has seen, for penalties: those of its prompt, and how often each is in its answer."""

    def __init__(self, prompt: Sequence[int] = ()) -> None:
        self.prompt = np.unique(np.asarray(prompt, dtype=np.int64))
        self.answer: Counter[int] = Counter()

    def add(self, token: int) -> None:
        """The answer grew by a token."""
        self.answer[token] += 1


@dataclass(frozen=True)
class Row:
    """A place of an answer to choose the token for.

    draw: how many tokens of the answer come before it. counts: needed with penalties; what stands before the drafts.
    drafted: draft tokens between the answer and this place. mask: ids that a grammar allows as bits, [ceil(V / 8)],
    id i being bit i % 8 of byte i // 8; None allows all.
    """

    sampling: SamplingParams
    draw: int = 0
    counts: Counts | None = None
    drafted: Sequence[int] = ()
    mask: NDArray[np.uint8] | None = None


class Choice(NamedTuple):
    """The token chosen for a row, and its log-probabilities where the row asks for them."""

    token: int
    logprob: TokenLogprob | None


def sample(logits_NV: Tensor, rows: Sequence[Row]) -> list[Choice]:
    """One token a row; the order of the steps is that of `SamplingParams`."""
    logits = logits_NV.detach().float().cpu().contiguous().numpy()
    space = _Space(logits.shape[-1])
    choices = []
    for own, row in zip(logits, rows, strict=True):
        token = _choose(own, row, space)
        top = row.sampling.logprobs
        choices.append(Choice(token, None if top is None else _logprob(own, token, top, space)))
    return choices


def logprobs(logits_NV: Tensor, tokens: Sequence[int], top: int) -> list[TokenLogprob]:
    """Log-probabilities of given tokens, a row each, with the `top` likeliest: prompt_logprobs."""
    logits = logits_NV.detach().float().cpu().contiguous().numpy()
    space = _Space(logits.shape[-1])
    return [_logprob(own, token, top, space) for own, token in zip(logits, tokens, strict=True)]


def uniform(seed: int, n: int) -> float:
    """The number in [0, 1) for draw n under a seed."""
    raw = np.random.Philox(key=seed % 2**64, counter=n).random_raw()
    return float(int(raw) >> 11) * 2.0**-53


class _Space:
    """Room for one row in blocks, padded with -inf; always the same memory, since vectorised exponentials may round
    differently at another alignment."""

    def __init__(self, vocab: int) -> None:
        self.vocab = vocab
        self.blocks = -(-vocab // BLOCK)
        self.x = torch.full((self.blocks, BLOCK), -np.inf)
        self.weights = torch.empty(self.blocks, BLOCK)
        self.row: Floats = self.x.numpy().reshape(-1)[:vocab]

    def peaks(self) -> Floats:
        """The largest logit of each block."""
        return self.x.amax(1).numpy()

    def weigh(self, peak: float, temperature: float) -> Doubles:
        """weights = exp((x - peak) / temperature); returns their sum in each block."""
        torch.sub(self.x, peak, out=self.weights)
        if temperature != 1.0:
            self.weights.div_(temperature)
        self.weights.exp_()
        return self.weights.sum(1).numpy().astype(np.float64)

    def at_least(self, threshold: float, peaks: Floats) -> Ints:
        """Ids whose logit is at least `threshold`, ascending."""
        blocks = np.flatnonzero(peaks >= threshold)
        block, column = np.nonzero(self.x.numpy()[blocks] >= threshold)
        ids = blocks[block] * BLOCK + column
        return ids[ids < self.vocab]

    def largest(self, n: int, peaks: Floats) -> Ints:
        """At least n ids, if there are as many, that hold the n largest logits; ascending."""
        if n >= self.vocab:
            return np.arange(self.vocab)
        among = peaks if n <= len(peaks) else self.row
        return self.at_least(float(np.partition(among, len(among) - n)[len(among) - n]), peaks)


def _choose(logits_V: Floats, row: Row, space: _Space) -> int:
    its = row.sampling
    if _adjusts(row):
        np.copyto(space.row, logits_V)
        _adjust(space.row, row)
        if its.temperature <= 0:
            return int(space.row.argmax())
    elif its.temperature <= 0:
        return int(logits_V.argmax())
    else:
        np.copyto(space.row, logits_V)
    peaks, temperature = space.peaks(), max(its.temperature, COLDEST)
    peak, at = float(peaks.max()), uniform(its.seed, row.draw)
    if not np.isfinite(peak):
        return int(space.row.argmax())
    if 0 < its.top_k < space.vocab or its.top_p < 1 or its.min_p > 0:
        ids, weights = _kept(its, peaks, temperature, space)
        return int(ids[_invert(np.cumsum(weights), at)])
    upto = np.cumsum(space.weigh(peak, temperature))
    block = _invert(upto, at)
    within = np.cumsum(space.weights[block].numpy(), dtype=np.float64)
    share = (at * upto[-1] - (upto[block - 1] if block else 0.0)) / within[-1]
    return block * BLOCK + _invert(within, share)


def _invert(cumulative: Doubles, at: float) -> int:
    """The first place whose cumulative weight is over that share of the whole; never one without weight."""
    place = int(np.searchsorted(cumulative, at * cumulative[-1], side="right"))
    return min(place, int(np.searchsorted(cumulative, cumulative[-1])))


def _kept(its: SamplingParams, peaks: Floats, temperature: float, space: _Space) -> tuple[Ints, Doubles]:
    """Ids that top_k, top_p and min_p leave, ascending, and their weights relative to the likeliest."""
    peak = float(peaks.max())

    def ordered(ids: Ints) -> tuple[Ints, Doubles]:
        """Likeliest first, the lower id first among equals, with weights."""
        ids = ids[np.argsort(-space.row[ids], kind="stable")]
        return ids, np.exp((space.row[ids].astype(np.float64) - peak) / temperature)

    whole = None
    if 0 < its.top_k < space.vocab:
        ids, weights = ordered(space.largest(its.top_k, peaks))
        ids, weights = ids[: its.top_k], weights[: its.top_k]
        whole = float(weights.sum())
    elif its.top_p < 1:
        whole = float(space.weigh(peak, temperature).sum())
        count = FIRST_PEAKS
        ids, weights = ordered(space.largest(count, peaks))
        while weights.sum() < its.top_p * whole and len(ids) < space.vocab:
            count *= 4
            ids, weights = ordered(space.largest(count, peaks))
    else:
        # A little under the threshold, since the weights decide below.
        lowest = peak + temperature * float(np.log(its.min_p))
        ids, weights = ordered(space.at_least(lowest - 1e-5 * max(abs(lowest), abs(peak)), peaks))
    kept = weights >= its.min_p
    kept &= weights > 0
    if its.top_p < 1 and whole is not None:
        kept &= np.cumsum(weights) - weights < its.top_p * whole
    kept[0] = True
    order = np.argsort(ids[kept])
    return ids[kept][order], weights[kept][order]


def _adjusts(row: Row) -> bool:
    its = row.sampling
    return bool(row.mask is not None or its.logit_bias or its.repetition_penalty != 1 or its.presence_penalty
                or its.frequency_penalty or row.draw < its.min_tokens)


def _adjust(x_V: Floats, row: Row) -> None:
    """Bias, penalties, and what may not be chosen, in place."""
    its = row.sampling
    for token, bias in its.logit_bias.items():
        x_V[token] += bias
    if row.counts is not None:
        answer = row.counts.answer + Counter(row.drafted)
        ids = np.fromiter(answer.keys(), np.int64, len(answer))
        if its.repetition_penalty != 1:
            seen = np.union1d(row.counts.prompt, ids)
            x_V[seen] = np.where(x_V[seen] > 0, x_V[seen] / its.repetition_penalty, x_V[seen] * its.repetition_penalty)
        if its.presence_penalty or its.frequency_penalty:
            times = np.fromiter(answer.values(), np.float32, len(answer))
            x_V[ids] -= its.presence_penalty + its.frequency_penalty * times
    if row.draw < its.min_tokens:
        x_V[list(its.stop)] = -np.inf
    if row.mask is not None:
        bits = np.unpackbits(row.mask, bitorder="little")[: len(x_V)]
        np.copyto(x_V, -np.inf, where=bits == 0)


def _logprob(logits_V: Floats, token: int, top: int, space: _Space) -> TokenLogprob:
    """Log-probabilities of the model's own distribution."""
    np.copyto(space.row, logits_V)
    peaks = space.peaks()
    peak = float(peaks.max())
    norm = peak + float(np.log(space.weigh(peak, 1.0).sum()))
    best = space.largest(top, peaks) if top else np.zeros(0, np.int64)
    best = best[np.argsort(-space.row[best], kind="stable")][:top]
    likeliest = tuple((int(i), float(space.row[i]) - norm) for i in best)
    return TokenLogprob(token, float(space.row[token]) - norm, likeliest)
