"""Choose the next token of many requests in one step, each by its own settings.

Rows are independent: each one's arithmetic is the same, bit for bit, whatever other rows are there. A draw is the
inverse of the cumulative distribution, over ids in ascending order, at a uniform number that a counter-based
generator (Philox: Salmon et al. 2011) makes of (seed, n) alone, so that it depends on no earlier draw.

Nothing sorts a whole vocabulary unless it must: one pass over the logits (`scan.py`) says which few blocks hold every
candidate of top_k, top_p or min_p, and which one a draw falls into.

Shape letters: N rows, V vocabulary.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import native
from .scan import BLOCK, Doubles, Floats, Ints, Mask, Scan, addresses, scan
from .types import SamplingParams, TokenLogprob

# For top_p, tokens from the FIRST-largest block peak up are looked at, then those FURTHER nats below, and so on.
FIRST, FURTHER, NOTHING = 64, 2.0, 100.0  # exp(-NOTHING) is no mass at all
SORTED = 4096  # candidates that are put in order as they are; of more, only those that decide
COLDEST = 1e-30  # a lower temperature is no positive float32; this one is greedy already


class Counts:
    """Which tokens a request has seen, for penalties: those of its prompt, and how often each is in its answer."""

    def __init__(self, prompt: Sequence[int] = ()) -> None:
        distinct = dict.fromkeys(prompt)
        self._slots = {token: slot for slot, token in enumerate(distinct)}
        self._ids = np.fromiter(distinct, np.int64, len(distinct))
        self._times = np.zeros(len(distinct), np.float32)

    def add(self, token: int) -> None:
        """The answer grew by a token."""
        slot = self._slots.setdefault(token, len(self._slots))
        if slot >= len(self._ids):
            more = len(self._ids) + 64
            self._ids = np.append(self._ids, np.zeros(more, np.int64))
            self._times = np.append(self._times, np.zeros(more, np.float32))
        self._ids[slot] = token
        self._times[slot] += 1

    def seen(self, drafted: Sequence[int] = ()) -> tuple[Ints, Floats]:
        """The ids of prompt and answer and how often each is in the answer, drafts counted."""
        ids, times = self._ids[: len(self._slots)], self._times[: len(self._slots)]
        if drafted:
            new = [token for token in dict.fromkeys(drafted) if token not in self._slots]
            ids, times = np.append(ids, np.array(new, np.int64)), np.append(times, np.zeros(len(new), np.float32))
            slots = self._slots | {token: len(self._slots) + i for i, token in enumerate(new)}
            for token in drafted:
                times[slots[token]] += 1
        return ids, times


class Row(NamedTuple):
    """A place of an answer to choose the token for.

    draw: how many tokens of the answer come before it. counts: needed with penalties; what stands before the drafts.
    drafted: draft tokens between the answer and this place. mask: ids that a grammar allows (`scan.Mask`); None allows
    all.
    """

    sampling: SamplingParams
    draw: int = 0
    counts: Counts | None = None
    drafted: Sequence[int] = ()
    mask: Mask | None = None


class Logits(NamedTuple):
    """Rows of logits [N, V] and what was found of them on the way, perhaps.

    peaks: the largest of each of a row's blocks of BLOCK, [N, ceil(V / BLOCK)]. best: the first place of each row's
    largest. mass: where `mass_heat` is over 0, each block's sum of exp((x - its largest) / temperature), as peaks.
    """

    rows: Tensor
    peaks: Tensor | None = None
    best: Sequence[int] = ()
    mass: Tensor | None = None


class Choice(NamedTuple):
    """The token chosen for a row, and its log-probabilities where the row asks for them."""

    token: int
    logprob: TokenLogprob | None


def sample(logits: Logits, rows: Sequence[Row]) -> list[Choice]:
    """One token a row; the order of the steps is that of `SamplingParams`."""
    tokens = list(logits.best) or [0] * len(rows)
    left = [i for i, row in enumerate(rows) if not logits.best or row.sampling.temperature > 0 or _adjusts(row)]
    asked = [i for i, row in enumerate(rows) if row.sampling.logprobs is not None]
    if not left and not asked:
        return [Choice(token, None) for token in tokens]
    x_NV = _contiguous(logits.rows)
    adjusted = [i for i in left if _adjusts(rows[i])]
    if adjusted:
        left = [i for i in left if i not in adjusted]
        own_AV = _room(len(adjusted), x_NV.shape[1])
        torch.index_select(x_NV, 0, torch.tensor(adjusted), out=own_AV)
        for x_V, i in zip(own_AV.numpy(), adjusted, strict=True):
            _adjust(x_V, rows[i])
        its = _chosen(Logits(own_AV), [rows[i] for i in adjusted], range(len(adjusted)))
        for i, token in zip(adjusted, its, strict=True):
            tokens[i] = token
    for i, token in zip(left, _chosen(logits._replace(rows=x_NV), [rows[i] for i in left], left), strict=True):
        tokens[i] = token
    raw = zip(asked, scan(x_NV, [1.0] * len(asked), which=asked, peaks_NB=logits.peaks), strict=True)
    entries = {i: _logprob(found, tokens[i], rows[i].sampling.logprobs or 0) for i, found in raw}
    return [Choice(token, entries.get(i)) for i, token in enumerate(tokens)]


def mass_heat(row: Row, vocab: int) -> float:
    """The temperature at which `Logits.mass` helps to choose a row's token, 0 where it does not."""
    return 0.0 if _adjusts(row) else _heat(row.sampling, vocab)


def logprobs(logits_NV: Tensor, tokens: Sequence[int], top: int, peaks_NB: Tensor | None = None,
             ) -> list[TokenLogprob]:
    """Log-probabilities of given tokens, a row each, with the `top` likeliest: prompt_logprobs."""
    scans = scan(_contiguous(logits_NV), [1.0] * len(tokens), peaks_NB=peaks_NB)
    return [_logprob(found, token, top) for found, token in zip(scans, tokens, strict=True)]


def uniform(seed: int, n: int) -> float:
    """The number in [0, 1) for draw n under a seed."""
    raw = np.random.Philox(key=seed % 2**64, counter=n).random_raw()
    return float(int(raw) >> 11) * 2.0**-53


def _contiguous(logits_NV: Tensor) -> Tensor:
    return logits_NV.detach().float().cpu().contiguous()


_kept_room = threading.local()


def _room(rows: int, vocab: int) -> Tensor:
    """Memory for adjusted rows, kept from step to step: fresh pages would cost more than what is done in them."""
    held: Tensor | None = getattr(_kept_room, "held", None)
    if held is None or held.shape[1] != vocab or len(held) < rows:
        held = _kept_room.held = torch.empty(rows, vocab)
    return held[:rows]


def _heat(its: SamplingParams, vocab: int) -> float:
    """The temperature at which a row's mass must be known, 0 where it need not."""
    if its.temperature <= 0 or 0 < its.top_k < vocab or (its.min_p > 0 and its.top_p >= 1):
        return 0.0
    return max(its.temperature, COLDEST)


def _chosen(logits: Logits, rows: Sequence[Row], which: Sequence[int]) -> list[int]:
    """Tokens for the rows of logits that are numbered `which`."""
    vocab, masks = logits.rows.shape[1], [row.mask for row in rows]
    if not rows:
        return []
    if native.library() is None:
        heats = [_heat(row.sampling, vocab) for row in rows]
        scans = scan(logits.rows, heats, which=which, masks=masks, peaks_NB=logits.peaks)
        return [_choose(found, row) for found, row in zip(scans, rows, strict=True)]
    settings = (native.Settings * len(rows))(*[native.Settings(
        max(its.temperature, COLDEST) if its.temperature > 0 else 0.0, its.top_p, its.min_p, its.top_k,
        its.seed % 2**64, row.draw) for row in rows for its in (row.sampling,)])
    token = torch.empty(len(rows), dtype=torch.int64)
    native.call("choose", logits.rows, torch.tensor(which), addresses(masks), logits.peaks, logits.mass, settings,
                len(rows), vocab, token)
    chosen: list[int] = token.tolist()
    return chosen


def _choose(found: Scan, row: Row) -> int:
    its = row.sampling
    if its.temperature <= 0 or not math.isfinite(found.x[found.best]):
        return found.best
    temperature, at = max(its.temperature, COLDEST), uniform(its.seed, row.draw)
    if found.sums is not None and not np.isfinite(found.sums.sum()):
        return found.best  # the model gave no numbers
    if 0 < its.top_k < len(found.x) or its.top_p < 1 or its.min_p > 0:
        ids, weights = _kept(its, found, temperature)
        return int(ids[_invert(np.cumsum(weights), at)])
    assert found.sums is not None
    upto = np.cumsum(found.sums)
    block = _invert(upto, at)
    part = found.x[block * BLOCK : (block + 1) * BLOCK].astype(np.float64)
    within = np.cumsum(np.exp((part - found.peak) / temperature))
    share = (at * upto[-1] - (upto[block - 1] if block else 0.0)) / within[-1]
    return block * BLOCK + _invert(within, share)


def _invert(cumulative: Doubles, at: float) -> int:
    """The first place whose cumulative weight is over that share of the whole; never one without weight."""
    place = int(np.searchsorted(cumulative, at * cumulative[-1], side="right"))
    return min(place, int(np.searchsorted(cumulative, cumulative[-1])))


def _kept(its: SamplingParams, found: Scan, temperature: float) -> tuple[Ints, Doubles]:
    """Ids that top_k, top_p and min_p leave, ascending, and their weights relative to the likeliest."""
    x, peak = found.x, found.peak

    def weigh(ids: Ints) -> Doubles:
        return np.exp((x[ids].astype(np.float64) - peak) / temperature)

    if 0 < its.top_k < len(x):
        ids = found.largest(its.top_k)
        ids = np.sort(ids[np.argsort(-x[ids], kind="stable")[: its.top_k]])  # the lower id first among equals
        weights = weigh(ids)
        whole = float(weights.sum())
    elif its.top_p < 1:
        assert found.sums is not None
        whole, least = float(found.sums.sum()), found.nth(min(FIRST, len(found.peaks)))
        ids = found.at_least(least)
        while (weights := weigh(ids)).sum() < its.top_p * whole and least > peak - NOTHING * temperature:
            least = max(least, peak - NOTHING * temperature) - FURTHER * temperature
            ids = found.at_least(least)
    else:
        # A little under the threshold, since the weights decide below.
        lowest, whole = peak + temperature * float(np.log(its.min_p)), np.inf
        ids = found.at_least(lowest - 1e-5 * max(abs(lowest), abs(peak)))
        weights = weigh(ids)
    alive = weights > 0
    ids, weights = ids[alive], weights[alive]
    kept = weights >= its.min_p
    if its.top_p < 1:
        kept &= _nucleus(x[ids], weights, its.top_p * whole)
    kept[int(x[ids].argmax())] = True
    return ids[kept], weights[kept]


def _nucleus(x: Floats, weights: Doubles, target: float) -> NDArray[np.bool_]:
    """True for the largest of x, down to the one with which the sum of their weights reaches the target."""
    if len(x) <= SORTED:
        order = np.argsort(-x, kind="stable")
        taken = np.empty(len(x), bool)
        taken[order] = np.cumsum(weights[order]) - weights[order] < target
        return taken
    # Sums of as many slices, from the largest down: only the slice in which the target lies has to be looked into.
    depth = ((x.max() - x).astype(np.float64) * ((SORTED - 1) / float(np.ptp(x) or 1.0))).astype(np.int64)
    upto = np.cumsum(np.bincount(depth, weights, SORTED))
    edge = int(np.searchsorted(upto, target))
    taken, inside = depth < edge, np.flatnonzero(depth == edge)
    if len(inside):
        order = inside[np.argsort(-x[inside], kind="stable")]
        before = upto[edge] - np.cumsum(weights[order][::-1])[::-1]
        taken[order] = before < target
    return taken


def _adjusts(row: Row) -> bool:
    """Whether logits are changed before the temperature."""
    return row.sampling.adjusted or row.mask is not None or row.draw < row.sampling.min_tokens


def _adjust(x_V: Floats, row: Row) -> None:
    """Bias, penalties, and end tokens that may not come yet, in place."""
    its = row.sampling
    for token, bias in its.logit_bias.items():
        x_V[token] += bias
    if row.counts is not None and its.penalised:
        ids, times = row.counts.seen(row.drafted)
        values = x_V[ids]
        if its.repetition_penalty != 1:
            values = np.where(values > 0, values / np.float32(its.repetition_penalty),
                              values * np.float32(its.repetition_penalty))
        x_V[ids] = values - its.presence_penalty * (times > 0) - its.frequency_penalty * times
    if row.draw < its.min_tokens:
        x_V[list(its.stop)] = -np.inf


def _logprob(found: Scan, token: int, top: int) -> TokenLogprob:
    """Log-probabilities of the model's own distribution."""
    assert found.sums is not None
    norm = found.peak + float(np.log(found.sums.sum()))
    best = found.largest(top) if top else np.zeros(0, np.int64)
    best = best[np.argsort(-found.x[best], kind="stable")][:top]
    likeliest = tuple((int(i), float(found.x[i]) - norm) for i in best)
    return TokenLogprob(token, float(found.x[token]) - norm, likeliest)
