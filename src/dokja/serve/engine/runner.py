"""The network over one step: tokens of many sequences in one row, each looking at its own pages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...models.decoder import Decoder
from .. import native
from ..quantise import ServedLinear
from .lora import Step
from .paged import PagedCache, Places
from .pages import Pages
from .sampler import Logits
from .scheduler import Work
from .trunk import Trunk


class Runner:
    """Runs a decoder over paged caches. Methods are for one thread."""

    def __init__(self, decoder: Decoder, pages: Pages, context: int, adapters: Step | None = None) -> None:
        self.decoder, self.adapters = decoder.eval(), adapters
        self.cache = PagedCache(pages, context)
        self.trunk = Trunk(self.decoder, self.cache)
        self._room = torch.empty(0, decoder.spec.vocab)

    @torch.inference_mode()
    def run(self, works: Sequence[Work]) -> Tensor:
        """The states that the head reads, of all tokens of a step, one work after another, [N, C]."""
        ids: list[int] = []
        rows: list[int] = []
        positions: list[int] = []
        for work in works:
            sequence = work.sequence
            assert sequence.row is not None
            known = sequence.tokens[work.begin : work.begin + work.size]
            ids += known + sequence.drafts[: work.size - len(known)]
            rows += [sequence.row] * work.size
            positions += range(work.begin, work.begin + work.size)
        at = Places.of(rows, positions)
        self.cache.place(at)
        if self.adapters is not None:
            self.adapters.place([work.sequence.request.adapter for work in works for _ in range(work.size)])
        return self.trunk.states(torch.tensor(ids))

    @torch.inference_mode()
    def mtp(self, depth: int, at: Places, state_NC: Tensor, next_N: Tensor) -> Tensor:
        """What MTP layer `depth` (from 0) makes of tokens at these places, the states that the head reads, [N, C].

        state_NC: those of the trunk (or of the layer before) at the places; next_N: the ids that follow them. Pages
        must be held for the places, and `Limits.mtp` be set. What the layer keeps of a position depends on the token
        after it: of a page that another sequence began, the last entry may be of another token, so a draft may be
        worse, an answer never.
        """
        self.cache.place(at)
        return self.trunk.mtp(depth, state_NC, next_N)

    @torch.inference_mode()
    def logits(self, state_NC: Tensor, temperatures: Sequence[float] = ()) -> Logits:
        """Until the next call. temperatures: at which masses are wanted, one a state, 0 where they are not."""
        head, spec = self.decoder.head, self.decoder.spec
        if not isinstance(head, ServedLinear) or head.weights.packed is None:
            return Logits(self.decoder.read(state_NC))
        # In memory that is kept: fresh pages for logits would cost as much as the head's arithmetic.
        if len(self._room) < len(state_NC):
            self._room = torch.empty(len(state_NC), spec.vocab)
        rows = self._room[: len(state_NC)]
        hot = any(temperatures) and spec.logit_scale == 1.0
        sharpness = torch.tensor([1 / heat if heat > 0 else 0.0 for heat in temperatures]) if hot else None
        peaks, best, mass = head.weights.linear_peaks(state_NC, rows, sharpness)
        if spec.logit_scale != 1.0:
            return Logits(rows.mul_(spec.logit_scale))
        return Logits(rows, peaks, best.tolist(), mass)

    @torch.inference_mode()
    def likeliest(self, state_NC: Tensor, temperature_N: Sequence[float]) -> tuple[list[int], list[float]]:
        """The likeliest token after each state, and its probability at a temperature above 0."""
        head, scale = self.decoder.head, self.decoder.spec.logit_scale
        if not isinstance(head, ServedLinear) or head.weights.packed is None or scale <= 0:
            best = (self.decoder.read(state_NC) / torch.tensor(temperature_N)[:, None]).softmax(-1).max(-1)
            return best.indices.tolist(), best.values.nan_to_num(0.0).tolist()
        sharpness = torch.tensor([scale / temperature for temperature in temperature_N])
        token, probability = torch.empty(len(state_NC), dtype=torch.int64), torch.empty(len(state_NC))
        native.call("likeliest", head.weights.matrix, state_NC.contiguous(), len(state_NC), sharpness, token,
                    probability)
        return token.tolist(), probability.tolist()
