"""Choose the next token of many requests in one step, each by its own settings.

Rows are independent: each one's arithmetic is the same, bit for bit, whatever other rows are there. A draw is the
inverse of the cumulative distribution, over ids in ascending order, at a uniform number that a counter-based
generator (Philox: Salmon et al. 2011) makes of (seed, n) alone, so that it depends on no earlier draw.

With kernels (native/choice.cpp) nothing sorts a whole vocabulary: the head tells the largest logit and the mass of each
block of 256, and only blocks that matter are looked into.

Shape letters: N rows, V vocabulary.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import native
from .scan import Floats, Ints, Mask, Scan, scan
from .types import SamplingParams, TokenLogprob

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
    tokens = dict(enumerate(logits.best))
    adjusted = [i for i, row in enumerate(rows) if _adjusts(row)]
    drawn = [i for i, row in enumerate(rows)
             if i not in adjusted and (not logits.best or row.sampling.temperature > 0)]
    asked = [i for i, row in enumerate(rows) if row.sampling.logprobs is not None]
    if not (adjusted or drawn or asked):
        return [Choice(token, None) for token in logits.best]
    x_NV = _contiguous(logits.rows)
    if adjusted:
        own_AV = _room(len(adjusted), x_NV.shape[1])
        torch.index_select(x_NV, 0, torch.tensor(adjusted), out=own_AV)
        for x_V, i in zip(own_AV.numpy(), adjusted, strict=True):
            _adjust(x_V, rows[i])
        its = _chosen(Logits(own_AV), [rows[i] for i in adjusted], range(len(adjusted)))
        tokens |= zip(adjusted, its, strict=True)
    tokens |= zip(drawn, _chosen(logits._replace(rows=x_NV), [rows[i] for i in drawn], drawn), strict=True)
    raw = zip(asked, scan(x_NV, which=asked, peaks_NB=logits.peaks), strict=True)
    entries = {i: _logprob(found, tokens[i], rows[i].sampling.logprobs or 0) for i, found in raw}
    return [Choice(tokens[i], entries.get(i)) for i in range(len(rows))]


def mass_heat(row: Row, vocab: int) -> float:
    """The temperature at which `Logits.mass` helps to choose a row's token, 0 where it does not."""
    its = row.sampling
    few = 0 < its.top_k < vocab or (its.min_p > 0 and its.top_p >= 1)
    return 0.0 if its.temperature <= 0 or few or _adjusts(row) else max(its.temperature, COLDEST)


def logprobs(logits_NV: Tensor, tokens: Sequence[int], top: int, peaks_NB: Tensor | None = None,
             ) -> list[TokenLogprob]:
    """Log-probabilities of given tokens, a row each, with the `top` likeliest: prompt_logprobs."""
    scans = scan(_contiguous(logits_NV), peaks_NB=peaks_NB)
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


def _chosen(logits: Logits, rows: Sequence[Row], which: Sequence[int]) -> list[int]:
    """Tokens for the rows of logits that are numbered `which`."""
    vocab, masks = logits.rows.shape[1], [row.mask for row in rows]
    if not rows:
        return []
    if native.library() is None:
        return [_choose(logits.rows[i].numpy(), row) for i, row in zip(which, rows, strict=True)]
    settings = (native.Settings * len(rows))(*[native.Settings(
        max(its.temperature, COLDEST) if its.temperature > 0 else 0.0, its.top_p, its.min_p, its.top_k,
        its.seed % 2**64, row.draw) for row in rows for its in (row.sampling,)])
    token = torch.empty(len(rows), dtype=torch.int64)
    native.call("choose", logits.rows, torch.tensor(which), _addresses(masks), logits.peaks, logits.mass, settings,
                len(rows), vocab, token)
    chosen: list[int] = token.tolist()
    return chosen


def _addresses(masks: Sequence[Mask | None]) -> ctypes.Array[ctypes.c_void_p] | None:
    if not any(mask is not None for mask in masks):
        return None
    return (ctypes.c_void_p * len(masks))(*(None if one is None else one.ctypes.data for one in masks))


def _choose(x_V: Floats, row: Row) -> int:
    """The same for one row in numpy."""
    its = row.sampling
    if row.mask is not None:
        x_V = np.where(np.unpackbits(row.mask, count=len(x_V), bitorder="little"), x_V, -np.inf)
    best = int(x_V.argmax())
    if its.temperature <= 0 or not math.isfinite(x_V[best]):
        return best
    weights = np.exp((x_V.astype(np.float64) - x_V[best]) / max(its.temperature, COLDEST))
    if not math.isfinite(weights.sum()):
        return best  # the model gave no numbers
    kept = weights >= its.min_p
    if 0 < its.top_k < len(x_V) or its.top_p < 1:
        order = np.argsort(-x_V, kind="stable")
        ordered = weights[order][: its.top_k or None]
        upto = np.cumsum(ordered)
        inside = upto - ordered < its.top_p * upto[-1] if its.top_p < 1 else np.full(len(upto), True)
        kept[order[len(upto) :]] = False
        kept[order[: len(upto)]] &= inside
    kept[best] = True
    upto = np.cumsum(np.where(kept, weights, 0.0))
    # The first place whose cumulative weight is over that share of the whole; never one without weight.
    place = int(np.searchsorted(upto, uniform(its.seed, row.draw) * upto[-1], side="right"))
    return min(place, int(np.searchsorted(upto, upto[-1])))


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
    best = found.largest(top)
    likeliest = tuple((int(i), float(found.x[i]) - found.norm) for i in best)
    return TokenLogprob(token, float(found.x[token]) - found.norm, likeliest)
