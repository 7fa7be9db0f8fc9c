"""Preferences: of two answers to a prompt the model is to give the chosen one more, beside a reference or without."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import DokjaError
from ...models.codec import Codec
from ...models.cost import forward_flops_per_token, training_flops_per_token
from ...models.decoder import Decoder
from ..exercises import mixed, verify
from ..lines import lines
from ..seeds import named_seed
from ..train.objective import Batch
from ..train.stream import permuted
from .logprobs import Answer, answer_logprobs, padded, spelled


@dataclass(frozen=True)
class PreferenceConfig:
    """kind: "dpo" measures answers against the starting weights (Rafailov et al. 2023, arXiv 2305.18290, equation 7),
    "simpo" by their own mean log-probability (Meng et al. 2024, arXiv 2405.14734, equation 6), without a reference.

    batch: pairs a step. beta: how far the model may go from its reference ("dpo" about 0.1), or how sharply means are
    told apart ("simpo" about 2). margin: by how much the chosen answer is to win, of "simpo" (its gamma).
    smoothing: the share of labels that are taken to be wrong, of "dpo" (conservative DPO).
    """

    kind: Literal["dpo", "simpo"] = "dpo"
    batch: int = 16
    beta: float = 0.1
    margin: float = 1.0
    smoothing: float = 0.0


@dataclass(frozen=True)
class Pair:
    """Two answers to a conversation; `turns` are (role, content) up to the user's last."""

    turns: tuple[tuple[str, str], ...]
    chosen: str
    rejected: str


class Preference:
    """DPO or SimPO over pairs."""

    def __init__(self, pairs: Sequence[Pair], codec: Codec, config: PreferenceConfig, seed: int,
                 reference: Decoder | None = None) -> None:
        """reference: the weights that the run began with, of "dpo" alone; they are never changed."""
        if not pairs:
            raise DokjaError("there are no pairs to prefer from: give files with prompt, chosen and rejected")
        if (config.kind == "dpo") != (reference is not None):
            raise DokjaError(f"{config.kind} takes {'a' if config.kind == 'dpo' else 'no'} reference: "
                             + ("set model.start" if config.kind == "dpo" else "leave it out"))
        self.config, self.codec, self.reference = config, codec, reference
        self.pairs = [(spelled(codec, pair.turns, pair.chosen), spelled(codec, pair.turns, pair.rejected))
                      for pair in pairs]
        self._seed = named_seed(seed, "pairs")
        if reference is not None:
            reference.eval().requires_grad_(False)

    def batch(self, model: Decoder, step: int) -> Batch:
        """The pairs of a step; the reference's log-probabilities are made here, once for all parts."""
        size, count = self.config.batch, len(self.pairs)
        chosen: list[tuple[Answer, Answer]] = []
        for place in range(step * size, (step + 1) * size):
            epoch, within = divmod(place, count)
            chosen.append(self.pairs[permuted(within, count, self._seed, epoch)])
        ids, targets = padded([*(pair[0] for pair in chosen), *(pair[1] for pair in chosen)], model.spec.context,
                              self.codec.end_of_text)
        tokens = ids.numel()
        flops = tokens * training_flops_per_token(model.spec, ids.shape[1])
        rows = {"ids": _by_pair(ids), "targets": _by_pair(targets)}
        if self.reference is not None:
            device = model.embedding.weight.device
            with torch.no_grad():
                logp = answer_logprobs(self.reference.to(device), ids.to(device), targets.to(device)).sum(-1)
            rows["reference"] = _by_pair(logp.cpu())
            flops += tokens * forward_flops_per_token(model.spec, ids.shape[1])
        return Batch(rows, float(size), tokens, flops)

    def loss(self, model: Decoder, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """-log sigmoid of how much better the chosen answer is; `margin` and `accuracy` are of the implicit rewards."""
        config = self.config
        ids, targets = part.rows["ids"].flatten(0, 1), part.rows["targets"].flatten(0, 1)
        logp = answer_logprobs(model, ids, targets)
        if config.kind == "dpo":
            reward = config.beta * (logp.sum(-1).view(-1, 2) - part.rows["reference"])
            gap = reward[:, 0] - reward[:, 1]
            losses = (-F.logsigmoid(gap) * (1 - config.smoothing) - F.logsigmoid(-gap) * config.smoothing)
        else:
            length = (targets != -100).sum(-1).clamp(min=1)
            reward = config.beta * (logp.sum(-1) / length).view(-1, 2)
            gap = reward[:, 0] - reward[:, 1]
            losses = -F.logsigmoid(gap - config.margin)
        loss = losses.sum() / part.total
        numbers = {"loss": loss, "margin": gap.sum() / part.total, "accuracy": (gap > 0).float().sum() / part.total,
                   "chosen": logp.sum(-1).view(-1, 2)[:, 0].sum() / part.total}
        return loss, {name: value.detach() for name, value in numbers.items()}


def _by_pair(both: Tensor) -> Tensor:
    """[2 B, ...], all chosen before all rejected, as [B, 2, ...]."""
    return torch.stack(both.chunk(2), dim=1)


def read_pairs(paths: Sequence[Path]) -> list[Pair]:
    """Pairs of .jsonl files: "prompt" (or "messages" up to the user's last turn), "chosen" and "rejected" a line.

    Raises DokjaError for a line that has not these.
    """
    found = []
    for path in paths:
        for number, line in lines(path):
            if line.strip():
                found.append(_pair(line, f"{path}:{number}"))
    return found


def _pair(line: str, where: str) -> Pair:
    try:
        row: Any = json.loads(line)
        turns = ([("user", row["prompt"])] if "prompt" in row else
                 [(turn["role"], turn["content"]) for turn in row["messages"]])
        pair = Pair(tuple(turns), row["chosen"], row["rejected"])
    except (ValueError, KeyError, TypeError):
        raise DokjaError(f"{where} is no pair: write prompt (or messages), chosen and rejected, one JSON object a "
                         "line") from None
    texts = [content for _, content in pair.turns] + [pair.chosen, pair.rejected]
    if not all(isinstance(text, str) and text for text in texts):
        raise DokjaError(f"{where} has an empty prompt or answer, or one that is no text: leave it out")
    return pair


def exercise_pairs(seed: int, count: int) -> list[Pair]:
    """So many pairs from exercises: the right answer, and the answer of another problem of the same form."""
    return list(islice(_exercise_pairs(seed), count))


def _exercise_pairs(seed: int) -> Iterator[Pair]:
    earlier: dict[tuple[str, str], str] = {}
    for item in mixed("train", named_seed(seed, "pairs")):
        form = (item.skill, item.form)
        other = earlier.get(form)
        earlier[form] = item.answer
        if other is not None and not verify(item, other):
            yield Pair((("user", item.prompt),), item.answer, other)
