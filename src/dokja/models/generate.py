"""Text from a decoder: batched generation over a contiguous cache, greedy or sampled, deterministic given its seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .decoder import Decoder


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    temperature 0 is greedy; top_p keeps the smallest set of tokens with that much probability, top_k the k likeliest
    (0: all). stop: token ids that end the text and are not part of it. seed: draws are a function of it alone.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop: tuple[int, ...] = ()


@torch.inference_mode()
def generate(model: Decoder, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[int]]:
    """Continue every prompt (at least one token each) in one batch; each list ends before its stop token.

    Prompts of different lengths share a batch: each row has its own position and never sees another row's slots.
    """
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    if not len(prompts) or int(lengths.min()) < 1:
        raise ValueError("every prompt needs at least one token")
    longest = int(lengths.max())
    device = model.embedding.weight.device
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
    model.eval()
    cache = model.new_cache(len(prompts), longest + sampling.max_tokens)
    position = torch.arange(longest).expand(len(prompts), -1)
    hidden = model.hidden(ids.to(device), cache, position.to(device))
    last = hidden[torch.arange(len(prompts)), lengths.to(device) - 1]
    out: list[list[int]] = [[] for _ in prompts]
    alive = list(range(len(prompts)))
    draws = torch.Generator().manual_seed(sampling.seed)
    for step in range(sampling.max_tokens):
        token = _choose(model.logits(last).float().cpu(), sampling, draws)
        going = []
        for row, choice in zip(alive, token.tolist(), strict=True):
            if choice not in sampling.stop:
                out[row].append(choice)
                going.append(row)
        if not going or step + 1 == sampling.max_tokens:
            break
        if len(going) < len(alive):
            kept = torch.tensor([i for i, row in enumerate(alive) if row in set(going)])
            token = token[kept]
            for layer in cache:
                layer.keep(kept)
            alive = going
        position = (lengths[alive] + step)[:, None].to(device)
        last = model.hidden(token[:, None].to(device), cache, position)[:, 0]
    return out


def stream(model: Decoder, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
    """The tokens of one continuation as they come; ends before a stop token."""
    model.eval()
    device = model.embedding.weight.device
    cache = model.new_cache(1, len(prompt) + sampling.max_tokens)
    draws = torch.Generator().manual_seed(sampling.seed)
    ids = torch.tensor([list(prompt)])
    position = torch.arange(len(prompt))[None]
    for step in range(sampling.max_tokens):
        with torch.inference_mode():
            last = model.hidden(ids.to(device), cache, position.to(device))[:, -1]
            token = _choose(model.logits(last).float().cpu(), sampling, draws)
        choice = int(token[0])
        if choice in sampling.stop:
            return
        yield choice
        ids, position = token[:, None], torch.tensor([[len(prompt) + step]])


def _choose(logits_BV: Tensor, sampling: Sampling, draws: torch.Generator) -> Tensor:
    if sampling.temperature <= 0:
        return logits_BV.argmax(-1)
    logits_BV = logits_BV / sampling.temperature
    if sampling.top_k:
        kth = logits_BV.topk(min(sampling.top_k, logits_BV.shape[-1])).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < kth, float("-inf"))
    probabilities = logits_BV.softmax(-1)
    if sampling.top_p < 1:
        ordered, index = probabilities.sort(-1, descending=True)
        outside = ordered.cumsum(-1) - ordered >= sampling.top_p
        probabilities = torch.zeros_like(probabilities).scatter(-1, index, ordered.masked_fill(outside, 0.0))
    return torch.multinomial(probabilities, 1, generator=draws)[:, 0]
