"""Distillation: a model learns what a larger one thinks of every next token, or what it answers.

Logits: Hinton et al. 2015 (arXiv 1503.02531); the direction of the divergence as in Gu et al. 2024 (MiniLLM, arXiv
2306.08543). Sequences: Kim and Rush 2016 (arXiv 1606.07947); `teacher_answers` writes what fine-tuning then reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...errors import DokjaError
from ...models.codec import Codec
from ...models.cost import forward_flops_per_token, training_flops_per_token
from ...models.decoder import Decoder
from ...models.generate import Sampling, generate
from ..seeds import named_seed
from ..train.next_token import Source
from ..train.objective import Batch

_CHUNK = 512  # places whose logits, of both models, exist at once


@dataclass(frozen=True)
class DistilConfig:
    """teacher: a model folder, or a run's, with the same vocabulary. batch: sequences a step.

    temperature: of both distributions; gradients are scaled by its square. direction: "forward" is KL(teacher ||
    student), which covers all that the teacher says, "reverse" KL(student || teacher), which keeps to its likeliest.
    share: of the divergence in the loss; the rest is the cross-entropy of the text itself.
    """

    kind: Literal["distil"] = "distil"
    teacher: str = ""
    batch: int = 8
    temperature: float = 1.0
    direction: Literal["forward", "reverse"] = "forward"
    share: float = 0.9


class Distil:
    """Divergence from a teacher's next-token distributions over text."""

    def __init__(self, source: Source, teacher: Decoder, config: DistilConfig, seed: int) -> None:
        self.source, self.teacher, self.config = source, teacher.eval().requires_grad_(False), config
        self._seed = named_seed(seed, "order")

    def batch(self, model: Decoder, step: int) -> Batch:
        """Sequences step * batch ... of the order."""
        if self.teacher.spec.vocab != model.spec.vocab:
            raise DokjaError(f"the teacher has {self.teacher.spec.vocab:,} tokens, the student {model.spec.vocab:,}: "
                             "train the student with the teacher's tokenizer (data.tokenizer)")
        size = self.config.batch
        ids, targets, weights = self.source.batch(self._seed, step * size, size)
        tokens, length = ids.numel(), ids.shape[1]
        flops = tokens * (training_flops_per_token(model.spec, length)
                          + forward_flops_per_token(self.teacher.spec, length))
        return Batch({"ids": ids, "targets": targets, "weights": weights}, float(weights.sum()), tokens, flops)

    def loss(self, model: Decoder, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """share * temperature^2 * KL + (1 - share) * cross-entropy; "loss" is the cross-entropy, as in pre-training."""
        config, ids = self.config, part.rows["ids"]
        counts = part.rows["weights"] > 0
        weights, targets = part.rows["weights"][counts], part.rows["targets"][counts]
        teacher = self.teacher.to(ids.device)
        with torch.no_grad():
            theirs = teacher.norm(teacher.hidden(ids))[counts]
        ours = model.norm(model.hidden(ids))[counts]
        total, cross = ids.new_zeros((), dtype=torch.float32), ids.new_zeros((), dtype=torch.float32)
        divergence = total
        for start in range(0, len(targets), _CHUNK):
            some = slice(start, start + _CHUNK)
            kl, ce = checkpoint(self._chunk, model, ours[some], theirs[some], targets[some], weights[some],
                                use_reentrant=False)
            divergence, cross = divergence + kl, cross + ce
        divergence, cross = divergence / part.total, cross / part.total
        loss = config.share * config.temperature**2 * divergence + (1 - config.share) * cross
        return loss, {"loss": cross.detach(), "divergence": divergence.detach()}

    def _chunk(self, model: Decoder, ours_NC: Tensor, theirs_NC: Tensor, target_N: Tensor,
               weight_N: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over places of the divergence and of the cross-entropy, each place times its weight."""
        logits = model.read(ours_NC).float()
        ce = (logits.logsumexp(-1) - logits.gather(-1, target_N[:, None])[:, 0]) * weight_N
        student = (logits / self.config.temperature).log_softmax(-1)
        with torch.no_grad():
            teacher = (self.teacher.read(theirs_NC).float() / self.config.temperature).log_softmax(-1)
        first, second = (teacher, student) if self.config.direction == "forward" else (student, teacher)
        return ((first.exp() * (first - second)).sum(-1) * weight_N).sum(), ce.sum()


def teacher_answers(teacher: Decoder, codec: Codec, prompts: Iterable[str], out: Path, *, seed: int, batch: int = 64,
                    max_tokens: int = 256, temperature: float = 0.7) -> int:
    """Write the teacher's answers as conversations, one a line, for fine-tuning; returns how many ended by themselves.

    An answer that does not end within `max_tokens` is left out: half an answer teaches to stop nowhere.
    """
    kept = 0
    stop = (codec.end_of_turn, codec.end_of_text)
    draft = out.with_name(out.name + ".draft")
    with open(draft, "w", encoding="utf-8") as file:
        remaining = iter(prompts)
        for number, some in enumerate(iter(lambda: list(islice(remaining, batch)), [])):
            options = Sampling(max_tokens=max_tokens, temperature=temperature, stop=stop,
                               seed=named_seed(seed, "teacher", number))
            answers = generate(teacher, [codec.prompt([("user", prompt)]) for prompt in some], options)
            for prompt, ids in zip(some, answers, strict=True):
                if len(ids) < max_tokens and (answer := codec.decode(ids).strip()):
                    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
                    file.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
                    kept += 1
    draft.replace(out)
    return kept
