"""The engine as a sampler for reinforcement learning: many answers at once from weights that change between calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ..models.decoder import Decoder
from .engine.core import Core
from .engine.sizing import Limits
from .engine.types import Request, SamplingParams, Step


@dataclass
class Rollout:
    """An answer's ids without its stop token; ended: whether one came. logprobs: natural, of each id, as the engine's
    kernels had them."""

    ids: list[int] = field(default_factory=list)
    ended: bool = False
    logprobs: list[float] = field(default_factory=list)


class EngineSampler:
    """Samples with continuous batching and shared prompt prefixes: the answers of a group read their prompt once.

    rows: how many answers run at once.
    """

    def __init__(self, rows: int = 64) -> None:
        self.rows = rows

    def sample(self, model: Decoder, prompts: Sequence[Sequence[int]], *, max_tokens: int, seed: int,
               stop: tuple[int, ...]) -> list[Rollout]:
        """Answers at temperature 1 from the weights as they are now; the same for the same seed.

        An engine is made for each call: what it keeps of prompts and packs of weights is of these weights alone.
        """
        training = model.training
        model.eval()
        context = max(map(len, prompts)) + max_tokens
        core = Core(model, Limits(context, min(self.rows, len(prompts)) * (context + 64), rows=self.rows))
        found = [Rollout() for _ in prompts]
        for number, prompt in enumerate(prompts):
            sampling = SamplingParams(max_tokens=max_tokens, seed=(seed + number) % 2**63, stop=stop, logprobs=0)
            core.add(Request(str(number), tuple(prompt), sampling))
        left = len(prompts)
        with torch.inference_mode():
            while left:
                for sequence, event in core.step():
                    assert isinstance(event, Step)
                    one = found[int(sequence.request.id)]
                    one.ids += event.tokens
                    one.logprobs += [token.logprob for token in event.logprobs]
                    one.ended = event.finish == "stop"
                    left -= event.finish is not None
        model.train(training)
        return found
